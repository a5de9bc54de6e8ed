"""Batches of one rank, read and prepared in background threads while the last one is learned.

Every window of a lane is fetched once an epoch, one window ahead of its first row; resident are
two windows a lane and the cache. Threads, never forked processes: s3fs and zarr's event loop
hang in a forked child.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from fadae.arrays import Array, Int64
from fadae.data.order import CHUNK_ROWS, DataOrder, Window

Prepared = TypeVar("Prepared")
Read = Callable[[int, int], Array]  # rows [start, stop) -> [stop - start, C] as stored

BATCHES_AHEAD = 3
# Reads at a time: of a bucket 20 ms away, where a chunk of 64 rows costs two requests, two gave
# 1,000 rows a second on two busy cores, eight 1,500 to 2,000, sixteen no more.
READS_AT_A_TIME = 8


@dataclass(frozen=True)
class Batch(Generic[Prepared]):
    """One rank's part of a global batch, a part for each group of its lanes."""

    epoch: int
    step: int  # within the epoch
    parts: list[Prepared]


class Units(Protocol):
    """Rows in blocks of `unit_rows`."""

    @property
    def unit_rows(self) -> int:
        """Rows of the store that a unit spans."""

    def unit(self, unit: int) -> Int64:
        """Return the wanted rows of a unit, rising."""


