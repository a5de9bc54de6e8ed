"""The published recordings, one by one: through their index, or from whole columns without one.

A store of an earlier fadae has no index until its next publication, or `verify --repair`. And a
reader of an old publication finds its index gone when two more have come: the columns still hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from fadae.arrays import Int64
from fadae.store.features import NO_RECORDING, RecordingTable
from fadae.store.forgotten import NOTHING, Forgotten
from fadae.store.frames import FrameStore
from fadae.store.index_objects import COLUMNS, END, ROWS_PER_PACK, RecordingRow, searched
from fadae.store.recording_index import RecordingIndex, SupersededError, rows_with
from fadae.store.staging import is_known, known_digests

T = TypeVar("T")

_ROWS_AT_A_TIME = 1024

log = logging.getLogger("fadae.store")


class PublishedRecordings:
    """The recordings of features.zarr as it was published when it was opened."""

    def __init__(self, store: FrameStore, forgotten: Forgotten = NOTHING) -> None:
        """Take the group, and what of it new recordings may not share; nothing is read."""
        self._store = store
        self._silent = frozenset(forgotten.silent.tolist())
        self._source: RecordingIndex | RecordingColumns = RecordingIndex.of(
            store
        ) or RecordingColumns(store)

    def __len__(self) -> int:
        return self._store.recording_rows

    def row(self, row: int) -> RecordingRow:
        """Return one row of the table."""
        return self._ask(lambda source: source.row(row))

    def rows(self, start: int, stop: int) -> list[RecordingRow]:
        """Return rows [start, stop) of the table, as far as there are any."""
        return self._ask(lambda source: source.rows(start, stop))

    def every(self, start: int = 0, stop: int | None = None) -> Iterator[RecordingRow]:
        """Yield all rows from `start` on, or up to `stop`, some at a time."""
        stop = len(self) if stop is None else min(stop, len(self))
        for low in range(start, stop, _ROWS_AT_A_TIME):
            yield from self.rows(low, min(low + _ROWS_AT_A_TIME, stop))

    def find(self, recording_id: str) -> int | None:
        """Return the row of an id, None where there is none."""
        return self._ask(lambda source: source.find(recording_id))

    def matching(self, words: Sequence[str]) -> Int64:
        """Return the rows whose title, creator or id hold every word, casefolded; rising."""
        none = np.empty(0, np.int64)
        return self._ask(lambda source: np.concatenate([none, *source.matching(words)]))

    def published_keys(self, keys: Iterable[str]) -> set[str]:
        """Return those of some recordings' keys that are published."""
        every = list(keys)
        return self._ask(lambda source: source.published_keys(every))

    def by_key(self, keys: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return (row, recording) of those of some recordings' keys that are published."""
        wanted = set(keys)
        return self._ask(lambda source: source.by_key(wanted)) if wanted else {}

    def canonical(self, pcm_sha256s: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return (row, recording) of those with rows of their own, by some PCM's SHA-256.

        Not the forgotten ones: their rows may be erased.
        """
        wanted = set(pcm_sha256s)
        found = self._ask(lambda source: source.canonical(wanted))
        return {digest: one for digest, one in found.items() if one[0] not in self._silent}

    def _ask(self, question: Callable[[RecordingIndex | RecordingColumns], T]) -> T:
        try:
            return question(self._source)
        except SupersededError as error:
            log.warning("%s; reading whole columns instead, which takes longer", error)
            self._source = RecordingColumns(self._store)
            return question(self._source)


class RecordingColumns:
    """The recordings as their arrays hold them: what the index says, at the price of columns."""

    def __init__(self, store: FrameStore) -> None:
        """Take the group; nothing is read."""
        self._store, self._table = store, RecordingTable(store)
        self._pack: tuple[int, list[RecordingRow]] = (-1, [])
        self._known: dict[str, bytes] = {}

    def __len__(self) -> int:
        return self._store.recording_rows

    def row(self, row: int) -> RecordingRow:
        """Return one row, with those stored beside it read."""
        return self.pack(row // ROWS_PER_PACK)[row % ROWS_PER_PACK]

    def rows(self, start: int, stop: int) -> list[RecordingRow]:
        """Return rows [start, stop), as far as there are any."""
        return [self.row(row) for row in range(start, min(stop, len(self)))]

    def pack(self, pack: int) -> list[RecordingRow]:
        """Return the rows of one chunk of the columns; the last one read is kept."""
        kept = self._pack  # threads share it
        if kept[0] != pack:
            start = pack * ROWS_PER_PACK
            stop = min(start + ROWS_PER_PACK, len(self))

            def column(name: str) -> list[object]:
                values: list[object] = self._store.read(f"recording_{name}", start, stop).tolist()
                return values

            columns = self._store.location.concurrently(column, COLUMNS)
            rows = [RecordingRow(*values) for values in zip(*columns, strict=True)]
            kept = self._pack = (pack, rows)
        return kept[1]

    def packs(self) -> Iterator[list[RecordingRow]]:
        """Yield all rows, a chunk of the columns at a time."""
        for pack in range(-(-len(self) // ROWS_PER_PACK)):
            yield self.pack(pack)

    def find(self, recording_id: str) -> int | None:
        """Return the row of an id, None where there is none."""
        found = np.flatnonzero(self._table.id == recording_id)
        return int(found[0]) if len(found) else None

    def published_keys(self, keys: Iterable[str]) -> set[str]:
        """Return those of some recordings' keys that are published."""
        self._known = self._known or known_digests(self._table.column("key"))
        return {key for key in keys if is_known(key, self._known)}

    def by_key(self, keys: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return (row, recording) of those of some recordings' keys that are published."""
        wanted = set(keys)
        return {row.key: (at, row) for at, row in self._every() if row.key in wanted}

    def canonical(self, pcm_sha256s: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return the recordings with rows of their own, by those of some PCM's SHA-256."""
        wanted, own = set(pcm_sha256s), NO_RECORDING
        return {
            row.pcm_sha256: (at, row)
            for at, row in self._every()
            if row.same_as == own and row.pcm_sha256 in wanted
        }

    def _every(self) -> Iterator[tuple[int, RecordingRow]]:
        for pack, rows in enumerate(self.packs()):
            yield from enumerate(rows, start=pack * ROWS_PER_PACK)

    def matching(self, words: Sequence[str]) -> Iterator[Int64]:
        """Yield the rows whose text holds every word, casefolded and without blanks."""
        for pack, rows in enumerate(self.packs()):
            text = b"".join(searched(row) + END for row in rows)
            yield rows_with(text, words) + pack * ROWS_PER_PACK
