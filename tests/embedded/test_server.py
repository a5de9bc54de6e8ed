"""The embedded archive against a plain HTTP client: it must do what archive.org does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import urllib3

from fadae.embedded.faults import Fault, Kind, Where
from fadae.embedded.items import HeldItem
from fadae.embedded.server import EmbeddedArchive
from tests.archive.gates import Gate
from tests.hangs import HANG_SECONDS, wait_until

NAMES = ("a b.ogg", "c#1?.mp3", "ü/%41/d.flac", "notes.txt")
HTTP = urllib3.PoolManager(retries=False)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EmbeddedArchive]:
    for name in NAMES:
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / name).write_bytes(name.encode() * 100)
    with EmbeddedArchive(tmp_path / "music") as running:
        yield running


def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return HTTP.request("GET", url, headers=headers, redirect=False)


def test_a_folder_is_an_item_of_originals(archive: EmbeddedArchive) -> None:
    answer = get(f"{archive.url}/metadata/music").json()
    files = {file["name"]: file for file in answer["files"]}
    assert set(NAMES) < set(files)
    for name in NAMES:
        data = name.encode() * 100
        assert files[name]["size"] == str(len(data))
        assert files[name]["sha1"] == hashlib.sha1(data).hexdigest()
        assert files[name]["source"] == "original"
    assert "size" not in files["music_files.xml"]
    assert get(f"{archive.url}/metadata/nothing").json() == {}


@pytest.mark.parametrize("name", NAMES)
def test_downloads_are_redirected(archive: EmbeddedArchive, name: str) -> None:
    answer = get(f"{archive.url}/download/music/{quote(name)}?cnt=0")
    assert answer.status == 302
    target = answer.headers["Location"]
    assert urlsplit(target).netloc == urlsplit(archive.datanode_url).netloc
    assert get(target).data == name.encode() * 100


def test_ranges(archive: EmbeddedArchive) -> None:
    url = f"{archive.datanode_url}/1/items/music/{quote('a b.ogg')}"
    part = get(url, Range="bytes=690-")
    assert (part.status, part.headers["Content-Range"]) == (206, "bytes 690-699/700")
    assert part.data == (b"a b.ogg" * 100)[690:]
    assert get(url, Range="bytes=0-").status == 200
    beyond = get(url, Range="bytes=700-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */700")


def test_search_errors_are_json(archive: EmbeddedArchive) -> None:
    search = f"{archive.url}/services/search/v1/scrape"
    assert get(f"{search}?q=mediatype:audio&count=100").json()["total"] == 1
    assert get(f"{search}?q=mediatype:audio&total_only=true").json() == {
        "items": [],
        "count": 0,
        "total": 1,
    }
    for bad in ("", "?q=a&count=99", "?q=a&cursor=%2A", "?q=a&sorts=identifier,date", "?q=(a"):
        answer = get(search + bad)
        assert (answer.status, "error" in answer.json()) == (400, True), bad


def test_nothing_outside_the_items_is_served(archive: EmbeddedArchive) -> None:
    for path in ("/download/music/..%2F..%2Fsecret", "/download/music/", "/", "/1/items/music/x"):
        assert get(archive.url + path).status == 404
        assert get(archive.datanode_url + path).status == 404


def test_concurrent_transfers_are_measured(archive: EmbeddedArchive) -> None:
    gate = Gate(archive)
    url = f"{archive.datanode_url}/1/items/music/{quote('a b.ogg')}"
    threads = [threading.Thread(target=get, args=(url,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.wait(3)
    gate.open()
    for thread in threads:
        thread.join()
    assert archive.most_transfers == 3
    assert archive.transfers == 0  # already: a cap on clients is measured without slack
    assert archive.count()[Where.DATANODE] == 3


def test_it_stops_at_once_whatever_stalls(tmp_path: Path) -> None:
    archive = EmbeddedArchive(
        [HeldItem("a")], [Fault(Where.METADATA, Kind.STALL_HEADERS, seconds=10 * HANG_SECONDS)]
    ).start()
    url = archive.url
    asking = threading.Thread(target=lambda: _swallowed(f"{url}/metadata/a"))
    asking.start()
    wait_until(lambda: archive.requests)
    archive.stop()
    asking.join(HANG_SECONDS)
    assert not asking.is_alive()
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        get(url)


def _swallowed(url: str) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        get(url)
