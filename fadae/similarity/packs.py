"""What is derived from published blocks, kept beside them: made once, read back in a few objects.

A kind of derived rows has a folder inside an array's of features.zarr, where Zarr looks for no
members: it goes when the features go. A pack holds the rows of 64 blocks, under a checksum; its
name says how many blocks it covers, so that the last one is made anew when the store has grown.
Published blocks never change: a pack is a pure function of them, whoever makes it, however often.
"""

from __future__ import annotations

import contextlib
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
_CHECK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Derived:
    """A kind of rows derived from blocks: its folder, the type of its rows, and who makes them."""

    folder: str
    dtype: np.dtype[np.void]
    of_block: Callable[[FeatureSet, int], Array]

    def path(self, pack: int, blocks: int) -> str:
        """Return where a pack of so many blocks lies."""
        return f"{self.folder}/{pack:05d}-{blocks:02d}"


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


def encoded(rows: Array) -> bytes:
    """Return a pack's rows as an object, a checksum at its end."""
    data = rows.tobytes()
    return data + zlib.crc32(data).to_bytes(_CHECK_BYTES, "little")


def decoded(data: bytes, dtype: np.dtype[np.void], path: str) -> Array:
    """Return the rows of an object; raises DamagedError."""
    content, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if zlib.crc32(content).to_bytes(_CHECK_BYTES, "little") != check or (
        len(content) % dtype.itemsize
    ):
        raise DamagedError(f"{path} is damaged; remove it: it is made anew when it is asked for")
    return np.frombuffer(content, dtype)


def pack_rows(features: FeatureSet, kind: Derived, pack: int) -> Array:
    """Return the rows of a pack, read back; made now, and kept where that is allowed."""
    location, blocks = features.store.location, packs_of(features.rows)[pack]
    path = kind.path(pack, blocks)
    with contextlib.suppress(FileNotFoundError):
        return decoded(location.read_bytes(path), kind.dtype, path)
    kept = [f"{kind.folder}/{name}" for name in _versions(location, kind, pack)]
    if kept and kept[-1] > path:  # the store has grown since this reader opened it
        rows = decoded(location.read_bytes(kept[-1]), kind.dtype, kept[-1])
        return rows[rows["row"] < features.rows]
    first = pack * BLOCKS_PER_PACK
    parts = [kind.of_block(features, block) for block in range(first, first + blocks)]
    rows = np.concatenate([np.empty(0, kind.dtype), *parts])
    try:
        location.write_bytes(path, encoded(rows))
        location.delete_many(kept)
    except AccessError as error:  # a workspace of somebody else's: made again next time
        log.debug("%s is not kept: %s", path, error)
    return rows


def _versions(location: Location, kind: Derived, pack: int) -> list[str]:
    """Return the names of a pack's objects, those that cover more blocks last."""
    return [name for name in location.names(kind.folder) if name.startswith(f"{pack:05d}-")]


def missing_packs(features: FeatureSet, kind: Derived) -> list[tuple[int, int]]:
    """Return (pack, blocks) of those that are not kept yet."""
    there = set(features.store.location.names(kind.folder))
    wanted = enumerate(packs_of(features.rows))
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
