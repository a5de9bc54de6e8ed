"""What the tombstones mean of a features.zarr: rows of its recording table, and of its frames.

A forgotten recording is hidden. Its sound is silent, hence drawn by nobody, unless another that is
not forgotten has the same samples and shares its rows.

features.zarr/recording_id/forgotten says it as of some tombstones and rows, so that a reader needs
a listing and one object; whatever came since is looked for in the columns of the table.
"""

from __future__ import annotations

import contextlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numcodecs.zstd import Zstd

from fadae.arrays import Array, Bool, Int64
from fadae.buckets import digest
from fadae.records import canonical_json, sha256_hex
from fadae.store.frames import FrameStore
from fadae.store.layout import RECORDINGS_PER_CHUNK
from fadae.store.location import Location
from fadae.store.paths import FORGOTTEN_ROWS
from fadae.store.recording_index import RecordingIndex, SupersededError
from fadae.store.tombstones import ID, Tombstones, read_tombstones, tombstone_names

_COLUMNS = ("same_as", "frame_start", "frame_count", "samples")
# Finding an id by the index takes 1.2 ms, looking through a row of the columns 2.5 us.
_ROWS_AN_ID = 512
_zstd = Zstd(level=3)


def _no_rows() -> Int64:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Forgotten:
    """Forgotten rows of the recording table, and the frames that nobody draws; rising arrays."""

    rows: Int64 = field(default_factory=_no_rows)  # of the recording table
    silent: Int64 = field(default_factory=_no_rows)  # of those, whose frames nobody else shares
    starts: Int64 = field(default_factory=_no_rows)  # [silent] their first frames
    counts: Int64 = field(default_factory=_no_rows)  # [silent] how many frames
    samples: Int64 = field(default_factory=_no_rows)  # [silent]

    def __len__(self) -> int:
        return len(self.rows)

    def among(self, recordings: int) -> Self:
        """Return those of the first recordings of the table."""
        if not len(self.rows) or self.rows[-1] < recordings:
            return self
        kept = self.silent < recordings
        silent = (self.silent[kept], self.starts[kept], self.counts[kept], self.samples[kept])
        return type(self)(self.rows[self.rows < recordings], *silent)

    def row_at(self, position: int) -> int:
        """Return the row of the table that is at a position among those not forgotten.

        >>> some = Forgotten(np.array([0, 2]))
        >>> [some.row_at(position) for position in range(3)], some.positions(np.array([1, 3, 4]))
        ([1, 3, 4], array([0, 1, 2]))
        """
        return position + int(np.searchsorted(self._shifts, position, side="right"))

    def positions(self, rows: Int64) -> Int64:
        """Return the positions of rows that are not forgotten."""
        return np.asarray(rows - np.searchsorted(self.rows, rows))

    def without(self, rows: Int64) -> Int64:
        """Return the rows that are not forgotten."""
        return rows[~np.isin(rows, self.rows)] if len(self.rows) else rows

    def __contains__(self, row: int) -> bool:
        at = int(np.searchsorted(self.rows, row))
        return at < len(self.rows) and int(self.rows[at]) == row

    def silenced(self, start: int, stop: int) -> Bool:
        """Return which frames [start, stop) are silent, [stop - start].

        >>> some = Forgotten(*map(np.array, ([4], [4], [10], [2], [9])))
        >>> some.silenced(9, 13).tolist()
        [False, True, True, False]
        """
        found = np.zeros(max(0, stop - start), bool)
        near = (self.starts < stop) & (self.starts + self.counts > start)
        spans = zip(self.starts[near] - start, self.counts[near], strict=True)
        for first, count in spans:
            found[max(0, first) : first + count] = True
        return found

    @cached_property
    def _shifts(self) -> Int64:
        return self.rows - np.arange(len(self.rows))


NOTHING = Forgotten()


@dataclass(frozen=True, slots=True)
class Row:
    """What is asked of a row that is planned and not published yet."""

    row: int
    id: str
    item: str
    frame_start: int
    frame_count: int
    samples: int
    same_as: int


def forgotten_in(store: FrameStore) -> Forgotten:
    """Return what is forgotten of features.zarr as it was published when it was opened.

    One listing where nothing is, and one object more where that is known of these tombstones.
    """
    names = tombstone_names(store.location)
    if not names:
        return NOTHING
    kept = _kept(store.location, names)
    if kept is not None and kept[0] >= store.recording_rows:
        return kept[1].among(store.recording_rows)
    return find_forgotten(store, read_tombstones(store.location, names))


def keep_forgotten(store: FrameStore) -> Forgotten:
    """Find what is forgotten as `forgotten_in` does, and keep it for whoever reads next."""
    location = store.location
    names = tombstone_names(location)
    if not names:
        return NOTHING
    kept = _kept(location, names)
    if kept is not None and kept[0] == store.recording_rows:
        return kept[1]
    found = find_forgotten(store, read_tombstones(location, names))
    location.write_bytes(FORGOTTEN_ROWS, _encoded(found, names, store.recording_rows))
    return found


def find_forgotten(store: FrameStore, tombstones: Tombstones) -> Forgotten:
    """Return the published rows that tombstones mean, from index and columns."""
    (found,) = _rows_of(store, (), (tombstones,))
    return _silent(found, _columns(store, ())) if len(found) else NOTHING


