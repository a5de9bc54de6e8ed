"""The command about the runs of a workspace: `runs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, printable
from fadae.config import Job
from fadae.errors import NoInputError, TransientError, UsageError, unknown

if TYPE_CHECKING:
    from fadae.query import RunLine, Workspace

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs to show; default: all.")
]
Sort = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        help="held_out, trained, pca_gap, bytes, kbps, steps, size, date, model or run.",
    ),
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves on common axes, PNG.")
]

Track = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="Log what they lack to trackers: tensorboard, mlflow, wandb (offline).",
    ),
]


def runs(
    names: Names = None,
    workspace: str = picked(Job, "workspace"),
    sort: Sort = "held_out",
    plot: Plot = None,
    track: Track = None,
) -> Summary:
    """List training runs side by side: code, steps, errors in dB, size, date; draw their curves."""
    import fadae

    opened = fadae.open(workspace)
    table = opened.run_table(sort)
    known = [line.run for line in table]
    for name in names or ():
        if name not in known:
            raise unknown("run", name, known)
    lines = [line for line in table if not names or line.run in names]
    summary: Summary = {"sort": sort, "runs": [dataclasses.asdict(line) for line in lines]}
    chosen = [line.run for line in lines]
    if plot is not None:
        if not chosen:
            raise NoInputError(f"no run in {workspace} has curves to draw", summary)
        from fadae import figures

        png = figures.run_overlay(opened.curves(chosen))
        try:
            plot.write_bytes(png)
        except OSError as error:
            raise UsageError(f"cannot write {plot}: {error.strerror or error}", summary) from error
        summary = {**summary, "file": str(plot)}
    if track is not None:
        summary = {**summary, "tracked": _track(opened, lines, track.split(","), summary)}
    return Shown(summary, _text(lines) if lines else "no runs: `fadae train` makes one")


def _track(
    opened: Workspace, lines: Sequence[RunLine], names: Sequence[str], summary: Summary
) -> list[str]:
    """Log runs to trackers; return the names of these runs."""
    from fadae.tracking import TrackingError, export, open_trackers

    for line in lines:
        config, metrics = opened.config(line.run), opened.metrics(line.run)
        try:
            trackers = open_trackers(names, opened.location, line.run, config)
            export(trackers, metrics, done=line.state == "finished")
        except TrackingError as error:
            raise TransientError(f"run {line.run}: {error}", summary) from error
    return [line.run for line in lines]


def _text(lines: list[RunLine]) -> str:
    """Return the runs as a table; texts to the left, numbers to the right."""
    from fadae.query import HEADS

    cells = [[printable(getattr(line, name)) for name in HEADS] for line in lines]
    columns = [[head, *column] for head, *column in zip(HEADS.values(), *cells, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    texts = {name for name in HEADS if isinstance(getattr(lines[0], name), str)}
    aligned = [
        [cell.ljust(width) if name in texts else cell.rjust(width) for cell in column]
        for name, column, width in zip(HEADS, columns, widths, strict=True)
    ]
    return "\n".join("  ".join(row).rstrip() for row in zip(*aligned, strict=True))
