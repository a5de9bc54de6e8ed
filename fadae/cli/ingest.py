"""`fadae ingest`: recordings of the archive or of folders to staged PCM."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

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
    PluggedIn,
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
    from fadae.ingest import Settings

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
    source: PluggedIn = None,
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
    options = dict(locals())
    from fadae import ingest as stage
    from fadae.cluster import cluster_mapper
    from fadae.store.location import Location

    location, settings = Location(workspace), chosen_settings(options)
    sources = chosen_sources(
        items,
        collection,
        search,
        folder,
        source,
        formats,
        archive_url,
        contact,
        follow_links=follow_links,
    )
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.ingest(location, sources, settings, mapper=mapper)


def chosen_settings(options: Mapping[str, Any]) -> Settings:
    """Return what the options of a command line ask of an ingest; raises UsageError.

    Options are passed on by their names; those named or measured otherwise are translated.
    """
    from fadae.audio.terms import Limits
    from fadae.ingest import Settings

    names = {field.name for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in options.items() if name in names}
    given |= {
        "rate_hz": options["sample_rate"],
        "retry": chosen_retry(options["retry"]),
        "limits": Limits(
            decoded_seconds=3600 * options["max_hours"],
            channels=options["max_channels"],
            source_rate_hz=options["max_rate"],
            file_bytes=1_000_000 * options["max_megabytes"],
        ),
    }
    return Settings(**given)


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
    others: list[str] | None,
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
    from fadae.archive.source import plugged_in

    queries = [*map(collection_query, collections or []), *(searches or [])]
    if not (items or queries or folders or others):
        items = [DEFAULT_ITEM]
    sources: list[Source] = [FolderSource(url, follow_links=follow_links) for url in folders or []]
    sources += map(plugged_in, others or [])
    if items or queries:
        archive = ArchiveSource(
            tuple(items or ()), tuple(queries), tuple(formats or ()), archive_url,
            contact or CONTACT,
        )  # fmt: skip
        sources.insert(0, archive)
    return sources