class UnitCache(ABC):
    """The wanted rows of units, kept as long as a memory budget lasts.

    A dataset within the budget is read once a run; of a larger one, what came first stays: any
    replacement policy would throw out what a later epoch, in another order, wants as much.
    """

    def __init__(self, units: Units, cache_bytes: int, rows: int) -> None:
        """Take what is wanted, and the source's number of rows."""
        self._units, self._rows = units, rows
        self._free_bytes = cache_bytes
        self._kept: dict[int, tuple[Array, Array]] = {}
        self._lock = threading.Lock()

    def unit(self, unit: int) -> tuple[Array, Array]:
        """Return (rows [n] rising, features [n, C]) of a unit."""
        kept = self._kept.get(unit)
        if kept is not None:
            return kept
        rows = self._units.unit(unit)
        features = self.load(unit, rows)
        with self._lock:
            if features.nbytes <= self._free_bytes and unit not in self._kept:
                self._free_bytes -= features.nbytes
                self._kept[unit] = (rows, features)
        return rows, features

    @abstractmethod
    def load(self, unit: int, rows: Int64) -> Array:
        """Return the features [n, C] of a unit's wanted rows, read now."""

    def spans(self, unit: int, rows: Int64) -> list[tuple[int, int]]:
        """Return what to read of a unit: all of it, or the runs of chunks with wanted rows.

        Rows may lie beyond the unit's end, where they are read too.
        """
        size = self._units.unit_rows
        if 2 * len(rows) > size:  # mostly wanted: a whole shard is one object, one request
            stop = min((unit + 1) * size, self._rows)
            return [(unit * size, max(stop, int(rows[-1]) + 1))]
        ends = np.flatnonzero(np.diff(rows // CHUNK_ROWS) > 1)
        starts, stops = rows[np.append(0, ends + 1)], rows[np.append(ends, -1)] + 1
        return list(zip(starts.tolist(), stops.tolist(), strict=True))


def stored_rows(spans: Sequence[tuple[int, int]]) -> Int64:
    """Return the rows of rising, disjoint spans, one after the other."""
    return np.concatenate([np.arange(start, stop) for start, stop in spans])


class UnitReader(UnitCache):
    """Reads the wanted rows of units, and keeps them as long as its memory budget lasts."""

    def __init__(self, read: Read, units: Units, cache_bytes: int, rows: int) -> None:
        """Take the source, what is wanted of it, and the source's number of rows."""
        super().__init__(units, cache_bytes, rows)
        self._read = read

    def load(self, unit: int, rows: Int64) -> Array:
        """Return the features [n, C] of a unit's wanted rows, read now."""
        spans = self.spans(unit, rows)
        parts = [self._read(start, stop) for start, stop in spans]
        features = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if len(rows) < len(features):
            features = features[np.searchsorted(stored_rows(spans), rows)]
        return features


class Loader(Generic[Prepared]):
    """A stream of one rank's batches from a step on, epoch after epoch, up to the last or endless.

    `groups` are ranges of lanes: each becomes one part of every batch, its raw rows [n, C] turned
    by `prepare` into what the trainer takes. Use as a context manager; leaving it stops all
    threads.
    """

    def __init__(
        self,
        reader: UnitCache,
        order: DataOrder,
        groups: Sequence[range],
        prepare: Callable[[Array], Prepared],
        features: int,
        dtype: Any,
        first_step: int = 0,
        last_epoch: int | None = None,
    ) -> None:
        """Take the source and where to begin, counted in steps since epoch 0.

        Of what comes after the last epoch, if there is one, nothing is read, nor may be asked for.
        """
        self._reader, self._order, self._groups, self._prepare = reader, order, groups, prepare
        self._empty = np.zeros((0, features), dtype=dtype)
        self._first_step, self._last_epoch = first_step, last_epoch
        self._ready: queue.Queue[Batch[Prepared] | Exception] = queue.Queue(BATCHES_AHEAD)
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(READS_AT_A_TIME, "read")
        self._thread = threading.Thread(target=self._produce, name="batches", daemon=True)
        self.seconds_waited = 0.0

    def __enter__(self) -> Loader[Prepared]:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop all threads."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._thread.join()

    def next(self) -> Batch[Prepared]:
        """Return the next batch; raises what reading it raised."""
        started = time.monotonic()
        batch = self._ready.get()
        self.seconds_waited += time.monotonic() - started
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _produce(self) -> None:
        try:
            for batch in self._batches():
                while not self._stopping.is_set():
                    try:
                        self._ready.put(batch, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if self._stopping.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - raised again in the training thread
            if not self._stopping.is_set():
                self._ready.put(error)

    def _batches(self) -> Iterator[Batch[Prepared]]:
        begin, first = divmod(self._first_step, self._order.steps)
        last = self._last_epoch
        lanes = {
            lane: _Lane(self._reader, self._order, self._pool, lane, epochs_of(begin, last), first)
            for group in self._groups
            for lane in group
        }
        for epoch in epochs_of(begin, last):
            for step in range(first, self._order.steps):
                parts = []
                for group in self._groups:
                    found = [
                        piece
                        for lane in group
                        for piece in lanes[lane].take(self._order.share(step, lane))
                    ]
                    parts.append(self._prepare(np.concatenate([self._empty, *found])))
                yield Batch(epoch, step, parts)
            first = 0


def epochs_of(first: int, last: int | None) -> Iterable[int]:
    """Return the epochs from one on, up to the last one, or for ever."""
    return itertools.count(first) if last is None else range(first, last + 1)


class _Lane:
    """One lane's rows in order, its next window being fetched while this one is used."""

    def __init__(
        self,
        reader: UnitCache,
        order: DataOrder,
        pool: ThreadPoolExecutor,
        lane: int,
        epochs: Iterable[int],
        step: int,
    ) -> None:
        self._reader, self._order, self._pool = reader, order, pool
        self._windows = self._fetches(lane, epochs, step)
        self._next: Future[Array] | None = next(self._windows, None)
        self._rows: Array | None = None
        self._used = 0

    def _fetches(self, lane: int, epochs: Iterable[int], step: int) -> Iterator[Future[Array]]:
        """Start fetching a window a time the iterator is asked, from a step of the first epoch."""
        if not self._order.lane_rows(lane):
            return
        skip = self._order.taken(step, lane)
        for epoch in epochs:
            for window in self._order.windows(epoch, lane):
                if window.first + window.rows > skip:
                    after = max(0, skip - window.first)
                    yield self._pool.submit(self._fetch, epoch, window, after)
            skip = 0

    def _fetch(self, epoch: int, window: Window, after: int) -> Array:
        """Return a window's features from its row `after` on, in the order of the batches."""
        wanted = self._order.window_order(epoch, window)
        rows, features = [], []
        for piece in window.pieces:
            unit_rows, unit_features = self._reader.unit(piece.unit)
            rows.append(unit_rows)
            features.append(unit_features)
        where = np.concatenate(rows)
        by_row = np.argsort(where)
        index = by_row[np.searchsorted(where[by_row], wanted[after:])]
        found = features[0] if len(features) == 1 else np.concatenate(features)
        return found[index]

    def take(self, count: int) -> Iterator[Array]:
        """Yield the next `count` rows, in as many pieces as there are windows."""
        while count:
            if self._rows is None:
                assert self._next is not None, "a lane without rows is asked for none"
                self._rows, self._used = self._next.result(), 0
                self._next = next(self._windows, None)
            piece = self._rows[self._used : self._used + count]
            self._used += len(piece)
            count -= len(piece)
            if self._used == len(self._rows):
                self._rows = None
            yield piece
