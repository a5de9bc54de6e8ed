"""What the page tells of runs: a line each, and the curves of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fadae.query import Workspace
from fadae.training import pca_remark, run_summary

CURVES = ("train_loss", "holdout_loss", "holdout_nmse_db", "pca_nmse_db")
MOST_POINTS = 500


def run_line(workspace: Workspace, run: str, trained: bool) -> dict[str, Any]:
    """Return what a list of runs says of one: what its code takes, and what it has come to."""
    size, summary = workspace.code_size(run), run_summary(workspace.location, run)
    return {
        "name": run,
        "trained": trained,
        "reconstructed": run in workspace.reconstructions,
        "code": str(size or ""),
        "bytes_a_row": size and size.bytes_a_row,
        "kbps": size and size.kbps,
        "model": summary.model,
        "steps": summary.steps,
        "holdout_nmse_db": summary.holdout_nmse_db,
        "pca_nmse_db": summary.pca_nmse_db,
        "model_sha256": summary.model_sha256,
    }


def run_curves(workspace: Workspace, run: str) -> dict[str, Any]:
    """Return a run's settings, its metrics over the steps, and what it has come to.

    `means`: scores pooled over all frames held out, and over all trained on; `remark`: a line
    where PCA does better.
    """
    return {
        "run": run,
        "config": workspace.config(run),
        "curves": curves(workspace.metrics(run)),
        "means": workspace.pooled_scores(run) if run in workspace.reconstructions else {},
        "remark": pca_remark(run_summary(workspace.location, run)),
    }


def curves(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
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
