"""The commands that hand a workspace on: `export` and `cite`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Summary
from fadae.config import Job, cluster_of

Target = Annotated[
    str, typer.Option("--to", metavar="FOLDER|URL", help="Where to write: empty, or begun before.")
]
Format = Annotated[
    str, typer.Option(help="webdataset (tar), parquet (needs fadae[export]), or audiofolder.")
]
What = Annotated[
    str,
    typer.Option(metavar="KIND,...", help="codes, features, audio, metadata; separated by commas."),
]
Split = Annotated[
    str | None, typer.Option(metavar="SIDE", help="train, holdout or unseen only; default all.")
]
Licence = Annotated[
    str | None,
    typer.Option(metavar="POLICY", help="Only recordings of these licences: see ingest."),
]
PieceSeconds = Annotated[
    float, typer.Option("--seconds", min=0.1, max=600, help="Length of a piece of a recording.")
]
ShardMb = Annotated[int, typer.Option(min=1, help="About what a shard holds, in MB.")]
Style = Annotated[str, typer.Option(help="bibtex or cff.")]


def export(
    to: Target,
    format: Format = "webdataset",
    what: What = "audio,metadata",
    split: Split = None,
    licence: Licence = None,
    seconds: PieceSeconds = 30.0,
    shard_mb: ShardMb = 256,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Write recordings as shards that others load, with a data card and how to cite them."""
    from fadae import export as exports
    from fadae.cluster import cluster_mapper
    from fadae.store import Location

    request = exports.Request(
        format=format,
        what=_parts(what),
        split=split,
        licence=licence,
        run=run,
        seconds=seconds,
        shard_mb=shard_mb,
    )
    location, target = Location(workspace), Location(to)
    cluster = cluster_of(scheduler, scheduler_file)
    target.ensure_shared(cluster)
    with cluster_mapper(location, cluster, workers) as mapper:
        return exports.export(location, target, request, mapper=mapper)


def cite(workspace: str = picked(Job, "workspace"), style: Style = "bibtex") -> None:
    """Print how to cite what a workspace's recordings were made of, with their licences."""
    from fadae import export as exports

    for part in exports.citation_of(workspace, style):
        sys.stdout.write(part)


def _parts(text: str) -> tuple[str, ...]:
    """Return the parts of a text between commas, each once."""
    parts = (part.strip() for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
