"""`fadae report`: a static page of a run's sound, pictures and scores, in the workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Summary, WhichRun, Workspace

RecordingIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Recordings; default: a choice.")
]
Limit = Annotated[int, typer.Option(min=1, help="At most this many recordings.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="Seconds of each recording, from its start.")]


def report(
    recording_ids: RecordingIds = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: WhichRun = None,
    limit: Limit = 12,
    seconds: Seconds = 20.0,
) -> Summary:
    """Write reports/<run>/index.html with sound, pictures and scores, to open without a server."""
    import fadae
    from fadae import report as reporting

    opened = fadae.open(workspace)
    return reporting.report(
        opened, run, recordings=recording_ids or (), limit=limit, seconds=seconds
    )
