"""Entropy model `tables`: distributions counted by phase, frequency, density and neighbours.

Closed form: one pass over a sample, whose counts add up over any number of machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.context import BANDWIDTHS, COUNTS, Context, Side
from fadae.coding.layout import NEIGHBOURS, Phase, phases
from fadae.coding.model import ALPHABET, ensure_shapes, to_frequencies
from fadae.coding.quantise import CENTROIDS

Array = npt.NDArray[Any]

_FREQUENCY_EDGES = np.array([4, 9, 16, 28, 45, 70, 110, 170, 270, 430, 700])  # bins
_DENSITY_EDGES = np.array([-24, -16, -9])  # eighths of an octave of symbols a bin
_LEVEL_EDGES = np.array([1, 2, 3, 4, 5, 7, 9, 11, 14, 17, 20, 24, 28, 33, 38, 44, 50, 58, 68, 80])
_FREQUENCIES, _DENSITIES = len(_FREQUENCY_EDGES) + 1, len(_DENSITY_EDGES) + 1
_LEVELS = len(_LEVEL_EDGES) + 1
_DISTANCE = 1.7  # of the next block, in bins; see layout
_PRIOR = 30.0  # symbols' worth of the distribution over all frequencies and densities


class Tables:
    """Context tables; their arrays are those of `tensors()`."""

    name = "tables"

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        """Take the arrays; raises ValueError where they do not fit."""
        self._tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        ensure_shapes(self._tensors)
        self.blocks = int(self._tensors["blocks"][0])
        self.distributions = self._tensors["distributions"]
        self.centroids = self._tensors["centroids"]
        self.bandwidth = self._tensors["bandwidth"]
        self.count = self._tensors["count"]
        self._weights = [_weights(phase) for phase in phases(self.blocks)]
        expected = len(self._weights) * _FREQUENCIES * _DENSITIES * _LEVELS
        if len(self.distributions) != expected:
            raise ValueError(f"{len(self.distributions)} distributions, not {expected}")

    @classmethod
    def empty(cls, blocks: int) -> Tables:
        """Return tables that know nothing yet, to be counted with."""
        size = len(phases(blocks)) * _FREQUENCIES * _DENSITIES * _LEVELS
        flat = to_frequencies(np.ones(ALPHABET))
        return cls(
            {
                "blocks": np.array([blocks], dtype=np.int32),
                "distributions": np.tile(flat, (size, 1)),
                "centroids": np.zeros((size, CENTROIDS), dtype=np.int16),
                "bandwidth": to_frequencies(np.ones(BANDWIDTHS)),
                "count": to_frequencies(np.ones((BANDWIDTHS, COUNTS))),
            }
        )

    def tensors(self) -> dict[str, Array]:
        """Return all that defines the model, by name."""
        return dict(self._tensors)

    def choose(
        self, phase: int, known: Phase, context: Context, side: Side, stop: int
    ) -> npt.NDArray[np.uint16]:
        """Return [F, n]: the distribution of each of a phase's symbols below bin `stop`."""
        rows, n = len(side.bandwidth), known.count(stop)
        weights = self._weights[phase]
        levels = np.zeros((len(weights), rows, n), dtype=np.float32)
        context.neighbours(known, stop, levels)
        sums = (weights @ levels.reshape(len(weights), rows * n)).reshape(rows, n)
        mean = sums.astype(np.int32) // max(1, int(weights.sum()))
        bins = np.arange(known.residue, stop, known.stride)
        frequency = np.searchsorted(_FREQUENCY_EDGES, bins * self.blocks // 3, side="right")
        # Both classes in eighths of an octave: their difference is the symbols a bin.
        density = side.count.astype(np.int32) * 8 // 3 - side.bandwidth.astype(np.int32) - 24
        dense = np.searchsorted(_DENSITY_EDGES, density, side="right")
        index = (phase * _FREQUENCIES + frequency[None, :]) * _DENSITIES + dense[:, None]
        index = index * _LEVELS + np.searchsorted(_LEVEL_EDGES, mean, side="right")
        return index.astype(np.uint16)

    @staticmethod
    def smoothed(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return counts [D, n] with some of what all frequencies and densities have in common."""
        grouped = counts.reshape(-1, _FREQUENCIES * _DENSITIES, _LEVELS, counts.shape[1])
        common = grouped.sum(axis=1, keepdims=True) + 0.02
        common /= common.sum(axis=-1, keepdims=True)
        return np.asarray((grouped + _PRIOR * common).reshape(counts.shape))


def _weights(phase: Phase) -> npt.NDArray[np.float32]:
    """Return whole-number weights [neighbours], falling with distance."""
    offsets = np.array(phase.offsets[:NEIGHBOURS], dtype=np.float64).reshape(-1, 2)
    away = np.hypot(offsets[:, 0], _DISTANCE * offsets[:, 1])
    return np.rint(256 / (0.5 + away**2)).astype(np.float32)
