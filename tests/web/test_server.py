"""`fadae serve` as a command: opens, says where, ends by signal, fails in one line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from fadae.store.location import Location
from tests.command import fadae
from tests.web.conftest import Served


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fadae", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_serves_on_loopback_until_a_signal(location: Location, sent: signal.Signals) -> None:
    server = serve("-w", location.url, "--port", "0", "--json")
    try:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert found
        answer = urllib3.request("GET", found[0])
        assert answer.status == 200
        assert b"<title>fadae</title>" in answer.data
    finally:
        server.send_signal(sent)
    printed, complained = server.communicate()
    assert server.returncode == 0, complained
    assert json.loads(printed.splitlines()[-1]) == {"address": found[0]}
    assert "Traceback" not in complained


def test_no_workspace_is_one_line(tmp_path: Path) -> None:
    ended = fadae("serve", "-w", str(tmp_path / "none"), "--port", "0")
    assert ended.returncode == 2
    assert "no workspace" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(room: Served, location: Location) -> None:
    ended = fadae("serve", "-w", location.url, "--port", room.address.rpartition(":")[2])
    assert ended.returncode == 2
    assert "Address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_every_address_needs_a_name(location: Location, host: str) -> None:
    server = serve("-w", location.url, "--port", "0", "--host", host)
    _, complained = server.communicate()
    assert server.returncode == 2
    assert "--allow-host music.lan" in complained
    assert len(complained.splitlines()) == 1


@pytest.mark.parametrize("name", ["music.lan:80", "http://music.lan", "", "a b", "[::1", "*"])
def test_a_host_name_is_a_name(location: Location, name: str) -> None:
    server = serve("-w", location.url, "--port", "0", "--allow-host", name)
    _, complained = server.communicate()
    assert server.returncode == 2
    assert f"{name!r} is neither" in complained


def test_allowed_names_are_answered(location: Location) -> None:
    names = ("--allow-host", "Music.lan", "--allow-host", "fd00::1")
    server = serve("-w", location.url, "--port", "0", "--host", "0.0.0.0", *names)
    try:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert found
        statuses = {
            host: urllib3.request("GET", found[0], headers={"Host": host}).status
            for host in ("music.lan", "MUSIC.LAN:80", "[fd00:0::1]:80", "localhost", "evil.lan")
        }
    finally:
        server.terminate()
        _, complained = server.communicate()
    assert "FADAE_TOKEN" in complained, "who can reach it, nobody was told"
    assert list(statuses.values()) == [200, 200, 200, 200, 403], statuses
