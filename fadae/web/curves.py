"""A run's metrics as the page draws them: one short list of points a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

CURVES = ("train_loss", "holdout_loss", "holdout_nmse_db", "pca_nmse_db")
MOST_POINTS = 500


def curves(metrics: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return (step, value) points of each metric that has any, thinned evenly to 500.

    The last point always stays: it is what the run has come to.

    >>> curves([{"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": float("nan")}])
    {'train_loss': [(1.0, 0.5)]}
    """
    drawn = {}
    for name in CURVES:
        points = [
            (float(line["step"]), float(line[name]))
            for line in metrics
            if _is_number(line.get("step")) and _is_number(line.get(name))
        ]
        if points:
            every = -(-len(points) // MOST_POINTS)
            drawn[name] = points[::-1][::every][::-1]
    return drawn


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
