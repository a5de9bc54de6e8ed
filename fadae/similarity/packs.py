"""What is derived from published blocks, kept beside them: made once, read back in a few objects.

A kind of derived rows has a folder inside an array's of features.zarr, where Zarr looks for no
members: it goes when the features go. A pack holds the rows of 64 blocks; its name says how many
blocks it covers, so that the last one is made anew when the store has grown. Published blocks never
change: a pack is a pure function of them, whoever makes it, however often.

An object is u4 numbers, then rows: where each slice of the rows begins and the last one ends, the
CRC-32 of each slice, the CRC-32 of these. Slices are read by range.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array
from fadae.errors import AccessError
from fadae.store import BLOCK_FRAMES, DamagedError, FeatureSet, Location, Mapper, map_serially

log = logging.getLogger("fadae.similarity")

BLOCKS_PER_PACK = 64  # 6 hours of music
_U4 = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows of a type lie in an object. With several slices, a power of two, by rising `hash`,
    whose leading bits tell the slice.
    """

    dtype: np.dtype[np.void]
    slices: int = 1

    @property
    def header_bytes(self) -> int:
        """What precedes the rows of an object."""
        return (2 * self.slices + 2) * _U4.itemsize

    def slice_of(self, rows: Array) -> Array:
        """Return the slice of each row [n]."""
        if self.slices == 1:
            return np.zeros(len(rows), np.int64)
        return np.asarray(rows["hash"] >> np.uint64(64 - (self.slices - 1).bit_length()))

    def encoded(self, rows: Array) -> bytes:
        """Return rows as an object."""
        if self.slices > 1:
            rows = rows[np.lexsort([rows[name] for name in self.dtype.names or ()][::-1])]
        ends = np.searchsorted(self.slice_of(rows), np.arange(self.slices), side="right")
        borders = np.array([0, *ends], _U4)
        parts = [rows[low:high].tobytes() for low, high in itertools.pairwise(borders)]
        told = borders.tobytes() + np.array([zlib.crc32(part) for part in parts], _U4).tobytes()
        return b"".join([told, np.array([zlib.crc32(told)], _U4).tobytes(), *parts])

    def decoded(self, data: bytes, path: str) -> Array:
        """Return the rows of a whole object; raises DamagedError."""
        header, rows = data[: self.header_bytes], data[self.header_bytes :]
        return self.some(header, rows, 0, self.slices, path)

    def some(self, header: bytes, data: bytes, first: int, stop: int, path: str) -> Array:
        """Return the rows of slices [first, stop), whose bytes `data` are; raises DamagedError."""
        borders, checks = self.borders(header, path)
        size = self.dtype.itemsize
        for one in range(first, stop):
            low, high = ((int(borders[at] - borders[first])) * size for at in (one, one + 1))
            if len(data) < high or zlib.crc32(data[low:high]) != checks[one]:
                raise _damaged(path)
        return np.frombuffer(data, self.dtype, int(borders[stop] - borders[first]))

    def borders(self, header: bytes, path: str) -> tuple[Array, Array]:
        """Return (where slices begin and end, their checksums); raises DamagedError."""
        if len(header) != self.header_bytes:
            raise _damaged(path)
        numbers = np.frombuffer(header, _U4)
        if zlib.crc32(header[:-4]) != numbers[-1]:
            raise _damaged(path)
        return numbers[: self.slices + 1].astype(np.int64), numbers[self.slices + 1 : -1]


@dataclass(frozen=True, slots=True)
class Derived:
    """A kind of rows derived from blocks, with a field `recording`, and where they are kept.

    `block_path`: where rows of a single block may lie until a full pack holds them.
    """

    folder: str
    layout: Layout
    of_block: Callable[[FeatureSet, int], Array]
    block_path: Callable[[int], str] | None = None

    def path(self, pack: int, blocks: int) -> str:
        """Return where a pack of so many blocks lies."""
        return f"{self.folder}/{pack:05d}-{blocks:02d}"


def _damaged(path: str) -> DamagedError:
    return DamagedError(f"{path} is damaged; remove it: it is made anew when it is asked for")


@dataclass(frozen=True, slots=True)
class PackTask:
    """One pack to be made."""

    location: Location
    kind: Derived
    pack: int


