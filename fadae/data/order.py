"""Who sees which row when: a pure function of (seed, epoch), the same at any number of ranks.

An epoch permutes blocks of rows ("units": whole shards, or chunks in a small dataset), lays their
rows end to end and cuts that line into K lanes. A lane is walked window by window, a window being
a few whole units whose rows are shuffled together. A global batch takes the next rows of every
lane, in lane order; rank r owns the lanes [rK//W, (r+1)K//W), so its part of every batch is
contiguous, its units are read by it alone (two ranks at a lane's border), and the batch as a
whole knows nothing of ranks. Position in the epoch is one number, the step: resuming reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fadae.arrays import Int64
from fadae.data.rows import key_of, shuffled

SHARD_ROWS = 1024
CHUNK_ROWS = 64


class Rows(Protocol):
    """A set of rows to order, as `RowSet` and `SequenceSet` are."""

    def counts(self, unit_rows: int) -> tuple[Int64, Int64]:
        """Return (units, counts): the blocks of so many rows that hold any, and how many."""

    def within(self, start: int, stop: int) -> Int64:
        """Return the set's rows in [start, stop), rising."""


@dataclass(frozen=True)
class Piece:
    """A part of a unit: the rows [start, stop) of its shuffled order; most pieces are whole."""

    unit: int
    start: int
    stop: int


@dataclass(frozen=True)
class Window:
    """Successive pieces of a lane, shuffled together; `first` counts the lane's rows before."""

    first: int
    rows: int
    pieces: tuple[Piece, ...]


def lanes_of(rank: int, ranks: int, lanes: int) -> range:
    """Return the lanes a rank owns.

    >>> [len(lanes_of(rank, 3, 16)) for rank in range(3)]
    [5, 5, 6]
    """
    return range(rank * lanes // ranks, (rank + 1) * lanes // ranks)


class DataOrder:
    """The order of a set of rows for every epoch."""

    def __init__(
        self, rows: Rows, seed: int, batch_size: int, lanes: int = 16, window_rows: int = 1024
    ) -> None:
        """Count the rows of each unit once; datasets with fewer shards than lanes use chunks."""
        self.rows, self.seed, self.batch_size, self.lanes = rows, seed, batch_size, lanes
        self.window_rows = window_rows
        self.unit_rows = SHARD_ROWS
        self.units, self.counts = rows.counts(SHARD_ROWS)
        if len(self.units) < lanes:
            self.unit_rows = CHUNK_ROWS
            self.units, self.counts = rows.counts(CHUNK_ROWS)
        self.count = int(self.counts.sum())
        self.steps = -(-self.count // batch_size)

    def unit(self, unit: int) -> Int64:
        """Return the rows of a unit, rising."""
        return self.rows.within(unit * self.unit_rows, (unit + 1) * self.unit_rows)

    def batch_rows(self, step: int) -> int:
        """Return the size of a step's global batch: the last one of an epoch may be smaller."""
        return min(self.batch_size, self.count - step * self.batch_size)

    def share(self, step: int, lane: int) -> int:
        """Return how many rows of a step's batch come from a lane.

        Batch rows [l n//K, (l+1) n//K) are lane l's, so any K/V neighbouring lanes together hold
        exactly the rows [v n//V, (v+1) n//V).
        """
        return self._cut(self.batch_rows(step), lane)

    def taken(self, step: int, lane: int) -> int:
        """Return how many rows a lane has given before a step."""
        return step * self._cut(self.batch_size, lane)

    def _cut(self, rows: int, lane: int) -> int:
        return (lane + 1) * rows // self.lanes - lane * rows // self.lanes

    def lane_rows(self, lane: int) -> int:
        """Return how many rows an epoch's lane has."""
        last = self.steps - 1
        return self.taken(last, lane) + self.share(last, lane)

    def windows(self, epoch: int, lane: int) -> Iterator[Window]:
        """Yield a lane's windows of an epoch in order; a few bytes a unit, no row is looked at."""
        units = shuffled(key_of("units", self.seed, epoch), self.units)
        counts = self.counts[np.searchsorted(self.units, units)]
        ends = np.cumsum(counts)
        start = sum(self.lane_rows(before) for before in range(lane))
        stop = start + self.lane_rows(lane)
        pieces: list[Piece] = []
        first = held = 0
        for index in range(int(np.searchsorted(ends, start, side="right")), len(units)):
            low, high = int(ends[index] - counts[index]), int(ends[index])
            if low >= stop:
                break
            piece = Piece(int(units[index]), max(start, low) - low, min(stop, high) - low)
            pieces.append(piece)
            held += piece.stop - piece.start
            if held >= self.window_rows:
                yield Window(first, held, tuple(pieces))
                first, held, pieces = first + held, 0, []
        if pieces:
            yield Window(first, held, tuple(pieces))

    def piece_rows(self, epoch: int, piece: Piece) -> Int64:
        """Return a piece's rows: a slice of its unit's shuffled rows."""
        rows = self.unit(piece.unit)
        if piece.stop - piece.start == len(rows):
            return rows
        return shuffled(key_of("pieces", self.seed, epoch), rows)[piece.start : piece.stop]

    def window_order(self, epoch: int, window: Window) -> Int64:
        """Return a window's rows in the order of the batches."""
        rows = np.concatenate([self.piece_rows(epoch, piece) for piece in window.pieces])
        return shuffled(key_of("window", self.seed, epoch), rows)

    def batch(self, epoch: int, step: int) -> Int64:
        """Return the rows of one global batch, lane after lane: for looking, not for training."""
        parts = [np.zeros(0, dtype=np.int64)]
        for lane in range(self.lanes):
            start = self.taken(step, lane)
            stop = start + self.share(step, lane)
            for window in self.windows(epoch, lane):
                low, high = max(start - window.first, 0), min(stop - window.first, window.rows)
                if low < high:
                    parts.append(self.window_order(epoch, window)[low:high])
        return np.concatenate(parts)
