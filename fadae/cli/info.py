"""`fadae info`: what a workspace holds, its failures, and how its runs went."""

from __future__ import annotations

from typing import Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Output, Summary, Workspace
from fadae.cli.reporting import Shown, plain
from fadae.errors import UsageError

RunToShow = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="Run whose curves to show. Default: the only one; of several the best on held-out "
        "frames.",
    ),
]


def info(
    workspace: Workspace = DEFAULT_WORKSPACE, run: RunToShow = None, to: Output = None
) -> Summary:
    """Say what a workspace holds; plot a run's curves here and, with --to, as a PNG."""
    import fadae
    from fadae import figures
    from fadae.training.runs import chosen_run, pca_remark, run_summary

    opened = fadae.open(workspace)
    summary = opened.info()
    if run is None and opened.runs:
        run = chosen_run(opened.location, opened.runs)
    if run is None:
        if to is not None:
            raise UsageError(f"no run in {workspace} has curves to draw", summary)
        return summary
    metrics = opened.metrics(run)
    names = {"train": "train_loss", "held out": "holdout_loss"}
    curves = {label: figures.curve(metrics, name) for label, name in names.items()}
    if to is not None:
        try:
            to.write_bytes(figures.training_curves(metrics, f"run {run}"))
        except OSError as error:
            raise UsageError(f"cannot write {to}: {error.strerror or error}", summary) from error
        summary["file"] = str(to)
    remark = pca_remark(run_summary(opened.location, run))
    parts = [f"loss of run {run}\n{figures.terminal_plot(curves)}", remark, plain(summary)]
    return Shown(summary, "\n\n".join(part for part in parts if part))