def packs_of(rows: int) -> list[int]:
    """Return how many blocks each pack of so many published rows covers.

    >>> packs_of(66_000), packs_of(0)
    ([64, 1], [])
    """
    blocks = -(-rows // BLOCK_FRAMES)
    full, rest = divmod(blocks, BLOCKS_PER_PACK)
    return [BLOCKS_PER_PACK] * full + ([rest] if rest else [])


def pack_rows(features: FeatureSet, kind: Derived, pack: int) -> Array:
    """Return the rows of a pack, read back; made now, and kept where that is allowed."""
    location, blocks = features.store.location, packs_of(features.rows)[pack]
    path = kind.path(pack, blocks)
    with contextlib.suppress(FileNotFoundError):
        return kind.layout.decoded(location.read_bytes(path), path)
    kept = [f"{kind.folder}/{name}" for name in _versions(location, kind, pack)]
    if kept and kept[-1] > path:  # the store has grown since this reader opened it
        rows = kind.layout.decoded(location.read_bytes(kept[-1]), kept[-1])
        return rows[rows["recording"] < len(features.recordings)]
    first = pack * BLOCKS_PER_PACK
    parts = [kind.of_block(features, block) for block in range(first, first + blocks)]
    data = kind.layout.encoded(np.concatenate([np.empty(0, kind.layout.dtype), *parts]))
    try:
        location.write_bytes(path, data)
        location.delete_many(kept)
        if kind.block_path is not None and blocks == BLOCKS_PER_PACK:
            location.delete_many(map(kind.block_path, range(first, first + blocks)))
    except AccessError as error:  # a workspace of somebody else's: made again next time
        log.debug("%s is not kept: %s", path, error)
    return kind.layout.decoded(data, path)


def read_slices(features: FeatureSet, kind: Derived, pack: int, first: int, stop: int) -> Array:
    """Return the rows in slices [first, stop) of a pack: two small requests where it is kept."""
    location, path = features.store.location, kind.path(pack, packs_of(features.rows)[pack])
    try:
        return read_range(location, kind.layout, path, first, stop)
    except FileNotFoundError:
        rows = pack_rows(features, kind, pack)
        which = kind.layout.slice_of(rows)
        return rows[(which >= first) & (which < stop)]


def read_range(location: Location, layout: Layout, path: str, first: int, stop: int) -> Array:
    """Return the rows in slices [first, stop) of an object; raises FileNotFoundError."""
    header = location.read_bytes(path, 0, layout.header_bytes)
    borders, _ = layout.borders(header, path)
    size = layout.dtype.itemsize
    low, high = (layout.header_bytes + int(borders[at]) * size for at in (first, stop))
    data = location.read_bytes(path, low, high) if high > low else b""
    return layout.some(header, data, first, stop, path)


def _versions(location: Location, kind: Derived, pack: int) -> list[str]:
    """Return the names of a pack's objects, those that cover more blocks last."""
    if location.is_http:  # which lists nothing
        return []
    return [name for name in location.names(kind.folder) if name.startswith(f"{pack:05d}-")]


def missing_packs(features: FeatureSet, kind: Derived) -> list[tuple[int, int]]:
    """Return (pack, blocks) of those that are not kept yet."""
    location, wanted = features.store.location, enumerate(packs_of(features.rows))
    if location.is_http:  # which lists nothing
        return [one for one in wanted if not location.exists(kind.path(*one))]
    there = set(location.names(kind.folder))
    return [one for one in wanted if kind.path(*one).rpartition("/")[2] not in there]


def make_packs(features: FeatureSet, kind: Derived, mapper: Mapper = map_serially) -> int:
    """Make all packs of a kind that are missing; return their number."""
    missing = missing_packs(features, kind)
    tasks = [PackTask(features.store.location, kind, pack) for pack, _ in missing]
    if tasks:
        label = kind.folder.rpartition("/")[2]
        for _ in mapper(make_pack, tasks, label=label, total=len(tasks), unit="packs"):
            pass
    return len(tasks)


def make_pack(task: PackTask) -> int:
    """Make one pack, unless it is there; return its rows. The unit of work."""
    return len(pack_rows(FeatureSet.open(task.location), task.kind, task.pack))
