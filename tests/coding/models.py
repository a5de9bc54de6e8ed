"""Small entropy models and rows of music-like coefficients, made once a session."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.entropy import Network
from fadae.coding.tables import Statistics, Tables, statistics_of, tables_of

SIZE = 3750
Array = npt.NDArray[Any]


def rows(count: int, seed: int = 0, size: int = SIZE) -> npt.NDArray[np.float32]:
    """Return coefficients [count, size]: peaks over a falling spectrum, alike in all blocks."""
    rng = np.random.default_rng(seed)
    bins = size // 3
    envelope = 0.005 / (1 + np.arange(bins) / 30.0) ** 1.5
    peaks = np.exp(2.2 * rng.standard_normal((count, bins)))
    level = envelope * peaks * np.exp(rng.standard_normal((count, 1)))
    c = (level[:, :, None] * rng.laplace(size=(count, bins, 3))).astype(np.float32)
    return np.clip(c, -8, 8).reshape(count, size)


def steps(count: int, index: int = 110) -> npt.NDArray[np.uint8]:
    """Return the same step index for all rows, [count]."""
    return np.full(count, index, dtype=np.uint8)


@functools.cache
def tables() -> Tables:
    """Return tables counted over 60 rows."""
    return tables_of(statistics_of(Tables.empty(3), rows(60, seed=9), steps(60)), blocks=3)


@functools.cache
def network(seed: int = 0) -> Network:
    """Return a network of drawn weights, its side information and centroids counted."""
    from fadae.model.byte_codes import LearnedNetwork  # loads torch, which coding does without

    drawn = LearnedNetwork(blocks=3, seed=seed)
    statistics = Statistics.none(64)
    statistics.add(drawn.network(), rows(60, seed=9), steps(60))
    return drawn.network(statistics)
