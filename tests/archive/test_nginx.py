"""The client against Debian's nginx: redirects with a body, keep-alive, gzip, ranges and limits."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fadae.archive.items import ArchiveSource
from fadae.config.job import Settings
from fadae.embedded.items import HeldItem, hold
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from tests.archive.small import FAST, bytes_of, tracks_of, write
from tests.audio.sounds import music, save
from tests.nginx import nginx
from tests.proxy import FaultProxy

DOWNLOADS = 10
# limit_rate makes nginx pause for a second in the middle of a body.
NAMES = ["a b.bin", "c#d.bin", "e?f.bin", "%41.bin", "menü/ü.bin"]

# 302 with nginx's own small page; a datanode below the same name, hence the same connections.
# $request_uri is what was asked, byte for byte: the escapes go through the redirect as they came.
_HTTP = r"""
    gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
    keepalive_requests 1000;
    map $request_uri $asked { "~^/download/(?<rest>[^?]*)" $rest; }
    limit_conn_zone $server_port zone=transfers:1m;
    limit_req_zone $server_port zone=rate:1m rate=2r/s;
"""
_SERVER = """
    location /metadata/ { default_type application/json; }
    location /download/ { return 302 /1/items/$asked; }
    location /1/items/ { default_type application/octet-stream; DATANODE }
"""


@contextlib.contextmanager
def serving(folder: Path, item: HeldItem, datanode: str = "", http: str = "") -> Iterator[str]:
    """Serve an item whose files lie below folder/root/1/items already."""
    path = folder / "root/metadata" / item.identifier
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(item.answer()))
    with nginx(folder, _HTTP + http, _SERVER.replace("DATANODE", datanode)) as url:
        yield url


def log_of(folder: Path) -> list[list[str]]:
    """Return (status, connection, range, encoding, URI) of each request; nginx has ended."""
    return [line.split(" ", 4) for line in (folder / "access.log").read_text().splitlines()]


def noise(folder: Path, *names: str) -> HeldItem:
    write(folder / "root/1/items/noise", *names)
    files = [hold(folder / "root/1/items/noise" / n, n, format="Flac") for n in names]
    return HeldItem("noise", {}, tuple(files))


def test_names_go_through_a_redirect_as_they_are_on_one_connection(tmp_path: Path) -> None:
    item = noise(tmp_path, *NAMES)
    with serving(tmp_path, item) as url:
        source = ArchiveSource(("noise",), url=url, request_policy=FAST)
        tracks = tracks_of(source)
        assert sorted(track.file for track in tracks) == sorted(NAMES)
        for track in tracks:
            source.fetch(track, tmp_path / "file")
            assert (tmp_path / "file").read_bytes() == bytes_of(track.file)
    log = log_of(tmp_path)
    assert log[0][3:] == ["gzip", "/metadata/noise"]
    assert [line[4] for line in log[1:]] == [
        path
        for name in sorted(NAMES)
        for path in (
            f"/download/noise/{quote(name)}?cnt=0",
            f"/1/items/noise/{quote(name)}",
        )
    ]
    assert len({line[1] for line in log}) == 1


def test_a_cut_transfer_is_resumed_by_a_range(tmp_path: Path) -> None:
    item = noise(tmp_path, "a.bin")
    with serving(tmp_path, item, http="absolute_redirect off;") as url:
        with FaultProxy(int(url.rpartition(":")[2])) as proxy:
            source = ArchiveSource(("noise",), url=proxy.url, request_policy=FAST)
            (track,) = tracks_of(source)
            proxy.arm("pass", "cut")  # the redirect, then the file
            source.fetch(track, tmp_path / "file")
            assert proxy.struck["cut"] == 1
        assert (tmp_path / "file").read_bytes() == bytes_of("a.bin")
    resumed = [line for line in log_of(tmp_path) if line[0] == "206"]
    assert [re.fullmatch(r"bytes=[1-9][0-9]*-", line[2]) is not None for line in resumed] == [True]


def in_threads(function: Callable[[Any], Any], values: Iterable[Any], **_: Any) -> Iterator[Any]:
    """Map as a cluster does, twelve at a time: more than may transfer at a time."""
    with ThreadPoolExecutor(12) as threads:
        yield from threads.map(function, values)


def music_item(folder: Path, count: int) -> HeldItem:
    names = [f"{number:02} piece #{number}.ogg" for number in range(count)]
    root = folder / "root/1/items/served"
    for seed, name in enumerate(names):
        save(root / name, music(1, seed=seed))
    return HeldItem("served", {"title": "Served"}, tuple(hold(root / n, n) for n in names))


def test_sixty_recordings_with_at_most_so_many_transfers_at_a_time(tmp_path: Path) -> None:
    """One nginx process ends a transfer before its client can know: its count is exact."""
    item = music_item(tmp_path, 60)
    datanode = f"limit_conn transfers {DOWNLOADS}; limit_rate 8k;"
    location = Location(str(tmp_path / "workspace"))
    with serving(tmp_path, item, datanode) as url:
        source = ArchiveSource(("served",), url=url, request_policy=FAST)
        summary = ingest(location, [source], Settings(downloads=DOWNLOADS), mapper=in_threads)
    assert (summary["ok"], summary["failures"]) == (60, [])
    statuses = Counter(line[0] for line in log_of(tmp_path))
    assert statuses == {"200": 61, "302": 60}


@pytest.mark.parametrize(
    "datanode",
    ["limit_conn transfers 1; limit_rate 8k;", "limit_req zone=rate; limit_req_status 429;"],
    ids=["limit_conn", "limit_req"],
)
def test_a_server_with_limits_is_outlived(tmp_path: Path, datanode: str) -> None:
    item = music_item(tmp_path, 6)
    location = Location(str(tmp_path / "workspace"))
    request_policy = dataclasses.replace(FAST, attempts=50, backoff_cap_seconds=0.5)
    with serving(tmp_path, item, datanode) as url:
        source = ArchiveSource(("served",), url=url, request_policy=request_policy)
        summary = ingest(location, [source], Settings(downloads=3), mapper=in_threads)
    assert (summary["ok"], summary["failures"]) == (6, [])
    refused = {line[0] for line in log_of(tmp_path)} - {"200", "302"}
    assert refused == {"503" if "conn" in datanode else "429"}
