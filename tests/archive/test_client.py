"""Metadata and search: what the archive says, and what it says when it is not well."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae.archive import rate_limit
from fadae.archive.client import ArchiveClient
from fadae.embedded.faults import ALWAYS, Fault, Kind, Where
from fadae.embedded.items import HeldItem
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import PermanentFailure, TransientFailure, UsageError
from tests.archive.small import FAST, HASTY, small_item
from tests.clock import Clock

METADATA, SEARCH = Where.METADATA, Where.SEARCH


@pytest.fixture
def client(archive: EmbeddedArchive) -> ArchiveClient:
    return ArchiveClient(archive.url, request_policy=FAST)


def test_metadata_arrives_in_gzip_and_chunks(
    archive: EmbeddedArchive, client: ArchiveClient
) -> None:
    answer = client.metadata("small")
    assert answer["metadata"]["title"] == "Small"
    assert archive.requests[0].encoding == "gzip"


def test_items_that_cannot_be_had_say_why(tmp_path: Path) -> None:
    restricted = {"access-restricted-item": "true"}
    items = [HeldItem("dark", is_dark=True), HeldItem("lent", restricted)]
    with EmbeddedArchive(items) as archive:
        client = ArchiveClient(archive.url, request_policy=FAST)
        for item, reason in (("dark", "dark"), ("lent", "restricted"), ("none", "no such item")):
            with pytest.raises(PermanentFailure, match=reason):
                client.metadata(item)
    assert archive.count()[METADATA] == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(METADATA, Kind.STATUS, status=503, times=2),
        Fault(METADATA, Kind.STATUS, status=429, retry_after="0"),
        Fault(METADATA, Kind.NOT_JSON),
        Fault(METADATA, Kind.ERROR, status=200),
        Fault(METADATA, Kind.STALL_HEADERS),
    ],
    ids=["503 twice", "429", "no JSON", "an error in JSON", "stall"],
)
def test_what_passes_is_outlived(archive: EmbeddedArchive, fault: Fault) -> None:
    policy = HASTY if fault.kind is Kind.STALL_HEADERS else FAST
    client = ArchiveClient(archive.url, request_policy=policy)
    archive.mischief.add(fault)
    assert client.metadata("small")["files"]
    assert archive.count()[METADATA] == 1 + fault.times


def test_404_is_a_missing_item(archive: EmbeddedArchive, client: ArchiveClient) -> None:
    archive.mischief.add(Fault(METADATA, Kind.STATUS, status=404))
    with pytest.raises(PermanentFailure, match="404"):
        client.metadata("small")


def test_an_answer_is_bounded_after_gunzip(archive: EmbeddedArchive, client: ArchiveClient) -> None:
    archive.mischief.add(Fault(METADATA, Kind.BOMB, size_bytes=2**22, times=ALWAYS))
    with pytest.raises(PermanentFailure, match="longer answer"):
        client.metadata("small")


def test_requests_keep_their_pace(
    archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, rate_limit)
    client = ArchiveClient(
        archive.url, request_policy=dataclasses.replace(FAST, metadata_pause_seconds=0.2)
    )
    for _ in range(3):
        client.metadata("small")
    pauses = [seconds for seconds in clock.naps if seconds]
    assert pauses == pytest.approx([0.2, 0.2])  # none before the first


def test_every_request_takes_its_turn(archive: EmbeddedArchive, client: ArchiveClient) -> None:
    turns: list[str] = []

    @contextlib.contextmanager
    def slot() -> Iterator[None]:
        turns.append("taken")
        try:
            yield
        finally:
            turns.append(f"given back after {archive.count()[METADATA]}")

    archive.mischief.add(Fault(METADATA, Kind.STATUS))
    assert client.metadata("small", slot)["files"]
    # Held over one request, and given back before the next one, also where it failed.
    assert turns == ["taken", "given back after 1", "taken", "given back after 2"]
    turns.clear()
    archive.mischief.add(Fault(METADATA, Kind.STATUS, status=404))
    with pytest.raises(PermanentFailure):
        client.metadata("small", slot)
    assert turns == ["taken", "given back after 3"]


def test_a_name_cannot_leave_its_place(archive: EmbeddedArchive, client: ArchiveClient) -> None:
    for name in ("../secrets", "a/../../b", "ü #?%41"):
        with pytest.raises(PermanentFailure, match="no such item"):
            client.metadata(name)
    assert [request.name for request in archive.requests] == ["../secrets", "a/../../b", "ü #?%41"]


def test_a_contact_can_be_given_and_cannot_inject(archive: EmbeddedArchive) -> None:
    ArchiveClient(archive.url, "me@example.org\r\nX-Evil: 1", FAST).metadata("small")
    agent = archive.requests[0].user_agent
    assert agent.startswith("fadae/")
    assert agent.endswith("(+me@example.org X-Evil: 1)")


@pytest.mark.parametrize("url", ["", "archive.org", "ftp://archive.org", "http://"])
def test_an_archives_url_is_checked(url: str) -> None:
    with pytest.raises(UsageError, match="not an archive's URL"):
        ArchiveClient(url)


def test_nobody_there_is_transient(archive: EmbeddedArchive) -> None:
    client = ArchiveClient(
        archive.closed_url, request_policy=dataclasses.replace(FAST, block_seconds=0.1)
    )
    with pytest.raises(TransientFailure, match="refuses connections") as told:
        client.metadata("small")
    assert told.value.attempts == FAST.refusals


def test_search_pages_by_cursor(tmp_path: Path) -> None:
    items = [HeldItem(f"item{number:03}", {"collection": ["all"]}) for number in range(250)]
    with EmbeddedArchive(items) as archive:
        client = ArchiveClient(archive.url, request_policy=FAST)
        first = client.scrape("collection:all")
        second = client.scrape("collection:all", first["cursor"])
        last = client.scrape("collection:all", second["cursor"])
    assert [len(page["items"]) for page in (first, second, last)] == [100, 100, 50]
    assert first["total"] == 250
    assert "cursor" not in last


def test_a_query_the_archive_rejects_is_the_users_error(client: ArchiveClient) -> None:
    with pytest.raises(UsageError, match="unbalanced"):
        client.scrape('title:"open')


def test_search_errors_with_status_200_are_tried_again(
    archive: EmbeddedArchive, client: ArchiveClient
) -> None:
    archive.mischief.add(Fault(SEARCH, Kind.ERROR, status=200))
    assert client.scrape("collection:all")["total"] == 1
    archive.mischief.add(Fault(SEARCH, Kind.ERROR, status=200, times=ALWAYS))
    with pytest.raises(TransientFailure, match="something went wrong"):
        client.scrape("collection:all")


def test_one_client_serves_many_items(tmp_path: Path) -> None:
    items = [small_item(tmp_path / name, name) for name in ("one", "two")]
    with EmbeddedArchive(items) as archive:
        client = ArchiveClient(archive.url, request_policy=FAST)
        assert [client.metadata(name)["metadata"]["identifier"] for name in ("one", "two")] == [
            "one",
            "two",
        ]