def erased_in(
    store: FrameStore | None, tombstones: Tombstones, planned: Iterable[Row] = ()
) -> Forgotten:
    """Return what is erased, of a plan that is not published too: rows, and rows without sound.

    Sound goes with the last recording that has it: all that share it are forgotten, and one of
    them is erased.
    """
    later = _Later.of(planned, (tombstones, tombstones.erasing))
    found, erased = _rows_of(store, later.rows, (tombstones, tombstones.erasing))
    if not len(erased):
        return NOTHING
    columns = _columns(store, later.columns)
    every, same_as = _silent(found, columns), columns[0][erased]
    owners = np.where(same_as < 0, erased, same_as)
    gone = np.isin(every.silent, owners)
    silent = (every.silent[gone], every.starts[gone], every.counts[gone], every.samples[gone])
    return Forgotten(erased, *silent)


@dataclass(frozen=True)
class _Later:
    """Rows that are planned: those that some tombstones mean, and columns of all of them."""

    rows: Sequence[Sequence[int]]
    columns: Sequence[Sequence[int]]

    @classmethod
    def of(cls, planned: Iterable[Row], some: Sequence[Tombstones]) -> Self:
        rows, columns = [array("q") for _ in some], [array("q") for _ in _COLUMNS]
        for row in planned:
            for name, column in zip(_COLUMNS, columns, strict=True):
                column.append(getattr(row, name))
            for its, tombstones in zip(rows, some, strict=True):
                if tombstones.match(row.id, row.item):
                    its.append(row.row)
        return cls(rows, columns)


def _rows_of(
    store: FrameStore | None, later: Sequence[Sequence[int]], some: Sequence[Tombstones]
) -> list[Int64]:
    """Return the rows that each of some tombstones mean, rising; planned ones come last."""
    published = [() if store is None else _matching(store, one) for one in some]
    more = later or [()] * len(some)
    return [np.array([*a, *b], np.int64) for a, b in zip(published, more, strict=True)]


def _columns(store: FrameStore | None, later: Sequence[Sequence[int]]) -> list[Int64]:
    """Return what `_COLUMNS` names, published and planned."""
    more = later or [()] * len(_COLUMNS)
    return [
        np.concatenate(
            [
                _no_rows() if store is None else store.read(f"recording_{name}").astype(np.int64),
                np.array(values, np.int64),
            ]
        )
        for name, values in zip(_COLUMNS, more, strict=True)
    ]


def _silent(rows: Int64, columns: Sequence[Int64]) -> Forgotten:
    """Return forgotten rows with those among them whose frames nobody else shares."""
    same_as, starts, counts, samples = columns
    alive = np.ones(len(same_as), bool)
    alive[rows] = False
    own = rows[same_as[rows] < 0]
    silent = own[~np.isin(own, same_as[alive])]
    return Forgotten(rows, silent, starts[silent], counts[silent], samples[silent])


def _matching(store: FrameStore, tombstones: Tombstones) -> Iterator[int]:
    """Yield the published rows that tombstones mean, rising."""
    index, ids, recordings = RecordingIndex.of(store), tombstones.values(ID), store.recording_rows
    few = len(ids) == len(tombstones) and len(ids) * _ROWS_AN_ID <= recordings
    if index is not None and few:
        with contextlib.suppress(SupersededError):  # of an old publication
            found = {row for row in map(index.find, ids) if row is not None}
            yield from sorted(found)
            return
    for low in range(0, recordings, RECORDINGS_PER_CHUNK):
        high = min(low + RECORDINGS_PER_CHUNK, recordings)
        pairs = zip(*(_texts(store, name, low, high) for name in ("id", "item")), strict=True)
        yield from (low + at for at, pair in enumerate(pairs) if tombstones.match(*pair))


def _texts(store: FrameStore, name: str, low: int, high: int) -> list[str]:
    texts: list[str] = store.read(f"recording_{name}", low, high).tolist()
    return texts


def _encoded(found: Forgotten, names: Sequence[str], recordings: int) -> bytes:
    columns = (found.rows, found.silent, found.starts, found.counts, found.samples)
    data = b"".join(column.astype("<i8").tobytes() for column in columns)
    head = {
        "version": 1,
        "tombstones_sha256": _digest(names),
        "recordings": recordings,
        "lengths": [len(found.rows), len(found.silent)],
        "sha256": digest(data),
    }
    return canonical_json(head).encode() + b"\n" + bytes(_zstd.encode(data))


def _digest(names: Sequence[str]) -> str:
    return sha256_hex("\n".join(names))


def _kept(location: Location, names: Sequence[str]) -> tuple[int, Forgotten] | None:
    """Return what is kept of these very tombstones: of how many recordings, and which.

    None where it is of others, or damaged: it is found again then.
    """
    try:
        head, _, data = location.read_bytes(FORGOTTEN_ROWS).partition(b"\n")
        told = json.loads(head)
        if told["version"] != 1 or told["tombstones_sha256"] != _digest(names):
            return None
        columns = bytes(_zstd.decode(data))
        if digest(columns) != told["sha256"]:
            return None
        rows, silent = told["lengths"]
        values: Array = np.frombuffer(columns, "<i8").astype(np.int64)
        parts = np.split(values, np.cumsum([rows, silent, silent, silent]))
        return int(told["recordings"]), Forgotten(*parts)
    except (FileNotFoundError, ValueError, KeyError, TypeError, RuntimeError):
        return None
