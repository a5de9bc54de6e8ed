"""Listing items, collections and searches: pages, order, what an empty or broken listing means."""

from __future__ import annotations

from pathlib import Path

import pytest

from fadae.archive.items import ArchiveSource, collection_query
from fadae.embedded.faults import Fault, Kind, Where
from fadae.embedded.items import HeldItem
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.records import Failure, FailureClass
from tests.archive.small import FAST, small_item, source_of, tracks_of


def test_named_items_come_first_then_what_each_query_finds() -> None:
    items = [HeldItem(f"item{number:03}", {"collection": ["all"]}) for number in range(150)]
    named = tuple(f"named{number}" for number in range(120))
    with EmbeddedArchive(items) as archive:
        source = source_of(archive, items=named, queries=("collection:all", "identifier:item007"))
        pages = list(source.pages())
        assert [len(page.entries) for page in pages] == [100, 20, 100, 50, 1]
        for index, page in enumerate(pages):
            assert list(source.pages(after=page)) == pages[index + 1 :]
    assert pages[-1].entries == ("item007",)


def test_fewer_items_than_announced_is_a_failure(archive: EmbeddedArchive) -> None:
    archive.mischief.add(Fault(Where.SEARCH, Kind.FEWER))
    with pytest.raises(TransientError, match="1 of the 2 items"):
        list(source_of(archive, queries=("collection:all",)).pages())


def test_a_listing_that_cannot_be_asked_for_is_transient(archive: EmbeddedArchive) -> None:
    source = ArchiveSource(queries=("x",), url=archive.closed_url, request_policy=FAST)
    with pytest.raises(TransientError, match="run the same command again"):
        list(source.pages())


def test_nothing_asked_for_is_no_input() -> None:
    with pytest.raises(NoInputError):
        list(ArchiveSource().pages())


def test_a_search_without_results_is_one_empty_page(archive: EmbeddedArchive) -> None:
    (page,) = source_of(archive, queries=("collection:none",)).pages()
    assert (page.entries, page.is_last) == ((), True)


def test_a_collection_is_a_search_for_its_audio(archive: EmbeddedArchive) -> None:
    assert len(tracks_of(source_of(archive, queries=(collection_query("all"),)))) == 2
    with pytest.raises(UsageError, match="identifier"):
        collection_query("all OR *:*")


def test_an_item_without_what_was_asked_for_says_what_it_has(archive: EmbeddedArchive) -> None:
    source = source_of(archive, items=("small",), formats=("Shorten",))
    (failure,) = (one for page in source.pages() for one in source.tracks(page))
    assert isinstance(failure, Failure)
    assert (failure.id, failure.failure_class) == ("small", FailureClass.PERMANENT)
    assert "available: Flac, Metadata, Ogg Vorbis, VBR MP3" in failure.reason


def test_one_bad_item_costs_no_other(tmp_path: Path) -> None:
    faults = [Fault(Where.METADATA, Kind.STATUS, match="two", times=100)]
    held = [small_item(tmp_path / name, name) for name in ("one", "two", "three")]
    with EmbeddedArchive(held, faults) as archive:
        source = source_of(archive, items=("one", "two", "gone", "three"))
        (page,) = source.pages()
        found = list(source.tracks(page))
    failures = [(one.id, str(one.failure_class)) for one in found if isinstance(one, Failure)]
    assert failures == [("two", "transient"), ("gone", "permanent")]
    assert len(found) == 6


def test_a_tracks_record_says_where_it_came_from(archive: EmbeddedArchive) -> None:
    second, first = tracks_of(source_of(archive))
    assert (
        first.url
        == f"{archive.url}/download/small/disc%201/a%20%231%3F%20%C3%BC%20%2541%20%26%20more.ogg"
    )
    assert (first.title, second.title) == ("A [31m title", "Bee")
    assert first.creator == "One; Two"
    assert first.licence == "https://creativecommons.org/publicdomain/zero/1.0/"
    assert first.size_bytes == 50_000
