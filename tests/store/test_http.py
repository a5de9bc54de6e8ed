"""A published workspace behind web servers: nginx, with TLS, and one that knows no Range."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.server
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
import xarray as xr

import fadae
from fadae.errors import AccessError, StorageError, UsageError
from fadae.query import Workspace
from fadae.stages.extract import extract
from fadae.store import http as reading
from fadae.store.features import FeatureSet
from fadae.store.http import HttpFiles
from fadae.store.listing import publish_listing
from fadae.store.location import Location
from fadae.store.spans import Span
from fadae.training import sides_of
from tests import command
from tests.nginx import documented, nginx
from tests.store.staged import stage
from tests.synthetic import music, write_features, write_run

AIR, FUGUE = "bach/air.ogg", "bach/50% fugue #1?.ogg"
RUN = "small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace of two recordings and one trained and reconstructed run."""
    from fadae.stages.reconstruct import reconstruct

    folder = tmp_path_factory.mktemp("http")
    location = Location(str(folder / "root/music"))
    write_features(location, {AIR: music(7.3, seed=1), FUGUE: music(20, seed=2)})
    write_run(location, RUN, holdout=0.5)
    reconstruct(location, RUN)
    return folder


@pytest.fixture(scope="module")
def local(folder: Path) -> Workspace:
    return fadae.open(str(folder / "root/music"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    rules = documented(0).replace("bach", "music").replace("/srv/fadae", str(folder / "root"))
    with nginx(folder, server=rules) as url:
        yield f"{url}/music"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures that pass are tried again once only."""
    once = dataclasses.replace(reading.POLICY, attempts=2, backoff_seconds=0.01)
    monkeypatch.setattr(reading, "POLICY", once)


def asked(folder: Path, served: str, ask: Callable[[], object]) -> list[list[str]]:
    """Return (status, connection, range, encoding, URI) of the requests that something makes.

    nginx writes a line when it has answered: one of a later request says that all are there.
    """

    def lines() -> list[str]:
        mark = f"/mark-{next(_marks)}"
        urllib3.request("GET", served.removesuffix("/music") + mark, retries=False)
        while mark not in (text := (folder / "access.log").read_text()):
            time.sleep(0.01)
        return text.splitlines()

    before = len(lines())
    ask()
    return [line.split(" ", 4) for line in lines()[before:-1]]


_marks = itertools.count()


def same(here: Workspace, there: Workspace) -> None:
    assert [one.id for one in there.recordings] == [AIR, FUGUE]
    assert list(there.recordings) == list(here.recordings)
    assert (there.runs, there.reconstructions) == ([RUN], [RUN])
    for source in ("original", "transform", RUN):
        span = slice(1, 3)
        heard = [one.audio(FUGUE, span, source=source) for one in (here, there)]
        np.testing.assert_array_equal(heard[0], heard[1])
    codes = [one.codes(AIR, slice(0, 2), RUN) for one in (here, there)]
    np.testing.assert_array_equal(codes[0].values, codes[1].values)
    assert there.scores(RUN)["nmse_db"].tolist() == here.scores(RUN)["nmse_db"].tolist()


def test_a_workspace_behind_nginx_is_the_one_in_the_folder(local: Workspace, served: str) -> None:
    there = fadae.open(served)
    same(local, there)
    assert [one.id for one in there.search("FUGUE")] == [FUGUE]
    assert there.split(RUN).held_out == local.split(RUN).held_out
    assert there.info().runs == [RUN]
    assert there.info().recordings["ok"] == 2
    assert there.history() == local.history()


def test_what_is_derived_is_made_here_where_it_is_not_kept_there(
    local: Workspace, served: str
) -> None:
    there, span = fadae.open(served), slice(0, 4)
    found = there.similar(AIR, span)  # vectors are kept nowhere: nothing can be written there
    assert found == local.similar(AIR, span) and [one.id for one in found] == [FUGUE]
    assert there.similar(AIR, span) == found
    whole = sides_of(FeatureSet.open(Location(served)), None)
    assert sum(rows.count for rows in whole.values()) == there.rows_of(None).count


def test_nothing_is_listed_and_few_requests_are_made(folder: Path, served: str) -> None:
    opened: list[Workspace] = []
    assert len(asked(folder, served, lambda: opened.append(fadae.open(served)))) == 1
    there = opened[0]
    requests = asked(folder, served, lambda: there.recordings.find(FUGUE))
    assert len(requests) == 4  # the root; a range of a table; a pack's header; a block of it
    requests += asked(folder, served, lambda: there.audio(FUGUE, slice(0, 10)))
    requests += asked(folder, served, lambda: there.codes(FUGUE, slice(0, 10), RUN))
    assert len(requests) < 24
    assert not [uri for *_, uri in requests if uri.endswith("/")]
    assert {status for status, *_ in requests} <= {"200", "206", "304"}
    whole = [uri for status, _, part, _, uri in requests if "/audio/c/" in uri and part == "-"]
    assert not whole, "ten seconds are a part of a shard"


def test_plain_xarray_opens_it(local: Workspace, served: str) -> None:
    there = xr.open_zarr(f"{served}/features.zarr", chunks=None)
    np.testing.assert_array_equal(there["features"][3:5], local.features["features"][3:5])


def test_an_unchanged_document_is_not_sent_again(folder: Path, served: str) -> None:
    location = Location(served)
    path = f"runs/{RUN}/config.json"
    os.utime(folder / "root/music" / path, (1e9, 1e9))  # written long ago
    first = location.read_bytes(path)
    requests = asked(folder, served, lambda: location.read_bytes(path))
    assert [status for status, *_ in requests] == ["304"]
    assert location.read_bytes(path) == first


WRITING = [
    "run",
    "ingest",
    "extract",
    "train",
    "reconstruct",
    "compare",
    "report",
    "verify",
    "prune",
]


@pytest.mark.parametrize("typed", [*WRITING, "verify --repair"])
def test_what_writes_is_refused_in_one_line(served: str, typed: str) -> None:
    ended = command.fadae(*typed.split(), "-w", served)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert lines[-1].startswith("fadae: an http:// workspace can be read, not written: ")
    assert "Traceback" not in ended.stderr


def test_what_cannot_be_known_without_a_listing_is_said(served: str) -> None:
    ended = command.fadae("status", "-w", served)
    assert ended.returncode == 2
    assert "cannot be listed" in ended.stderr


def test_a_report_is_written_elsewhere(served: str, tmp_path: Path) -> None:
    to = str(tmp_path / "report")
    assert (
        command.fadae("report", AIR, "-w", served, "--seconds", "0.4", "--to", to).returncode == 0
    )
    assert (tmp_path / "report/index.html").exists()


def test_without_an_index_recordings_are_there_and_runs_are_not_known(
    folder: Path, served: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = folder / "root/music/index.json"
    index.rename(folder / "kept.json")
    try:
        there = fadae.open(served)
        assert len(there.recordings) == 2
        assert there.runs == []
        assert "index.json" in caplog.text
    finally:
        (folder / "kept.json").rename(index)


def test_the_index_is_written_only_where_names_changed(folder: Path) -> None:
    location, index = Location(str(folder / "root/music")), folder / "root/music/index.json"
    before = index.stat().st_mtime_ns
    publish_listing(location)
    assert index.stat().st_mtime_ns == before
    assert json.loads(index.read_bytes())["names"]["runs"] == [RUN]
    index.write_text("{}")
    publish_listing(location)
    assert json.loads(index.read_bytes())["names"]["reconstructions"] == [f"{RUN}.zarr"]


def test_a_server_without_range_gives_the_same(
    folder: Path, local: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    handler = functools.partial(_Quiet, directory=str(folder / "root"))
    with _serving(handler) as url:
        same(local, fadae.open(f"{url}/music"))
    assert "ignores Range" in caplog.text


def test_behind_tls_with_an_authority_of_ones_own(
    folder: Path, local: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _tls(folder) as (url, authority):
        with pytest.raises(AccessError, match="SSL_CERT_FILE"):
            fadae.open(f"{url}/music")
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        same(local, fadae.open(f"{url}/music"))
        with pytest.raises(AccessError, match="redirects to a foreign host"):
            fadae.open(f"{url}/weaker")


def test_redirects_lead_to_servers_only(folder: Path, impatient: None, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    seen: list[str | None] = []

    class Elsewhere(_Quiet):
        def do_HEAD(self) -> None:
            seen.append(self.headers.get("Authorization"))
            super().do_HEAD()

    elsewhere = functools.partial(Elsewhere, directory=str(folder / "root"))
    with _serving(elsewhere) as other:
        rules = f"""location /moved/ {{ rewrite ^/moved/(.*) {other}/music/$1 redirect; }}
            location /file/ {{ return 302 file:///etc/passwd; }}"""
        with nginx(tmp_path, server=rules) as url:
            moved = url.replace("http://", "http://me:secret@") + "/moved"
            assert Location(moved).exists("index.json")
            assert seen == [None], "a password is for its own server"
            with pytest.raises(AccessError, match="redirects to a foreign host"):
                fadae.open(f"{url}/file")


def test_passwords_open_and_are_never_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to(folder / "root")
    (tmp_path / "users").write_text("me:{PLAIN}s%ecret\n")
    rules = f'auth_basic "music"; auth_basic_user_file {tmp_path}/users;'
    with nginx(tmp_path, server=rules) as url:
        host = url.removeprefix("http://")
        there = fadae.open(f"http://me:s%25ecret@{host}/music")
        assert len(there.recordings) == 2
        assert "s%" not in repr(there)
        assert "s%" not in there.location.url
        bearer = {"headers": {"Authorization": "Basic bWU6cyVlY3JldA=="}}
        assert fadae.open(f"{url}/music", bearer).runs == [RUN]
        ended = command.fadae("info", "-w", f"http://me:wrong@{host}/music")
        assert ended.returncode == 2
        assert "401" in ended.stderr
        assert "wrong" not in ended.stderr
    for url in ("https://me:secret@host/x?signature=secret", "https://me:secret@[::1/x"):
        with pytest.raises(UsageError) as refused:
            fadae.open(url)
        assert "secret" not in str(refused.value)


def test_forbidden_is_absent_as_buckets_tell_it(
    folder: Path, local: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "root").symlink_to(folder / "root")
    hidden = "error_page 404 = @none; location @none { return 403; }"
    with nginx(tmp_path, server=hidden) as url:
        same(local, fadae.open(f"{url}/music"))
        with pytest.raises(AccessError, match="403"):
            fadae.open(f"{url}/nothing")
    with nginx(tmp_path, server="location ~ /c/ { return 403; }") as url:
        opened = fadae.open(f"{url}/music")
        with pytest.raises(StorageError, match="which is published"):
            opened.audio(AIR, slice(0, 1))


def test_no_workspace_is_told_at_once(served: str) -> None:
    ended = command.fadae("info", "-w", f"{served}/none")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "no workspace at" in ended.stderr


def test_a_chunk_older_than_the_root_is_not_taken_for_now(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "root/music"
    shutil.copytree(folder / "root/music", copy)
    stale = {name: (copy / f"features.zarr/recording_{name}/c/0") for name in ("id", "same_as")}
    old = {name: path.read_bytes() for name, path in stale.items()}
    twice = dict.fromkeys(("new/one.ogg", "new/two.ogg"), music(2, seed=5))
    write_features(Location(str(copy)), twice, same_as={"new/two.ogg": "new/one.ogg"})
    with nginx(tmp_path) as url:
        there = fadae.open(f"{url}/music")
        assert there.recordings[2].id == "new/one.ogg"
        for name, path in stale.items():
            new = path.read_bytes()
            path.write_bytes(old[name])
            with pytest.raises(StorageError, match=f"recording_{name} that is older"):
                fadae.open(f"{url}/music").split(RUN)
            path.write_bytes(new)
        assert fadae.open(f"{url}/music").split(RUN).held_out


class _Scripted(http.server.BaseHTTPRequestHandler):
    """Gives the answers of a list, one after the other: (status, headers, body)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers, body = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if "Content-Length" in headers:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


PART = (206, {"Content-Range": "bytes 2-4/9"}, b"cde")


@pytest.mark.parametrize(
    "first",
    [
        (503, {"Retry-After": "0"}, b"later"),
        (429, {}, b""),
        (206, {"Content-Range": "bytes 0-2/9"}, b"abc"),  # another part
        (206, {"Content-Range": "bytes 2-4/9"}, b"cdef"),  # more of it
        (206, {}, b"cde"),
        (206, {"Content-Range": "bytes 2-4/9", "Content-Length": "3"}, b"c"),  # cut off
    ],
)
def test_what_is_not_the_part_is_asked_for_again(first: Any) -> None:
    with _serving(_Scripted) as url:
        files = HttpFiles(url)
        _answer(url, first, PART)
        assert files.read(f"{url}/x", Span(2, 5)) == b"cde"


def test_what_stays_wrong_ends(impatient: None) -> None:
    with _serving(_Scripted) as url:
        _answer(url, (500, {}, b""), (500, {}, b""))
        with pytest.raises(StorageError, match="500"):
            HttpFiles(url).read(f"{url}/x", Span())
        _answer(url, (206, {"Content-Range": "bytes 2-4/9", "Content-Encoding": "gzip"}, b"cde"))
        with pytest.raises(AccessError, match="compresses"):
            HttpFiles(url).read(f"{url}/x", Span(2, 5))
        _answer(url, (416, {"Content-Range": "bytes */2"}, b""))
        assert HttpFiles(url).read(f"{url}/x", Span(2, 5)) == b""


def test_no_answer_is_without_end(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(reading.POLICY, metadata_bytes=10)
    monkeypatch.setattr(reading, "POLICY", small)
    with _serving(_Scripted) as url:
        _answer(url, (200, {}, b"0" * 11), (200, {}, b"0" * 11))
        with pytest.raises(StorageError, match="more than 10 bytes"):
            HttpFiles(url).read(f"{url}/x.json", Span())


def test_earlier_publications_are_there(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "root/grown"))
    for name in ("a/1.ogg", "a/2.ogg"):
        stage(location, name, music(1))
        extract(location)
    local = fadae.open(location.url)
    with nginx(tmp_path) as url:
        there = fadae.open(f"{url}/grown")
        assert [one.number for one in there.history()] == [2, 1]
        assert there.history(1)[0].recordings == local.history(1)[0].recordings == 2
        assert len(fadae.open(f"{url}/grown", at=1).recordings) == 1
        (tmp_path / "root/grown/features.zarr/recording_id/history/00001.json").unlink()
        assert [one.number for one in there.history()] == [2], "the other was pruned"
        with pytest.raises(UsageError, match="keeps no publication 1"):
            fadae.open(f"{url}/grown", at=1).recordings  # noqa: B018 - read lazily


_servers: dict[str, http.server.ThreadingHTTPServer] = {}


def _answer(url: str, *answers: Any) -> None:
    _servers[url].answers = list(answers)  # type: ignore[attr-defined]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def _serving(handler: Callable[..., Any]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        _servers[url] = server
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _tls(folder: Path) -> Iterator[tuple[str, str]]:
    """Serve folder/root with TLS; yield the URL and the file of its authority."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make certificates with")
    cert, key = folder / "own.crt", folder / "own.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    made += ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rules = f"""listen 127.0.0.1:{port} ssl; ssl_certificate {cert}; ssl_certificate_key {key};
        location /weaker/ {{ return 302 http://localhost:1/; }}"""
    place = folder / "tls"
    place.mkdir()
    (place / "root").symlink_to(folder / "root")
    with nginx(place, server=rules):
        yield f"https://localhost:{port}", str(cert)
