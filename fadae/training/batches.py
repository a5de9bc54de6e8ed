"""Rows of the store as ranks hold them: which are usable, companded, and shared out by lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fadae.arrays import Array, Int64
from fadae.data import CHUNK_ROWS, SHARD_ROWS, RowSet, UnitReader, lanes_of
from fadae.model import values_of
from fadae.records import CodeSpec


@dataclass(frozen=True)
class Frames:
    """Frames as a model sees them, and how many rows beside them were silent or unreadable."""

    values: Tensor  # [n, C] float32, as `Model` says
    silent: int
    failed: int


def usable(features: Array, device: torch.device) -> tuple[Tensor, int, int]:
    """Return (rows [n, C] float32 with sound in them, silent rows, failed rows) of stored rows.

    A silent row has no direction to learn; a failed one holds NaN, as a lost chunk reads.
    """
    raw = torch.from_numpy(np.ascontiguousarray(features)).to(device).float()
    if not len(raw):
        return raw, 0, 0
    top = raw.abs().amax(dim=1)
    finite = torch.isfinite(top)
    keep = finite & (top > 0)
    kept = int(keep.sum())
    failed = len(raw) - int(finite.sum())
    return raw if kept == len(raw) else raw[keep], len(raw) - kept - failed, failed


def prepare(features: Array, device: torch.device, code: CodeSpec) -> Frames:
    """Return stored rows [n, C] as a model with such codes sees them."""
    raw, silent, failed = usable(features, device)
    return Frames(values_of(raw, code), silent, failed)


class SharedRows:
    """A set of rows laid out in lanes of whole units, each lane read by one rank, in store order.

    Unlike training, which draws a new order every epoch, evaluation and fitting want every row
    once; that the lanes are fixed makes their sums the same at any number of ranks.
    """

    def __init__(self, rows: RowSet, lanes: int) -> None:
        """Count the rows' units: shards, or chunks in a small set."""
        self.rows, self.lanes = rows, lanes
        self.unit_rows = SHARD_ROWS
        self.units, _ = rows.counts(SHARD_ROWS)
        if len(self.units) < lanes:
            self.unit_rows = CHUNK_ROWS
            self.units, _ = rows.counts(CHUNK_ROWS)

    def unit(self, unit: int) -> Int64:
        """Return the rows of a unit, rising."""
        return self.rows.within(unit * self.unit_rows, (unit + 1) * self.unit_rows)

    def work(self, lanes: range) -> list[tuple[int, int]]:
        """Return the (lane, unit) pairs of some lanes, in order."""
        count = len(self.units)
        return [
            (lane, int(unit))
            for lane in lanes
            for unit in self.units[lane * count // self.lanes : (lane + 1) * count // self.lanes]
        ]

    def rounds(self, ranks: int) -> int:
        """Return the greatest number of units any of so many ranks has."""
        lanes = (lanes_of(rank, ranks, self.lanes) for rank in range(ranks))
        return max(len(self.work(own)) for own in lanes)


def read_ahead(reader: UnitReader, work: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Array]]:
    """Yield (lane, features) of each piece of work, the next one being read meanwhile."""
    with ThreadPoolExecutor(1, "read") as pool:
        coming = [pool.submit(reader.unit, unit) for _, unit in work[:1]]
        for index, (lane, _) in enumerate(work):
            features = coming.pop().result()[1]
            coming += [pool.submit(reader.unit, unit) for _, unit in work[index + 1 : index + 2]]
            yield lane, features


def read_groups(
    reader: UnitReader,
    shared: SharedRows,
    groups: Sequence[range],
    prepared: Callable[[Array], Tensor],
) -> list[list[Tensor]]:
    """Return the values of all rows that groups of lanes hold, in blocks as they were read."""
    return [
        [prepared(found) for _, found in read_ahead(reader, shared.work(group))] for group in groups
    ]


@dataclass(frozen=True)
class RankSample:
    """A model's `Sample`: this rank's part of a fixed sample, and sums over all ranks' parts."""

    parts: list[list[Tensor]]  # for each of the reduction's groups at least one, if of no frame
    frames: int  # over all ranks
    seed: int
    add: Callable[[Sequence[Tensor]], Tensor]  # the reduction's

    def total(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the sum of function(values) over all parts of the sample."""
        sums = []
        for blocks in self.parts:
            part = function(blocks[0])
            for block in blocks[1:]:
                part += function(block)
            sums.append(part)
        return self.add(sums)
