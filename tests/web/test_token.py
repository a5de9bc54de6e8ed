"""The token that opens a room: shown as a bearer, by a link once, by a cookie from then on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from fadae.errors import UsageError
from fadae.store.location import Location
from fadae.web.guard import checked_token
from tests.command import fadae
from tests.web.conftest import Served, serving
from tests.web.visiting import SLOW_MS

TOKEN = "a-token.of_letters~and-0123456789"
PATHS = ["/", "/static/js/main.js", "/api/workspace", "/nothing"]


@pytest.fixture(scope="module")
def shut(location: Location) -> Iterator[Served]:
    with serving(location, look_seconds=5.0, token=TOKEN) as served:
        yield served


def cookie_of(answer: urllib3.BaseHTTPResponse) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def login(room: Served, path: str) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("GET", room.address + path, redirect=False)


@pytest.mark.parametrize("path", PATHS)
def test_without_it_nothing_is_answered(shut: Served, path: str) -> None:
    for headers in (
        {},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \u00fc\u00ff"},
        {"Cookie": f"fadae-1={TOKEN}; other={TOKEN}"},
        {"Cookie": 'fadae="\\303'},
    ):
        answer = shut.get(path, **headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert b"Set-Cookie" not in answer.data and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
def test_a_bearer_is_answered(shut: Served, kind: str) -> None:
    answers = [shut.get(path, Authorization=f"{kind} {TOKEN}").status for path in PATHS]
    assert answers == [200, 200, 200, 404]


def test_a_link_leaves_a_cookie_and_no_trace(shut: Served) -> None:
    answer = login(shut, f"/?a=1&token={TOKEN}&b=%2F%2Fevil")
    assert (answer.status, answer.headers["Location"]) == (303, "./?a=1&b=%2F%2Fevil")
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["Set-Cookie"].split("; "))
    for path in PATHS[:3]:
        assert shut.get(path, Cookie=cookie_of(answer)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/?token=",
        "/?token=wrong",
        f"/?token={TOKEN[:-1]}",
        f"/?TOKEN={TOKEN}",
        f"/api/workspace?token={TOKEN}",  # in an address it would stay in logs and histories
        f"//evil.example/?token={TOKEN}",
    ],
)
def test_other_links_open_nothing(shut: Served, path: str) -> None:
    answer = login(shut, path)
    assert answer.status == 401
    assert TOKEN.encode() not in answer.data


def test_a_host_name_is_asked_for_first(shut: Served) -> None:
    refused = shut.get("/", Host="evil.example", Authorization=f"Bearer {TOKEN}")
    assert refused.status == 403


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 513, "with a blank in it", "a" * 20 + "\u00e9"]
)
def test_a_token_is_long_and_plain(text: str) -> None:
    with pytest.raises(UsageError, match="16 to 512") as refused:
        checked_token(text)
    assert not text or text not in str(refused.value)


def test_a_command_takes_it_from_a_file_and_shows_it_nowhere(
    location: Location, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    listen = ["--port", "0", "--host", "0.0.0.0", "--allow-host", "music.lan"]
    asked = ["-w", location.url, *listen, "--token-file", str(tmp_path / "token")]
    server = subprocess.Popen(
        [sys.executable, "-m", "fadae", "serve", *asked],
        env={**os.environ, "FADAE_TOKEN": "another-token-that-loses", "FADAE_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert found
        room = Served(found[0], None)  # type: ignore[arg-type]
        assert login(room, f"/?token={TOKEN}").status == 303
        statuses = [
            room.get("/api/workspace", Authorization=f"Bearer {given}").status
            for given in (TOKEN, "another-token-that-loses")
        ]
        shown = subprocess.run(["ps", "-p", str(server.pid), "-o", "args="], capture_output=True)
    finally:
        server.terminate()
        printed, complained = server.communicate()
    assert statuses == [200, 401]
    assert b"fadae" in shown.stdout
    assert TOKEN not in told + printed + complained + shown.stdout.decode()
    assert "sees and hears" not in complained


@pytest.mark.parametrize(
    ("value", "file", "told"),
    [
        ("", "", "FADAE_TOKEN"),
        ("short", "", "FADAE_TOKEN"),
        (TOKEN, "/nowhere/token", "cannot read the token in /nowhere/token"),
    ],
)
def test_a_wrong_token_is_one_line_and_2(
    location: Location, monkeypatch: pytest.MonkeyPatch, value: str, file: str, told: str
) -> None:
    monkeypatch.setenv("FADAE_TOKEN", value)
    ended = fadae(
        "serve", "-w", location.url, "--port", "0", *(["--token-file", file] if file else [])
    )
    assert ended.returncode == 2
    assert told in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_a_browser_that_followed_the_link_stays_in(shut: Served, browser: Any) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(f"{shut.address}/?token={TOKEN}#listen")
        page.wait_for_selector("#recordings a", state="attached")
        assert page.url.startswith(f"{shut.address}/#listen")
        assert TOKEN not in page.evaluate("document.cookie")
        page.goto(f"{shut.address}/")
        page.wait_for_selector("#recordings a", state="attached")
    finally:
        context.close()
