"""Makes entropy models from rows of music: which steps to count at, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.model import EntropyModel, to_frequencies
from fadae.coding.network import Network
from fadae.coding.quantise import STEP, STEPS, quantise
from fadae.coding.statistics import Statistics
from fadae.coding.tables import Tables

Array = npt.NDArray[Any]

# Step indices around a recording's own at which rows are counted: about 700 to 60 bytes a row.
OFFSETS = (-24, -12, 0, 12, 24)
_TYPICAL_DB = 18.0  # a recording's own step gives about this


def own_step(c: Array) -> int:
    """Return the step index at which rows c [F, size] of a recording have about 18 dB."""
    energy = float(np.sum(c.astype(np.float64) ** 2))
    low, high = -1, STEPS - 1
    while high - low > 1:
        middle = (low + high) // 2
        steps = np.full(len(c), middle, dtype=np.uint8)
        coarse = np.abs(quantise(c, steps)) * STEP[middle]
        error = float(np.sum((np.abs(c) - coarse).astype(np.float64) ** 2))
        if error * 10 ** (_TYPICAL_DB / 10) > energy:
            high = middle
        else:
            low = middle
    return high


def fit_tables(
    c: Array, step_index: npt.NDArray[np.uint8], blocks: int, offsets: tuple[int, ...] = OFFSETS
) -> Tables:
    """Return tables counted over rows [F, size], around a step a row [F]."""
    empty = Tables.empty(blocks)
    return tables_of(count(empty, c, step_index, offsets), blocks)


def tables_of(statistics: Statistics, blocks: int) -> Tables:
    """Return the tables of counts, which may be the sum of many machines'."""
    tensors = Tables.empty(blocks).tensors()
    tensors |= {
        "distributions": to_frequencies(Tables.smoothed(statistics.symbols)),
        "centroids": statistics.centroids(),
        **statistics.side_tables(),
    }
    return Tables(tensors)


def finish(network: Network, c: Array, step_index: npt.NDArray[np.uint8]) -> Network:
    """Return a trained network with centroids and side information counted over rows."""
    statistics = count(network, c, step_index)
    counted = {"centroids": statistics.centroids(), **statistics.side_tables()}
    return Network(network.tensors() | counted)


def count(
    model: EntropyModel,
    c: Array,
    step_index: npt.NDArray[np.uint8],
    offsets: tuple[int, ...] = OFFSETS,
) -> Statistics:
    """Return what is counted over rows [F, size] at steps around their own [F]."""
    statistics = Statistics.none(len(model.distributions))
    for offset in offsets:
        steps = np.clip(step_index.astype(np.int64) + offset, 0, STEPS - 1)
        statistics.add(model, c, steps.astype(np.uint8))
    return statistics
