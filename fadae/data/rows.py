"""Sets of store rows: what a run trains on and what it is judged by, in memory flat in the rows.

Everything random is a keyed hash of a row or recording, never a generator's stream: the same seed
chooses the same rows on any machine, with any version of NumPy, in any order of asking.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fadae.arrays import Array, Int64

EVERY_HASH = 2**64 - 1
_ROWS_AT_A_TIME = 2**20
_BUCKET_BITS = 16


def key_of(*parts: object) -> int:
    """Return the 64-bit key of some values, for `keyed_hash`.

    >>> key_of("order", 0, 1) == key_of("order", 0, 2)
    False
    """
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def keyed_hash(key: int, numbers: Int64) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each number: a bijection for each key, so that no two are equal.

    The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def shuffled(key: int, numbers: Int64) -> Int64:
    """Return the numbers in the order of their keyed hashes: a seeded permutation."""
    return numbers[np.argsort(keyed_hash(key, numbers))]


@dataclass(frozen=True)
class RowSet:
    """Rows of rising, disjoint spans [start, stop), thinned to those with a small keyed hash."""

    starts: Int64
    stops: Int64
    key: int = 0
    hash_limit: int = EVERY_HASH

    @classmethod
    def of(cls, starts: Sequence[int] | Int64, stops: Sequence[int] | Int64, key: int = 0) -> Self:
        """Return the set of all rows of some spans; empty ones are left out."""
        low, high = np.asarray(starts, dtype=np.int64), np.asarray(stops, dtype=np.int64)
        order = np.argsort(low)
        order = order[high[order] > low[order]]
        return cls(low[order], high[order], key)

    @cached_property
    def count(self) -> int:
        """How many rows."""
        if self.hash_limit == EVERY_HASH:
            return int((self.stops - self.starts).sum())
        return sum(len(rows) for rows in self._pieces())

    def within(self, start: int, stop: int) -> Int64:
        """Return the set's rows in [start, stop), rising; none where stop is before start.

        >>> RowSet.of([0, 10], [3, 12]).within(2, 11).tolist()
        [2, 10]
        """
        stop = max(start, stop)
        first = np.searchsorted(self.stops, start, side="right")
        last = np.searchsorted(self.starts, stop, side="left")
        low = np.maximum(self.starts[first:last], start)
        lengths = np.minimum(self.stops[first:last], stop) - low
        before = np.cumsum(lengths) - lengths
        rows: Int64 = np.arange(lengths.sum(), dtype=np.int64)
        rows += np.repeat(low - before, lengths)
        if self.hash_limit == EVERY_HASH:
            return rows
        kept: Int64 = rows[keyed_hash(self.key, rows) <= np.uint64(self.hash_limit)]
        return kept

    def thinned(self, count: int) -> Self:
        """Return exactly `count` of the rows, a uniform sample seeded by the set's key.

        They are those with the smallest hashes, so a smaller sample is part of a larger one. The
        limit is found by counting hashes by their leading bits, in memory flat in the rows.
        """
        if count >= self.count:
            return self
        shift = np.uint64(64 - _BUCKET_BITS)
        counts = np.zeros(2**_BUCKET_BITS, dtype=np.int64)
        for rows in self._pieces():
            leading = (keyed_hash(self.key, rows) >> shift).astype(np.int64)
            counts += np.bincount(leading, minlength=len(counts))
        bucket = int(np.searchsorted(np.cumsum(counts), count))
        inside = [np.zeros(0, dtype=np.uint64)]
        for rows in self._pieces():
            hashes = keyed_hash(self.key, rows)
            inside.append(hashes[(hashes >> shift) == np.uint64(bucket)])
        rank = count - int(counts[:bucket].sum())
        limit = int(np.sort(np.concatenate(inside))[rank - 1]) if rank else 0
        return dataclasses.replace(self, hash_limit=limit)

    def in_chunks(self, count: int, chunk_rows: int) -> Self:
        """Return exactly `count` of the rows in whole chunks, a sample seeded by the set's key.

        A store reads chunks of `chunk_rows` rows, so the sample takes all the rows it may of a
        chunk. Chunks follow each other in a seeded permutation, those first that are at least
        half the set's: what is read is then at most twice what is used. The last one gives its
        first rows. A smaller sample is part of a larger one.
        """
        if count >= self.count:
            return self
        chunks, counts = self.counts(chunk_rows)
        order = np.lexsort((keyed_hash(self.key, chunks), 2 * counts < chunk_rows))
        ends = np.cumsum(counts[order])
        last = int(np.searchsorted(ends, count))
        low = chunks[order[: last + 1]] * chunk_rows
        high = low + chunk_rows
        rest = count - int(ends[last] - counts[order[last]])
        high[last] = self.within(int(low[last]), int(high[last]))[rest - 1] + 1
        return self._cut(np.sort(low), high[np.argsort(low)])

    def _cut(self, low: Int64, high: Int64) -> Self:
        """Return the rows within rising, disjoint spans [low, high)."""
        first = np.searchsorted(self.stops, low, side="right")
        spans = np.searchsorted(self.starts, high, side="left") - first
        own = np.repeat(np.arange(len(low)), spans)
        met = np.arange(spans.sum()) + np.repeat(first - (np.cumsum(spans) - spans), spans)
        return dataclasses.replace(
            self,
            starts=np.maximum(self.starts[met], low[own]),
            stops=np.minimum(self.stops[met], high[own]),
        )

    def counts(self, unit_rows: int) -> tuple[Int64, Int64]:
        """Return (units, counts): the blocks of `unit_rows` rows that hold any, and how many."""
        units, counts = [], []
        for rows in self._pieces(unit_rows):
            found, number = np.unique(rows // unit_rows, return_counts=True)
            units.append(found)
            counts.append(number)
        empty = np.zeros(0, dtype=np.int64)
        return np.concatenate([empty, *units]), np.concatenate([empty, *counts])

    def _pieces(self, unit_rows: int = 1) -> Iterator[Int64]:
        """Yield the rows a bounded number at a time, never cutting a unit in two."""
        if not len(self.starts):
            return
        step = max(1, _ROWS_AT_A_TIME // unit_rows) * unit_rows
        first = int(self.starts[0]) // step * step
        for low in range(first, int(self.stops[-1]), step):
            yield self.within(low, low + step)


@dataclass(frozen=True)
class Split:
    """The rows of a dataset: trained on, held out, and neither."""

    train: RowSet
    holdout: RowSet
    padding_rows: int

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the splits of disjoint rows, of one seed, as one."""

        def together(sets: Sequence[RowSet]) -> RowSet:
            starts = np.concatenate([one.starts for one in sets])
            return RowSet.of(starts, np.concatenate([one.stops for one in sets]), sets[0].key)

        return cls(
            together([one.train for one in parts]),
            together([one.holdout for one in parts]),
            sum(one.padding_rows for one in parts),
        )


