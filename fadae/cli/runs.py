"""The command about the runs of a workspace: `runs`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, printable
from fadae.config import Job
from fadae.errors import NoInputError, UsageError, unknown

if TYPE_CHECKING:
    from fadae.query import RunLine

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


def runs(
    names: Names = None,
    workspace: str = picked(Job, "workspace"),
    sort: Sort = "held_out",
    plot: Plot = None,
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
    return Shown(summary, _text(lines) if lines else "no runs: `fadae train` makes one")


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
