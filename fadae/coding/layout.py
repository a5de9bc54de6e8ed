"""In which order a row's coefficients are coded, and which of them each can look at.

A row is a grid of bins and blocks (see transform.critical), visited in phases: each phase is one
block's bins of one residue, from coarse to fine (every 16th bin, the 8th between them, ...). All
symbols of a phase are coded at once, knowing all earlier phases: both neighbours in frequency and
the other blocks, never the symbols beside them in their own phase.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Kind = TypeVar("_Kind", bound=np.generic)

NEIGHBOURS = 32  # earlier-coded coefficients that a symbol's probability may depend on
REACH_BINS = 32  # ... and how far away in frequency; grids are padded by so many zeros
_BLOCK_DISTANCE = 1.7  # how far the next block is, in bins

# Residues in coding order: (first bin, stride). A row of one block starts coarser, its bins being
# three times as many.
_RESIDUES = ((0, 16), (8, 16), (4, 8), (2, 4), (1, 4), (3, 4))
_RESIDUES_OF_ONE = ((0, 32), (16, 32), (8, 16), (4, 8), (2, 4), (1, 4), (3, 4))


@dataclass(frozen=True)
class Phase:
    """The bins `residue`, residue + stride, ... of one block, and where their context lies.

    offsets: (bins, blocks) from a symbol to each earlier-coded neighbour, nearest first.
    """

    residue: int
    stride: int
    block: int
    offsets: tuple[tuple[int, int], ...]

    def bins(self, stop: int) -> slice:
        """Return this phase's bins below `stop`."""
        return slice(self.residue, stop, self.stride)

    def count(self, stop: int) -> int:
        """Return how many of this phase's bins are below `stop`."""
        return max(0, -(-(stop - self.residue) // self.stride))


def block_order(blocks: int) -> tuple[int, ...]:
    """Return blocks in coding order: the middle one, then outwards.

    >>> block_order(3), block_order(1)
    ((1, 0, 2), (0,))
    """
    middle = blocks // 2
    return tuple(sorted(range(blocks), key=lambda block: (abs(block - middle), block)))


@functools.cache
def phases(blocks: int) -> tuple[Phase, ...]:
    """Return the phases of a row of so many blocks, in coding order.

    >>> [(p.residue, p.stride, p.block, len(p.offsets)) for p in phases(3)[:4]]
    [(0, 16, 1, 0), (0, 16, 0, 5), (0, 16, 2, 10), (8, 16, 1, 12)]
    """
    residues = _RESIDUES_OF_ONE if blocks == 1 else _RESIDUES
    order = [(r, s, b) for r, s in residues for b in block_order(blocks)]
    return tuple(
        Phase(r, s, b, _known_offsets(order[:i], (r, s, b), blocks))
        for i, (r, s, b) in enumerate(order)
    )


def _known_offsets(
    earlier: list[tuple[int, int, int]], phase: tuple[int, int, int], blocks: int
) -> tuple[tuple[int, int], ...]:
    """Return the offsets to neighbours that are coded before a phase, nearest first."""
    residue, stride, block = phase
    period = max(stride, *(s for _, s, _ in earlier)) if earlier else stride
    known = np.zeros((blocks, period), dtype=bool)
    for r, s, b in earlier:
        known[b, r::s] = True
    found = []
    for other in range(blocks):
        for bins in range(-REACH_BINS, REACH_BINS + 1):
            lands = (np.arange(residue, period, stride) + bins) % period
            if known[other, lands].all():
                away = np.hypot(bins, _BLOCK_DISTANCE * (other - block))
                found.append((away, abs(bins), bins, other - block))
    return tuple((bins, blocks_) for _, _, bins, blocks_ in sorted(found)[:NEIGHBOURS])


def grid(rows: npt.NDArray[_Kind], blocks: int) -> npt.NDArray[_Kind]:
    """Return rows [F, size], ordered by frequency then block, as a grid [blocks, F, bins]."""
    return np.ascontiguousarray(
        rows.reshape(len(rows), rows.shape[1] // blocks, blocks).transpose(2, 0, 1)
    )


def ungrid(cells: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """Return a grid [blocks, F, bins] as rows [F, size]: undoes `grid`."""
    blocks, rows, bins = cells.shape
    return np.ascontiguousarray(cells.transpose(1, 2, 0)).reshape(rows, bins * blocks)
