"""What is counted to make or finish an entropy model: sums that add up over any sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.coder import Chosen
from fadae.coding.context import BANDWIDTHS, COUNTS, Side
from fadae.coding.layout import grid
from fadae.coding.model import ALPHABET, ESCAPE, EntropyModel, to_frequencies
from fadae.coding.quantise import CENTROIDS, STEP, quantise

Array = npt.NDArray[Any]

_PRIOR = 20.0  # symbols' worth of the centroid over all distributions


@dataclass
class Statistics:
    """Counts: of symbols [D, ALPHABET], of side information, and sums for the centroids."""

    symbols: npt.NDArray[np.float64]
    bandwidth: npt.NDArray[np.float64]
    count: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]

    @classmethod
    def none(cls, distributions: int) -> Statistics:
        """Return the counts of nothing."""
        return cls(
            np.zeros((distributions, ALPHABET)),
            np.zeros(BANDWIDTHS),
            np.zeros((BANDWIDTHS, COUNTS)),
            np.zeros((distributions, CENTROIDS)),
            np.zeros((distributions, CENTROIDS)),
        )

    def add(self, model: EntropyModel, c: Array, step_index: npt.NDArray[np.uint8]) -> None:
        """Count rows of coefficients [F, size] at a step each [F]."""
        q = quantise(c, step_index)
        loud = q.any(axis=1)
        c, q, step_index = c[loud], q[loud], step_index[loud]
        scaled = (np.abs(c) / STEP[step_index][:, None] - np.abs(q)).astype(np.float32)
        for first in range(0, len(q), 16):
            rows = slice(first, first + 16)
            cells = grid(q[rows], model.blocks)
            side = Side.of(cells)
            chosen = Chosen(model, cells, side)
            excess = grid(scaled[rows].view(np.int32), model.blocks).view(np.float32)
            self._add(chosen, chosen.in_order(model, excess))
            np.add.at(self.bandwidth, side.bandwidth, 1)
            np.add.at(self.count, (side.bandwidth, side.count), 1)

    def _add(self, chosen: Chosen, excess: Array) -> None:
        magnitudes = np.abs(chosen.values[chosen.coded])
        index = chosen.index[chosen.coded].astype(np.int64)
        size = self.symbols.shape
        at = index * ALPHABET + np.minimum(magnitudes, ESCAPE)
        self.symbols += np.bincount(at, minlength=self.symbols.size).reshape(size)
        held = magnitudes > 0
        at = index[held] * CENTROIDS + np.minimum(magnitudes[held], CENTROIDS) - 1
        weights = excess[chosen.coded][held]
        self.held += np.bincount(at, minlength=self.held.size).reshape(self.held.shape)
        self.excess += np.bincount(at, weights, minlength=self.held.size).reshape(self.held.shape)

    def side_tables(self) -> dict[str, Array]:
        """Return the frequencies of `bandwidth` and `count`, smoothed over neighbouring classes."""
        bandwidth = _smooth(self.bandwidth) + 0.05
        near = self.count + 0.01
        for shift in (-3, -2, -1, 1, 2, 3):
            near += 0.5 ** abs(shift) * np.roll(self.count, shift, axis=0)
        return {
            "bandwidth": to_frequencies(bandwidth),
            "count": to_frequencies(_smooth(near) + 0.02),
        }

    def centroids(self) -> npt.NDArray[np.int16]:
        """Return the centroids [D, CENTROIDS] in 1/1024 of a step."""
        common = self.excess.sum(axis=0) / np.maximum(self.held.sum(axis=0), 1)
        mean = (self.excess + _PRIOR * common) / (self.held + _PRIOR)
        return np.asarray(np.rint(mean * 1024), dtype=np.int16)


def _smooth(counts: Array) -> Array:
    padded = np.pad(counts, [(0, 0)] * (counts.ndim - 1) + [(1, 1)])
    return np.asarray(0.5 * counts + 0.25 * padded[..., :-2] + 0.25 * padded[..., 2:])