def split_rows(
    families: Sequence[Any] | Array,
    starts: Int64,
    counts: Int64,
    rows: int,
    holdout: float,
    seed: int,
) -> Split:
    """Return the split of recordings [starts, starts + counts) into training and holdout.

    Whole families are held out, never single frames: neighbours overlap by half. `families` names
    each recording's, a recording alone by its id. In the order of a keyed hash of these names, the
    prefix whose frames come nearest to the share `holdout` is held out, at least one family on
    either side. One recording alone is cut in time, with a row left out between the sides so that
    they share no sample; several must not be one family. `rows` counts the store's rows.
    """
    key = key_of("sample", seed)
    used = int(counts.sum())
    if holdout <= 0 or used < 3:
        return Split(RowSet.of(starts, starts + counts, key), RowSet.of([], []), rows - used)
    if len(starts) == 1:
        start, stop = int(starts[0]), int(starts[0] + counts[0])
        cut = start + min(max(round(used * (1 - holdout)), 1), used - 2)
        return Split(RowSet.of([start], [cut], key), RowSet.of([cut + 1], [stop]), rows - used)
    places: dict[Any, int] = {}
    unit = np.array([places.setdefault(one, len(places)) for one in families])
    hashes = np.array([key_of("holdout", seed, one) for one in places], dtype=np.uint64)
    order = np.argsort(hashes)
    frames = np.bincount(unit, weights=counts).astype(np.int64)
    held = np.cumsum(frames[order])[:-1]
    prefix = 1 + int(np.argmin(np.abs(held - holdout * used)))
    out = np.isin(unit, order[:prefix])
    return Split(
        RowSet.of(starts[~out], starts[~out] + counts[~out], key),
        RowSet.of(starts[out], starts[out] + counts[out]),
        rows - used,
    )
