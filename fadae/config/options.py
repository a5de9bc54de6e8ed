"""The options that several commands share, each spelled once.

A command takes them as `workspace: Workspace = DEFAULT_WORKSPACE`, `scheduler: Scheduler = None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_WORKSPACE = "./workspace"
DEFAULT_ITEM = "AOC11B"
DEFAULT_ARCHIVE_URL = "https://archive.org"

Workspace = Annotated[
    str,
    typer.Option("--workspace", "-w", envvar="FADAE_WORKSPACE", help="Folder or URL of the job."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        envvar="DASK_SCHEDULER_ADDRESS", help="Dask scheduler; without one, a cluster here."
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Workers of the cluster here; default one a core.")
]

Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ITEM",
        envvar="FADAE_ITEMS",  # for batch: separated by spaces, as in k8s/overlays/*/settings.yaml
        help=f"Internet Archive items; default {DEFAULT_ITEM}.",
    ),
]
Collection = Annotated[
    list[str] | None,
    typer.Option(envvar="FADAE_COLLECTIONS", help="All audio items of a collection; repeatable."),
]
Search = Annotated[list[str] | None, typer.Option(help="All items a query finds; repeatable.")]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="FADAE_LIMIT",
        help="At most this many usable recordings, in the order of the listing.",
    ),
]
Folder = Annotated[
    list[str] | None, typer.Option(help="Audio files below a folder or bucket; repeatable.")
]
FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow symbolic links that lead out of a --folder."),
]
ArchiveUrl = Annotated[str, typer.Option(envvar="FADAE_ARCHIVE_URL", help="The archive to ask.")]
Contact = Annotated[
    str,
    typer.Option(envvar="FADAE_CONTACT", help="Who the archive may write to: a URL or an address."),
]
Formats = Annotated[
    list[str] | None,
    typer.Option("--format", help="Encodings in order of preference; repeatable."),
]
Downloads = Annotated[
    int, typer.Option(min=1, envvar="FADAE_DOWNLOADS", help="Transfers at a time, cluster-wide.")
]
PluggedIn = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="NAME:ADDRESS",
        help="A source of another installed package; may be repeated.",
    ),
]
KeepSource = Annotated[bool, typer.Option("--keep-source", help="Keep the original files too.")]
Retry = Annotated[
    str, typer.Option(help="Failed recordings to try again: transient, permanent, all, none.")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="List the selection again.")]

Preset = Annotated[
    str,
    typer.Option(
        help="Transform: seed keeps 297-3066 Hz, as the 2017 experiment did, often less than "
        "half of the music's energy; full keeps everything from 0 Hz to half the sample rate."
    ),
]
SampleRate = Annotated[
    int,
    typer.Option(
        "--sample-rate",
        metavar="HZ",
        help="Others than 11025 need --preset full.",
    ),
]
Dtype = Annotated[str, typer.Option(help="Type of the stored features: float16 or float32.")]

Run = Annotated[str, typer.Option(envvar="FADAE_RUN", help="Name of the training run.")]
WhichRun = Annotated[
    str | None,
    typer.Option(
        "--run",
        envvar="FADAE_RUN",
        help="Training run. Default: the only one; of several the best on held-out frames.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or one GPU as cuda:1.")]
Output = Annotated[Path | None, typer.Option("--to", help="File to write.")]

Summary = Mapping[str, Any]
