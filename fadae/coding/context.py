"""What is known before a symbol is coded: its row's side information and its neighbours.

Everything here is whole numbers, so that encoder and decoder see the same on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.layout import REACH_BINS, Phase

Array = npt.NDArray[Any]

BANDWIDTHS = 96  # classes, 8 an octave: 8 bins to 30,000, those of 192 kHz
COUNTS = 48  # classes, 3 an octave: 0 symbols to 50,000 and more
_STOPS = np.ceil(8 * 2.0 ** (np.arange(BANDWIDTHS) / 8) - 1e-9).astype(np.int64)
_COUNT_EDGES = np.ceil(2.0 ** ((np.arange(1, COUNTS) - 0.5) / 3) - 1).astype(np.int64)

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
    """The magnitudes known so far of F rows, as levels 0 .. 127, zeros around."""

    def __init__(self, blocks: int, rows: int, bins: int) -> None:
        """Start with nothing known."""
        self.levels = np.zeros((blocks, rows, bins + 2 * REACH_BINS), dtype=np.uint8)

    @classmethod
    def of(cls, cells: npt.NDArray[np.int32]) -> Context:
        """Return the context in which all of a grid [blocks, F, bins] is known.

        Phases look at earlier ones only, so the encoder may fill in everything at once.
        """
        made = cls(*cells.shape)
        np.take(
            _LEVELS,
            np.minimum(np.abs(cells), len(_LEVELS) - 1),
            out=made.levels[:, :, REACH_BINS:-REACH_BINS],
        )
        return made

    def reveal(self, phase: Phase, magnitudes: npt.NDArray[np.int32]) -> None:
        """Take the magnitudes [F, n] of a phase, which later phases may look at."""
        first = REACH_BINS + phase.residue
        target = self.levels[phase.block, :, first :: phase.stride][:, : magnitudes.shape[1]]
        target[:] = _LEVELS[np.minimum(magnitudes, len(_LEVELS) - 1)]

    def neighbours(self, phase: Phase, stop: int, out: Array) -> Array:
        """Write the levels of a phase's neighbours to `out` [neighbours, F, n] and return it."""
        for plane, (bins, blocks) in zip(out, phase.offsets, strict=False):
            start = REACH_BINS + bins
            levels = self.levels[phase.block + blocks]
            plane[:] = levels[:, start + phase.residue : start + stop : phase.stride]
        return out
