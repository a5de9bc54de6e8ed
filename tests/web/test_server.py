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
        answer = urllib3.request("GET", found[0], timeout=30)
        assert answer.status == 200
        assert b"<title>fadae</title>" in answer.data
    finally:
        server.send_signal(sent)
    printed, complained = server.communicate(timeout=60)
    assert server.returncode == 0, complained
    assert json.loads(printed.splitlines()[-1]) == {"address": found[0]}
    assert "Traceback" not in complained


def test_no_workspace_is_one_line(tmp_path: Path) -> None:
    server = serve("-w", str(tmp_path / "none"), "--port", "0")
    _, complained = server.communicate(timeout=60)
    assert server.returncode == 2
    assert "no workspace" in complained
    assert len(complained.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(room: Served, location: Location) -> None:
    server = serve("-w", location.url, "--port", room.address.rpartition(":")[2])
    _, complained = server.communicate(timeout=60)
    assert server.returncode == 2
    assert "Address already in use" in complained
    assert len(complained.splitlines()) == 1
