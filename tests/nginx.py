"""Debian's nginx as the test's own process, on loopback; it writes nothing outside a folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hangs import HANG_SECONDS

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 256; }}
http {{
    log_format served '$status $connection $http_range $sent_http_content_encoding $request_uri';
    access_log {folder}/access.log served;
    {temporary}
    {http}
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
        {server}
    }}
}}
"""
_SHARING = Path(__file__).resolve().parents[1] / "docs/sharing.md"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def documented(block: int) -> str:
    """Return a configuration that docs/sharing.md has, counted from 0."""
    blocks = re.finditer(r"```nginx\n(.*?)```", _SHARING.read_text("utf-8"), re.DOTALL)
    return [found[1] for found in blocks][block]


@contextlib.contextmanager
def nginx(folder: Path, http: str = "", server: str = "") -> Iterator[str]:
    """Serve what lies below folder/root while the block runs; yield the URL.

    http, server: further lines of those blocks of the configuration. Skips where there is no nginx.
    """
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        pytest.skip("no nginx here: install Debian's nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = _CONFIG.format(
        user="user root;" if os.geteuid() == 0 else "",
        folder=folder,
        port=port,
        http=http,
        server=server,
        temporary=" ".join(f"{n}_temp_path {folder}/{n};" for n in _TEMPORARY),
    )
    (folder / "nginx.conf").write_text(config)
    log = folder / "error.log"
    command = [binary, "-p", str(folder), "-e", str(log), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _await(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(HANG_SECONDS)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail(f"nginx does not start: {log.read_text() if log.exists() else process.returncode}")
