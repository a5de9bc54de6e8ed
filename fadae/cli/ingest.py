"""`fadae ingest`: recordings of the archive or of folders to staged PCM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.options import (
    DEFAULT_ARCHIVE_URL,
    DEFAULT_ITEM,
    DEFAULT_WORKSPACE,
    ArchiveUrl,
    Collection,
    Contact,
    Downloads,
    Folder,
    FollowLinks,
    Formats,
    Items,
    KeepSource,
    Limit,
    Refresh,
    Retry,
    SampleRate,
    Scheduler,
    Search,
    Summary,
    Workers,
    Workspace,
)

if TYPE_CHECKING:
    from fadae.archive.source import Source
    from fadae.ingest import Retry as WhichFailures

KeepDamaged = Annotated[
    bool, typer.Option("--keep-damaged", help="Keep a damaged recording up to the damage.")
]
MaxHours = Annotated[float, typer.Option(min=0, help="Longest recording, in hours.")]
MaxChannels = Annotated[int, typer.Option(min=1, help="Most channels of a recording.")]
MaxRate = Annotated[int, typer.Option(min=1, metavar="HZ", help="Highest rate of a recording.")]
MaxMegabytes = Annotated[int, typer.Option(min=1, help="Largest file, in 10^6 bytes.")]


def ingest(
    items: Items = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    collection: Collection = None,
    search: Search = None,
    folder: Folder = None,
    follow_links: FollowLinks = False,
    limit: Limit = None,
    formats: Formats = None,
    archive_url: ArchiveUrl = DEFAULT_ARCHIVE_URL,
    contact: Contact = "",
    downloads: Downloads = 4,
    keep_source: KeepSource = False,
    keep_damaged: KeepDamaged = False,
    retry: Retry = "transient",
    refresh: Refresh = False,
    sample_rate: SampleRate = 11025,
    max_hours: MaxHours = 4.0,
    max_channels: MaxChannels = 32,
    max_rate: MaxRate = 384_000,
    max_megabytes: MaxMegabytes = 4_000,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Fetch, decode and stage recordings."""
    from fadae import ingest as stage
    from fadae.audio.terms import Limits
    from fadae.cluster import cluster_mapper
    from fadae.store.location import Location

    location = Location(workspace)
    settings = stage.Settings(
        rate_hz=sample_rate, downloads=downloads, limit=limit, keep_source=keep_source,
        keep_damaged=keep_damaged, retry=chosen_retry(retry), refresh=refresh,
        limits=Limits(
            decoded_seconds=3600 * max_hours, channels=max_channels, source_rate_hz=max_rate,
            file_bytes=1_000_000 * max_megabytes,
        ),
    )  # fmt: skip
    sources = chosen_sources(
        items, collection, search, folder, formats, archive_url, contact, follow_links=follow_links
    )
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.ingest(location, sources, settings, mapper=mapper)


def chosen_retry(name: str) -> WhichFailures:
    """Return which failures a command line asks to try again; raises UsageError."""
    from fadae.errors import UsageError
    from fadae.ingest import Retry as WhichFailures

    try:
        return WhichFailures(name)
    except ValueError:
        names = ", ".join(WhichFailures)
        raise UsageError(f"--retry is one of {names}, not {name!r}") from None


def chosen_sources(
    items: list[str] | None,
    collections: list[str] | None,
    searches: list[str] | None,
    folders: list[str] | None,
    formats: list[str] | None,
    archive_url: str,
    contact: str,
    *,
    follow_links: bool = False,
) -> list[Source]:
    """Return the sources that a command line asks for; the default item where it asks for none."""
    from fadae.archive.client import CONTACT
    from fadae.archive.folder import FolderSource
    from fadae.archive.items import ArchiveSource, collection_query

    queries = [*map(collection_query, collections or []), *(searches or [])]
    if not (items or queries or folders):
        items = [DEFAULT_ITEM]
    sources: list[Source] = [FolderSource(url, follow_links=follow_links) for url in folders or []]
    if items or queries:
        archive = ArchiveSource(
            tuple(items or ()), tuple(queries), tuple(formats or ()), archive_url,
            contact or CONTACT,
        )  # fmt: skip
        sources.insert(0, archive)
    return sources
