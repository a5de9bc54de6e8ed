"""Makes entropy models from music: what to count, and with which steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.coder import ByteCoder
from fadae.coding.model import to_frequencies
from fadae.coding.statistics import Statistics
from fadae.coding.tables import Tables

Array = npt.NDArray[Any]

# Step indices around a recording's own at which rows are counted: about 700 to 60 bytes a row.
OFFSETS = (-24, -12, 0, 12, 24)
_ROUNDS = 2  # of counting: the first without, the second with refined magnitudes


def fit_tables(
    c: Array, step_index: npt.NDArray[np.uint8], blocks: int, offsets: tuple[int, ...] = OFFSETS
) -> Tables:
    """Return tables counted over rows [F, size], around a step a row [F]."""
    statistics = Statistics.none(len(Tables.empty(blocks).distributions))
    count(statistics, Tables.empty(blocks), c, step_index, offsets)
    return tables_of(statistics, blocks)


def tables_of(statistics: Statistics, blocks: int) -> Tables:
    """Return the tables of counts, which may be the sum of many machines'."""
    tensors = Tables.empty(blocks).tensors()
    tensors |= {
        "distributions": to_frequencies(Tables.smoothed(statistics.symbols)),
        "centroids": statistics.centroids(),
        **statistics.side_tables(),
    }
    return Tables(tensors)


def count(
    statistics: Statistics,
    model: Any,
    c: Array,
    step_index: npt.NDArray[np.uint8],
    offsets: tuple[int, ...] = OFFSETS,
    coder: ByteCoder | None = None,
) -> None:
    """Count rows [F, size] at steps around their own [F]."""
    for offset in offsets:
        steps = np.clip(step_index.astype(np.int64) + offset, 0, 255).astype(np.uint8)
        statistics.add(model, c, steps)
