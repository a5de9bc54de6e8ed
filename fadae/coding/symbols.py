"""Coefficients to symbols and back: quantised, in coding order, each with its context.

A row has one step, 2^(k / 16) in units of int16's least bit, k in 0 .. 255: from 1/32768 of full
scale to 2. A magnitude m lies at m + centroid in steps, the mean of what was rounded to it.

A row is a grid of bins and blocks (see transform.critical), visited in phases: each phase is one
block's bins of one residue, from coarse to fine (every 16th bin, the 8th between them, ...). All
symbols of a phase are coded at once, knowing all earlier phases: both neighbours in frequency and
the other blocks, never the symbols beside them in their own phase.

What is known before a symbol is coded, its row's side information and its neighbours, is whole
numbers: encoder and decoder see the same on any machine.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STEPS = 256
STEPS_AN_OCTAVE = 16
MOST = 2**22  # the greatest magnitude; |c| / step stays below it for any int16 signal
CENTROIDS = 4  # magnitudes 1, 2, 3, and 4 or more have a centroid each
# Rounded to 20 bits, so that no platform's pow can make another step of it.
_OCTAVE = np.rint(2.0 ** (np.arange(STEPS_AN_OCTAVE) / STEPS_AN_OCTAVE) * 2**20) / 2**20
STEP = np.concatenate([_OCTAVE * 2.0**o for o in range(STEPS // STEPS_AN_OCTAVE)]).astype(
    np.float32
) / np.float32(32768)

# Where magnitudes round up: |c| / step + ROUNDING, floored. Less than a half, because zeros are
# cheap: worth 0.1 to 1 dB at equal bytes, the more the lower the rate.
ROUNDING = 0.36


def quantise(c: Array, step_index: Array, rounding: float = ROUNDING) -> npt.NDArray[np.int32]:
    """Return whole numbers [F, size] int32 of coefficients [F, size], with a step a row [F]."""
    scaled = np.abs(c) * (np.float32(1) / STEP[step_index])[:, None]
    scaled += np.float32(rounding)
    magnitude = np.minimum(scaled, MOST).astype(np.int32)
    signed: npt.NDArray[np.int32] = np.where(c < 0, -magnitude, magnitude)
    return signed


def dequantise(q: Array, centroid: Array, step_index: Array) -> npt.NDArray[np.float32]:
    """Return coefficients [F, size] float32 of whole numbers and their centroids [F, size]."""
    magnitude = np.abs(q).astype(np.float32)
    magnitude += np.where(q != 0, centroid, np.float32(0))
    magnitude *= STEP[step_index][:, None]
    return np.copysign(magnitude, q).astype(np.float32)


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


@functools.lru_cache(maxsize=256)
def coding_order(blocks: int, stop: int) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Return where in a row the coefficients of bins below `stop` lie, in coding order, [n].

    And where among those n each phase ends.

    >>> order, ends = coding_order(3, 20)
    >>> order[:8].tolist(), ends[:4]
    ([1, 49, 0, 48, 2, 50, 25, 24], (2, 4, 6, 7))
    """
    parts = [
        np.arange(phase.residue, max(stop, phase.residue), phase.stride) * blocks + phase.block
        for phase in phases(blocks)
    ]
    order = np.concatenate(parts)
    order.flags.writeable = False
    return order, tuple(np.cumsum([len(part) for part in parts]).tolist())


