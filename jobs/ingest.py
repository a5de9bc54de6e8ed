"""Ingest archive items: python jobs/ingest.py AOC11B -w s3://bucket/bach --scheduler tcp://..."""

import typer

from fadae.archive.items import ArchiveSource
from fadae.cli.options import (
    DEFAULT_ARCHIVE_URL,
    DEFAULT_ITEM,
    DEFAULT_WORKSPACE,
    ArchiveUrl,
    Items,
    Scheduler,
    Summary,
    Workers,
    Workspace,
)
from fadae.cli.reporting import reporting
from fadae.cluster import cluster_mapper
from fadae.ingest import ingest
from fadae.store.location import Location


def job(
    items: Items = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    archive_url: ArchiveUrl = DEFAULT_ARCHIVE_URL,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Fetch, decode and stage the recordings of archive items."""
    location = Location(workspace)
    source = ArchiveSource(tuple(items or [DEFAULT_ITEM]), url=archive_url)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return ingest(location, [source], mapper=mapper)


if __name__ == "__main__":
    typer.run(reporting(job))
