"""`fadae demo`: the whole job on the embedded archive."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fadae.cli.options import Summary, Workers
from fadae.cli.reporting import Shown, plain

To = Annotated[Path, typer.Option("--to", help="Folder to write to.")]


def demo(to: To = Path("demo"), workers: Workers = None) -> Summary:
    """Run the four stages on Bach from the embedded archive, with no network."""
    from fadae import demo as demonstration
    from fadae.cluster import cluster_mapper

    folder = to.absolute()
    with cluster_mapper(demonstration.demo_location(folder), None, workers) as mapper:
        summary = demonstration.demo(folder, mapper=mapper)
    serve = f"fadae serve -w {shlex.quote(str(to / 'workspace'))}"
    return Shown(summary, f"{plain(summary)}\n\nListen to it in a browser:\n{serve}")