def grid(rows: npt.NDArray[_Kind], blocks: int) -> npt.NDArray[_Kind]:
    """Return rows [F, size], ordered by frequency then block, as a grid [blocks, F, bins]."""
    return np.ascontiguousarray(
        rows.reshape(len(rows), rows.shape[1] // blocks, blocks).transpose(2, 0, 1)
    )


def ungrid(cells: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """Return a grid [blocks, F, bins] as rows [F, size]: undoes `grid`."""
    blocks, rows, bins = cells.shape
    return np.ascontiguousarray(cells.transpose(1, 2, 0)).reshape(rows, bins * blocks)


BANDWIDTHS = 96  # classes, 8 an octave: 8 bins to 30,000, those of 192 kHz
COUNTS = 48  # classes, 3 an octave: 0 symbols to 50,000 and more
_STOPS = np.ceil(8 * 2.0 ** (np.arange(BANDWIDTHS) / 8) - 1e-9).astype(np.int64)
_COUNT_EDGES = np.ceil(2.0 ** ((np.arange(1, COUNTS) - 0.5) / 3) - 1).astype(np.int64)

_APART = 4  # every phase's stride is a multiple
_MARGIN = REACH_BINS // _APART

# A magnitude as context: round(24 log1p m), at most 127 (m of 198 and more).
_LEVELS = np.minimum(127, np.rint(24 * np.log1p(np.arange(256)))).astype(np.uint8)


@dataclass(frozen=True)
class Side:
    """The side information of F rows: how far up they reach, and about how much they hold.

    bandwidth, count: [F] uint8 classes; above `stop` [F] bins nothing is coded.
    """

    bandwidth: npt.NDArray[np.uint8]
    count: npt.NDArray[np.uint8]
    bins: int

    @classmethod
    def of(cls, cells: npt.NDArray[np.int32]) -> Side:
        """Return the side information of a grid [blocks, F, bins]."""
        held = cells != 0
        anywhere = held.any(axis=0)
        used = np.where(anywhere.any(axis=1), cells.shape[2] - anywhere[:, ::-1].argmax(axis=1), 0)
        counts = np.count_nonzero(held, axis=(0, 2))
        return cls(
            np.searchsorted(_STOPS, used).astype(np.uint8),
            np.searchsorted(_COUNT_EDGES, counts, side="right").astype(np.uint8),
            cells.shape[2],
        )

    @property
    def stop(self) -> npt.NDArray[np.int64]:
        """[F]: the bins that are coded."""
        return np.minimum(_STOPS[self.bandwidth], self.bins)

    def inputs(self) -> npt.NDArray[np.float32]:
        """Return [2, F]: both classes, up to 127."""
        return np.stack(
            [self.bandwidth.astype(np.int32) * 5 // 4, self.count.astype(np.int32) * 5 // 2]
        ).astype(np.float32)

    def rows(self, chosen: Array | slice) -> Side:
        """Return the side information of some of the rows."""
        return Side(self.bandwidth[chosen], self.count[chosen], self.bins)


class Context:
    """The magnitudes known so far of F rows, as levels 0 .. 127, zeros around.

    levels: [blocks, 4, F, bins / 4]: bins that are equal modulo 4 lie beside each other, because
    phases visit every fourth, eighth or sixteenth bin.
    """

    def __init__(self, blocks: int, rows: int, bins: int) -> None:
        """Start with nothing known."""
        width = -(-bins // _APART) + 2 * _MARGIN
        self.levels = np.zeros((blocks, _APART, rows, width), dtype=np.uint8)

    @classmethod
    def of(cls, cells: npt.NDArray[np.int32]) -> Context:
        """Return the context in which all of a grid [blocks, F, bins] is known.

        Phases look at earlier ones only, so the encoder may fill in everything at once.
        """
        made = cls(*cells.shape)
        levels = _LEVELS[np.minimum(np.abs(cells), len(_LEVELS) - 1)]
        for residue in range(_APART):
            some = levels[:, :, residue::_APART]
            made.levels[:, residue, :, _MARGIN : _MARGIN + some.shape[2]] = some
        return made

    def reveal(self, phase: Phase, magnitudes: npt.NDArray[np.int32]) -> None:
        """Take the magnitudes [F, n] of a phase, which later phases may look at."""
        first, residue = divmod(phase.residue, _APART)
        step = phase.stride // _APART
        target = self.levels[phase.block, residue, :, _MARGIN + first :: step]
        target[:, : magnitudes.shape[1]] = _LEVELS[np.minimum(magnitudes, len(_LEVELS) - 1)]

    def neighbours(self, phase: Phase, stop: int, out: Array) -> Array:
        """Write the levels of a phase's neighbours to `out` [neighbours, F, n] and return it."""
        step = phase.stride // _APART
        reach = max(0, (phase.count(stop) - 1) * step + 1)
        for plane, (bins, blocks) in zip(out, phase.offsets, strict=False):
            first, residue = divmod(phase.residue + bins, _APART)
            begin = _MARGIN + first
            plane[:] = self.levels[phase.block + blocks, residue, :, begin : begin + reach : step]
        return out
