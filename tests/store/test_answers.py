"""What an answer of Google's or Azure's store comes to: emulators never give most of these."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fadae.buckets.bucket import bucket_of
from fadae.errors import AccessError, StorageError
from fadae.retry import RetryPolicy
from fadae.store import location as locations
from fadae.store import remote_zarr
from fadae.store.location import Location
from tests.hangs import HANG_SECONDS

JSON = '{"error": {"code": %d, "message": "it says why"}}'
XML = "<?xml version='1.0'?><Error><Code>Code%d</Code><Message>it says\nwhy</Message></Error>"
KEYS = {"gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_CONNECTION_STRING"}


@pytest.fixture(params=["gs", "az"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    package = {"gs": "gcsfs", "az": "adlfs"}[request.param]
    pytest.importorskip(package, reason=f"no {package}: pip install '.[dev]'")
    twice = RetryPolicy(total_seconds=HANG_SECONDS, attempts=2, first_pause_seconds=0.01)
    monkeypatch.setattr(remote_zarr, "POLICY", twice)
    return str(request.param)


@contextlib.contextmanager
def answering(protocol: str, status: int) -> Iterator[tuple[Location, list[str]]]:
    """Give a location whose server answers every request with a status, and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = ((JSON if protocol == "gs" else XML) % status).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    text = f"BlobEndpoint={address}/me;AccountName=me;AccountKey=a2V5"
    options = {"endpoint_url": address, "token": "anon"}
    try:
        told = options if protocol == "gs" else {"connection_string": text}
        yield Location(f"{protocol}://box/w{status}", told), asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_is_refused_is_asked_once_and_told_in_one_line(protocol: str, status: int) -> None:
    with answering(protocol, status) as (location, asked):
        for verb in (
            lambda: location.read_bytes("x"),
            lambda: location.write_bytes("x", b"1"),
            lambda: location.names("f"),
            location.ensure_conditions,
        ):
            asked.clear()
            with pytest.raises(AccessError, match=f"{KEYS[protocol]}.* and their rights") as told:
                verb()
            assert "\n" not in str(told.value) and "it says why" in str(told.value)
            assert len(asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_asked_again(protocol: str, status: int) -> None:
    with answering(protocol, status) as (location, asked):
        for verb in (lambda: location.read_bytes("x"), lambda: location.write_bytes("x", b"1")):
            asked.clear()
            with pytest.raises(StorageError, match="run the same command again"):
                verb()
            assert len(asked) == 2


def test_a_condition_that_does_not_hold_is_an_answer(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(protocol, 412) as (location, asked):
        monkeypatch.setitem(locations._conditional, location.url, True)
        assert not location.replace("x", b"1", '"1"')
        assert not location.create_exclusive("x", b"1")
        assert len(asked) == 2


def test_a_token_that_cannot_be_had_now_is_no_refusal() -> None:
    pytest.importorskip("gcsfs", reason="no gcsfs: pip install '.[dev]'")
    from gcsfs.retry import HttpError
    from google.auth import exceptions

    untyped: Any = exceptions

    google, away = bucket_of("gs"), untyped.TransportError("the metadata server is away")
    for error, fault in (
        (untyped.DefaultCredentialsError("none found"), "refused"),
        (untyped.RefreshError("revoked"), "refused"),
        (untyped.RefreshError(away), "passing"),
        (away, "passing"),
    ):
        assert google.fault(error) == fault
        wrapped = HttpError({"code": 401, "message": "Invalid Credentials"})
        wrapped.__cause__ = error
        assert google.fault(wrapped) == fault
