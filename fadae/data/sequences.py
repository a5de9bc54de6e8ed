"""Stretches of neighbouring rows, each of one recording: what a data set gives instead of rows.

A span of rows is cut into stretches of `length` rows from its start on; the last one may be
shorter. A stretch is known by its first row, so that `DataOrder` orders stretches as it does rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from fadae.arrays import Array, Int64
from fadae.data.loader import UnitCache, Units, stored_rows
from fadae.data.rows import EVERY_HASH, RowSet

# Rows [start, stop) -> the arrays of an item's fields, each [stop - start, ...] as stored.
ReadFields = Callable[[int, int], Mapping[str, Array]]
_ROWS_AT_A_TIME = 2**20
ROW, LENGTH = "row", "length"  # fields beside the stored ones


@dataclass(frozen=True)
class SequenceSet:
    """The first rows of the stretches that spans are cut into; the spans are never thinned.

    >>> pieces = SequenceSet(RowSet.of([0, 10], [7, 13]), 3)
    >>> pieces.within(0, 100).tolist(), pieces.lengths(pieces.within(0, 100)).tolist()
    ([0, 3, 6, 10], [3, 3, 1, 3])
    """

    spans: RowSet
    length: int

    def __post_init__(self) -> None:
        assert self.length >= 1, "a stretch has a row"
        assert self.spans.hash_limit == EVERY_HASH, "a sample of rows has no neighbours"

    def within(self, start: int, stop: int) -> Int64:
        """Return the first rows of the stretches that begin in [start, stop), rising."""
        low, high = self.spans.starts, self.spans.stops
        part = slice(np.searchsorted(high, start, side="right"), np.searchsorted(low, stop))
        low, high = low[part], np.minimum(high[part], stop)
        first = low + -(-np.maximum(start - low, 0) // self.length) * self.length
        counts = np.maximum(-(-(high - first) // self.length), 0)
        own = np.repeat(np.arange(len(low)), counts)
        nth = np.arange(len(own)) - (np.cumsum(counts) - counts)[own]
        return np.asarray(first[own] + nth * self.length)

    def lengths(self, rows: Int64) -> Int64:
        """Return how many rows each stretch has, by their first rows [n]."""
        span = np.searchsorted(self.spans.starts, rows, side="right") - 1
        return np.asarray(np.minimum(self.spans.stops[span] - rows, self.length))

    def counts(self, unit_rows: int) -> tuple[Int64, Int64]:
        """Return (units, counts): the blocks of `unit_rows` rows in which any begin."""
        units, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for rows in self._pieces(unit_rows):
            found, number = np.unique(rows // unit_rows, return_counts=True)
            units.append(found)
            counts.append(number)
        return np.concatenate(units), np.concatenate(counts)

    def _pieces(self, unit_rows: int) -> Iterator[Int64]:
        if not len(self.spans.starts):
            return
        step = max(1, _ROWS_AT_A_TIME // unit_rows) * unit_rows
        first = int(self.spans.starts[0]) // step * step
        for low in range(first, int(self.spans.stops[-1]), step):
            yield self.within(low, low + step)


class SequenceReader(UnitCache):
    """Reads the stretches that begin in a unit, each as the bytes of one record.

    `dtype` is the record: `row`, `length`, and the fields, each [length, ...]; zeros follow the
    last row of a short stretch. As plain bytes a loader moves them as it moves features.
    """

    def __init__(
        self,
        read: ReadFields,
        units: Units,
        sequences: SequenceSet,
        fields: Mapping[str, tuple[DTypeLike, tuple[int, ...]]],
        cache_bytes: int,
        rows: int,
    ) -> None:
        """Take the source, what is wanted of it, and the type and shape of a row of each field."""
        super().__init__(units, cache_bytes, rows)
        self._read, self._sequences = read, sequences
        # Aligned, so that a field of many records is an array that torch takes as it is.
        self.dtype = np.dtype(
            [
                (ROW, np.int64),
                (LENGTH, np.int64),
                *((name, kind, (sequences.length, *row)) for name, (kind, row) in fields.items()),
            ],
            align=True,
        )

    def load(self, unit: int, rows: Int64) -> Array:
        """Return the records [n] of the stretches that begin at `rows`, as bytes [n, ...]."""
        lengths = self._sequences.lengths(rows)
        records = np.zeros(len(rows), self.dtype)
        records[ROW], records[LENGTH] = rows, lengths
        record = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(record)) - (np.cumsum(lengths) - lengths)[record]
        wanted = rows[record] + within
        spans = self.spans(unit, wanted)
        where = np.searchsorted(stored_rows(spans), wanted)
        # One stretch of rows is a view of what is read, and costs no copy of it.
        part = slice(int(where[0]), int(where[-1]) + 1)
        chosen = part if part.stop - part.start == len(where) else where
        read = [self._read(start, stop) for start, stop in spans]
        for name in read[0]:
            values = np.concatenate([one[name] for one in read]) if read[1:] else read[0][name]
            records[name][record, within] = values[chosen]
        return records.view(np.uint8).reshape(len(rows), self.dtype.itemsize)
