"""What the page tells of runs: a line each, and the curves of one."""

from __future__ import annotations

from typing import Any

from fadae.query import Workspace, curves
from fadae.training import pca_remark, run_summary


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
