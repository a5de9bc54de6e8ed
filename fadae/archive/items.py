"""Recordings of the Internet Archive: named items, and those that searches find."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fadae.archive.choice import choose, formats_of
from fadae.archive.client import ARCHIVE_URL, CONTACT, ArchiveClient
from fadae.archive.folder import FolderSource
from fadae.archive.rate_limit import DEFAULT_POLICY, RequestPolicy
from fadae.archive.source import Page, Slot, Source, plugged_in
from fadae.archive.text import clean_text, is_valid_name
from fadae.config import DEFAULT_ITEM, IngestConfig
from fadae.errors import (
    NoInputError,
    PermanentFailure,
    RecordingFailure,
    TransientError,
    UsageError,
)
from fadae.records import Failure, Track

PAGE_ITEMS = 100


def collection_query(collection: str) -> str:
    """Return the search that finds a collection's audio items.

    >>> collection_query("georgeblood")
    'collection:georgeblood AND mediatype:audio'
    """
    if not collection.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f"not a collection's identifier: {clean_text(collection)!r}")
    return f"collection:{collection} AND mediatype:audio"


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """Named items, then everything that the queries find; one file stands for each track."""

    items: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    """The archive's format names in order of preference; empty for the default order."""
    url: str = ARCHIVE_URL
    contact: str = CONTACT
    request_policy: RequestPolicy = DEFAULT_POLICY

    def selection(self) -> dict[str, Any]:
        """Return what is asked for: manners and contact change nothing about it."""
        values = asdict(self)
        del values["request_policy"], values["contact"]
        return {"source": "archive", **values}

    def pages(self, after: Page | None = None) -> Iterator[Page]:
        """Yield the items in pages of 100, then each query's results as the archive pages them.

        Raises NoInputError where nothing is asked for, UsageError for a query that the archive
        rejects, TransientError where it cannot be asked or lists fewer items than it announced.
        """
        if not self.items and not self.queries:
            raise NoInputError("no items and no search: name an item, e.g. AOC11B")
        if after is not None and after.is_last:
            return
        number = 0 if after is None else after.number + 1
        place: _Place | None = _Place(part=0 if self.items else 1)
        if after is not None:
            place = _Place.from_json(after.resume)
        while place is not None:
            entries, place = self._list(place)
            yield Page(number, entries, place.to_json() if place else "")
            number += 1

    def tracks(self, page: Page, slot: Slot | None = None) -> Iterator[Track | Failure]:
        """Yield the tracks of a page's items, one file each; a Failure for an item without any."""
        for item in page.entries:
            try:
                yield from self._tracks_of(item, slot)
            except RecordingFailure as error:
                yield Failure.of(clean_text(item), error, error.attempts)

    def fetch(self, track: Track, to: Path) -> None:
        """Write a track's bytes, verified by size and checksum, to a file.

        Raises TransientFailure or PermanentFailure.
        """
        self._client.download(track, to)

    @property
    def _client(self) -> ArchiveClient:
        return _client(self.url, self.contact, self.request_policy)

    def _list(self, place: _Place) -> tuple[tuple[str, ...], _Place | None]:
        """Return the entries at a place of the listing, and the place after them."""
        if place.part == 0:
            listed = place.listed + PAGE_ITEMS
            after = replace(place, listed=listed) if listed < len(self.items) else None
            entries = self.items[place.listed : listed]
        else:
            entries, after = self._search(place)
        if after is None and place.part < len(self.queries):
            after = _Place(part=place.part + 1)
        return entries, after

    def _search(self, place: _Place) -> tuple[tuple[str, ...], _Place | None]:
        query = self.queries[place.part - 1]
        try:
            answer = self._client.scrape(query, place.cursor, count=PAGE_ITEMS)
        except RecordingFailure as error:
            raise TransientError(f"{error}; run the same command again") from error
        found = (one.get("identifier") for one in answer["items"] if isinstance(one, dict))
        entries = tuple(item for item in found if isinstance(item, str))
        listed, cursor = place.listed + len(entries), answer.get("cursor")
        if isinstance(cursor, str) and cursor and entries:
            return entries, replace(place, cursor=cursor, listed=listed)
        total = answer.get("total", 0)
        if isinstance(total, int) and listed < total:
            raise TransientError(
                f"the archive listed {listed} of the {total} items it announced for "
                f"{clean_text(query)!r}; run the same command again"
            )
        return entries, None

    def _tracks_of(self, item: str, slot: Slot | None) -> Iterator[Track]:
        if not is_valid_name(item) or "/" in item:
            raise PermanentFailure("not an item's identifier")
        metadata = self._client.metadata(item, slot)
        tracks = choose(item, metadata, self.formats)
        if not tracks:
            there = ", ".join(formats_of(metadata)[:20]) or "no files"
            raise PermanentFailure(f"no public audio in the requested formats; available: {there}")
        for track in tracks:
            yield replace(track, url=self._client.file_url(item, track.file))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a listing goes on: in the named items (part 0) or in the part-th query's results."""

    part: int
    cursor: str = ""
    listed: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> _Place:
        return cls(**json.loads(text))


@functools.lru_cache(maxsize=8)
def _client(url: str, contact: str, request_policy: RequestPolicy) -> ArchiveClient:
    """One client a process: its connections, its pace and its blocks are shared by all tasks."""
    return ArchiveClient(url, contact, request_policy)


def sources_of(config: IngestConfig) -> list[Source]:
    """Return the sources that a job asks for; the default item where it asks for none.

    Raises UsageError for a folder or a plugged-in source that cannot be meant.
    """
    queries = [*map(collection_query, config.collection), *config.search]
    items = config.items
    if not (items or queries or config.folder or config.source):
        items = (DEFAULT_ITEM,)
    sources: list[Source] = [
        FolderSource(url, follow_links=config.follow_links) for url in config.folder
    ]
    sources += map(plugged_in, config.source)
    if items or queries:
        contact = config.contact or CONTACT
        archive = ArchiveSource(items, tuple(queries), config.formats, config.archive_url, contact)
        sources.insert(0, archive)
    return sources
