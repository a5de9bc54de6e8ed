"""The command that goes on: `watch`."""

from __future__ import annotations

import functools
import re
import signal
from typing import Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Summary
from fadae.cli.stages import served
from fadae.config import ExtractConfig, IngestConfig, Job, cluster_of
from fadae.errors import UsageError

Every = Annotated[str, typer.Option(metavar="TIME", help="Time between looks, as 30s, 5m or 1h.")]
UntilIdle = Annotated[
    bool, typer.Option("--until-idle", help="End when all is taken that is there.")
]
Run = Annotated[
    str | None, typer.Option("--run", help="Encode what is new with this run, as `reconstruct`.")
]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def watch(
    extract: ExtractConfig,
    folder: tuple[str, ...] = picked(IngestConfig, "folder"),
    follow_links: bool = picked(IngestConfig, "follow_links"),
    keep_source: bool = picked(IngestConfig, "keep_source"),
    keep_damaged: bool = picked(IngestConfig, "keep_damaged"),
    licence: str | None = picked(IngestConfig, "licence"),
    exclude: str | None = picked(IngestConfig, "exclude"),
    max_hours: float = picked(IngestConfig, "max_hours"),
    max_megabytes: int = picked(IngestConfig, "max_megabytes"),
    workspace: str = picked(Job, "workspace"),
    run: Run = None,
    every: Every = "30s",
    until_idle: UntilIdle = False,
    device: str = picked(Job, "device"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
    metrics_port: int | None = picked(Job, "metrics_port"),
    metrics_host: str = picked(Job, "metrics_host"),
) -> Summary:
    """Ingest, extract and, with --run, encode the files of a --folder as they come.

    SIGTERM and Ctrl-C end it, with 0, after the step that it is at.
    """
    from fadae.archive import FolderSource
    from fadae.cluster import cluster_mapper
    from fadae.stages.watch import Watch, WatchConfig
    from fadae.store import Location
    from fadae.training import stop_flag

    if len(folder) != 1:
        raise UsageError("watch takes one --folder; watch others with commands of their own")
    location = Location(workspace)
    location.ensure_writable()
    ingest = IngestConfig(
        keep_source=keep_source,
        keep_damaged=keep_damaged,
        licence=licence,
        exclude=exclude,
        max_hours=max_hours,
        max_megabytes=max_megabytes,
    )
    config = WatchConfig(
        FolderSource(folder[0], follow_links=follow_links),
        ingest.settings(extract.sample_rate),
        extract,
        run=run,
        device=device,
        every_seconds=seconds_of(every),
        until_idle=until_idle,
    )
    cluster = cluster_of(scheduler, scheduler_file)
    with (
        served(metrics_port, metrics_host, location, run),
        stop_flag(signal.SIGTERM, signal.SIGINT) as stopping,
    ):
        mapper = functools.partial(cluster_mapper, location, cluster, workers)
        return Watch(location, config, mapper, stopping).run()


def seconds_of(text: str) -> float:
    """Return the seconds of a time with its unit, at least one; raises UsageError.

    >>> seconds_of("30s"), seconds_of("1.5m"), seconds_of("45")
    (30.0, 90.0, 45.0)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 1 <= seconds <= 86_400:
        raise UsageError(f"--every takes a time from 1s to 24h, as 30s or 5m, not {text!r}")
    return seconds
