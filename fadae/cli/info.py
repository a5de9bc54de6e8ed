"""`fadae info`: what a workspace holds, its failures, and how its runs went."""

from __future__ import annotations

from typing import Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Output, Summary, Workspace
from fadae.errors import UsageError

RunToShow = Annotated[
    str | None, typer.Option("--run", help="Show this run's curves; default: the first run's.")
]


def info(
    workspace: Workspace = DEFAULT_WORKSPACE, run: RunToShow = None, to: Output = None
) -> Summary:
    """Say what a workspace holds; plot a run's curves here and, with --to, as a PNG."""
    import fadae
    from fadae import figures

    opened = fadae.open(workspace)
    summary = opened.info()
    if run is None and opened.runs:
        run = "default" if "default" in opened.runs else opened.runs[0]
    if run is None:
        if to is not None:
            raise UsageError(f"no run in {workspace} has curves to draw", summary)
        return summary
    metrics = opened.metrics(run)
    names = {"train": "train_loss", "held out": "holdout_loss"}
    curves = {label: figures.curve(metrics, name) for label, name in names.items()}
    print(f"loss of run {run}\n{figures.terminal_plot(curves)}\n")
    if to is not None:
        try:
            to.write_bytes(figures.training_curves(metrics, f"run {run}"))
        except OSError as error:
            raise UsageError(f"cannot write {to}: {error.strerror or error}", summary) from error
        summary["file"] = str(to)
    return summary
