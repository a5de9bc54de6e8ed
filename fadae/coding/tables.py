"""Entropy model `tables`, and what is counted to make or finish a model: sums over any sample.

Distributions by phase, frequency, density and neighbours, in closed form: one pass over a sample,
whose counts add up over any number of machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.coder import Chosen
from fadae.coding.entropy import (
    ALPHABET,
    ESCAPE,
    EntropyModel,
    ensure_shapes,
    to_frequencies,
)
from fadae.coding.symbols import (
    BANDWIDTHS,
    CENTROIDS,
    COUNTS,
    NEIGHBOURS,
    STEP,
    STEPS,
    Context,
    Phase,
    Side,
    phases,
    quantise,
)

Array = npt.NDArray[Any]

_FREQUENCY_EDGES = np.array([4, 9, 16, 28, 45, 70, 110, 170, 270, 430, 700])  # bins
_DENSITY_EDGES = np.array([-24, -16, -9])  # eighths of an octave of symbols a bin
_LEVEL_EDGES = np.array([1, 2, 3, 4, 5, 7, 9, 11, 14, 17, 20, 24, 28, 33, 38, 44, 50, 58, 68, 80])
_FREQUENCIES, _DENSITIES = len(_FREQUENCY_EDGES) + 1, len(_DENSITY_EDGES) + 1
_LEVELS = len(_LEVEL_EDGES) + 1
_DISTANCE = 1.7  # of the next block, in bins; see layout
_SMOOTHING = 30.0  # symbols' worth of the distribution over all frequencies and densities


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
        return np.asarray((grouped + _SMOOTHING * common).reshape(counts.shape))


def _weights(phase: Phase) -> npt.NDArray[np.float32]:
    """Return whole-number weights [neighbours], falling with distance."""
    offsets = np.array(phase.offsets[:NEIGHBOURS], dtype=np.float64).reshape(-1, 2)
    away = np.hypot(offsets[:, 0], _DISTANCE * offsets[:, 1])
    return np.rint(256 / (0.5 + away**2)).astype(np.float32)


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

    def arrays(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Return the sums, in the order of the fields: they add up over any parts of a sample."""
        return self.symbols, self.bandwidth, self.count, self.held, self.excess

    def add(self, model: EntropyModel, c: Array, step_index: npt.NDArray[np.uint8]) -> None:
        """Count rows of coefficients [F, size] at a step each [F]."""
        q = quantise(c, step_index)
        loud = q.any(axis=1)
        c, q, step_index = c[loud], q[loud], step_index[loud]
        scaled = (np.abs(c) / STEP[step_index][:, None] - np.abs(q)).astype(np.float32)
        for first in range(0, len(q), 16):
            rows = slice(first, first + 16)
            chosen = Chosen.of(model, q[rows])
            self._add(chosen, scaled[rows][:, chosen.order])
            np.add.at(self.bandwidth, chosen.side.bandwidth, 1)
            np.add.at(self.count, (chosen.side.bandwidth, chosen.side.count), 1)

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


# Step indices around a recording's own at which rows are counted: about 700 to 60 bytes a row.
OFFSETS = (-24, -12, 0, 12, 24)
_TYPICAL_DB = 18.0  # a recording's own step gives about this


def own_steps(c: Array) -> npt.NDArray[np.uint8]:
    """Return for each row of c [F, size] the step index at which it alone has about 18 dB."""
    most = np.sum(c.astype(np.float64) ** 2, axis=1) / 10 ** (_TYPICAL_DB / 10)
    low, high = np.full(len(c), -1), np.full(len(c), STEPS - 1)
    for _ in range(STEPS.bit_length() - 1):
        middle = (low + high) // 2
        steps = np.maximum(middle, 0).astype(np.uint8)
        coarse = np.abs(quantise(c, steps)) * STEP[steps][:, None]
        error = np.sum((np.abs(c) - coarse).astype(np.float64) ** 2, axis=1)
        over = (error > most) & (middle >= 0)
        high, low = np.where(over, middle, high), np.where(over, low, middle)
    return np.asarray(np.clip(high, 0, STEPS - 1), dtype=np.uint8)


def tables_of(statistics: Statistics, blocks: int) -> Tables:
    """Return the tables of counts, which may be the sum of many machines'."""
    tensors = Tables.empty(blocks).tensors()
    tensors |= {
        "distributions": to_frequencies(Tables.smoothed(statistics.symbols)),
        "centroids": statistics.centroids(),
        **statistics.side_tables(),
    }
    return Tables(tensors)


def statistics_of(model: EntropyModel, c: Array, step_index: npt.NDArray[np.uint8]) -> Statistics:
    """Return what is counted over rows [F, size] at steps around their own [F]."""
    statistics = Statistics.none(len(model.distributions))
    for offset in OFFSETS:
        steps = np.clip(step_index.astype(np.int64) + offset, 0, STEPS - 1)
        statistics.add(model, c, steps.astype(np.uint8))
    return statistics
