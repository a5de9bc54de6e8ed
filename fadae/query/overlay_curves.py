"""The curves of runs: one metric over the steps, and those of several runs on common axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

CURVES = ("train_loss", "holdout_loss", "holdout_nmse_db", "pca_nmse_db")
MOST_POINTS = 500

Points = list[tuple[float, float]]


class Overlay(TypedDict):
    """Curves of several runs, and the axes that all of them fit into.

    `axes`: the least and the greatest of `step` and of every metric that a run has.
    """

    axes: dict[str, tuple[float, float]]
    curves: dict[str, dict[str, Points]]


def curve(metrics: Sequence[Mapping[str, object]], name: str) -> tuple[list[float], list[float]]:
    """Return (steps, values) of one metric, only lines that hold a finite number of it.

    >>> curve([{"step": 1, "train_loss": 0.5}, {"step": 2}, {"step": 3, "train_loss": None}],
    ...       "train_loss")
    ([1.0], [0.5])
    """
    found = ((line.get("step"), line.get(name)) for line in metrics)
    pairs = [
        (float(step), float(value))
        for step, value in found
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value)
    ]
    return [step for step, _ in pairs], [value for _, value in pairs]


def curves(metrics: Sequence[Mapping[str, object]]) -> dict[str, Points]:
    """Return (step, value) points of each metric that has any, thinned evenly to 500.

    The last point always stays: it is what the run has come to.

    >>> curves([{"step": 1, "train_loss": 0.5}, {"step": 2, "train_loss": float("nan")}])
    {'train_loss': [(1.0, 0.5)]}
    """
    drawn = {}
    for name in CURVES:
        points = list(zip(*curve(metrics, name), strict=True))
        if points:
            every = -(-len(points) // MOST_POINTS)
            drawn[name] = points[::-1][::every][::-1]
    return drawn


def overlay(runs: dict[str, dict[str, Points]]) -> Overlay:
    """Return the curves of some runs with their common axes.

    >>> overlay({"a": {"train_loss": [(1.0, 0.5)]}, "b": {"train_loss": [(9.0, 0.25)]}})["axes"]
    {'step': (1.0, 9.0), 'train_loss': (0.25, 0.5)}
    """
    axes: dict[str, tuple[float, float]] = {}
    for drawn in runs.values():
        for name, points in drawn.items():
            _widen(axes, "step", [step for step, _ in points])
            _widen(axes, name, [value for _, value in points])
    return {"axes": axes, "curves": runs}


def _widen(axes: dict[str, tuple[float, float]], name: str, values: Sequence[float]) -> None:
    known = (*axes.get(name, ()), *values)
    axes[name] = min(known), max(known)
