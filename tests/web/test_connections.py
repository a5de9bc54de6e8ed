"""Connections as hostile or slow peers use them: real sockets, nothing of HTTP but bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote_plus

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from fadae.store.location import Location
from fadae.web.guard import MOST_REQUESTS
from fadae.web.server import MOST_CONNECTIONS, MOST_OF_A_CLIENT
from fadae.web.session import WorkspaceSession
from tests.hangs import HANG_SECONDS, wait_until
from tests.web.conftest import LONG, Served, serving

WHOLE = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = WHOLE[:-2] + b"Cookie: "
HALF_BODY = WHOLE[:-2] + b"Content-Length: 1000\r\n\r\n"


@pytest.fixture
def hasty_room(location: Location, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A room that waits half a second, not fifteen."""
    monkeypatch.setattr("fadae.web.server.REQUEST_SECONDS", 0.5)
    with serving(location) as served:
        yield served


def answered(connection: socket.socket) -> bytes:
    """Return the status of the answer to one whole request."""
    connection.sendall(WHOLE)
    with connection.makefile("rb") as received:
        status = received.readline().split()[1]
        headers = dict(line.split(b": ", 1) for line in iter(received.readline, b"\r\n"))
        received.read(int(headers[b"content-length"]))
    return status


def cut(connection: socket.socket) -> bool:
    """Wait for the connection to end; whatever comes before is read away."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_small_answers_leave_at_once(room: Served) -> None:
    with room.connect() as connection:
        assert answered(connection) == b"200"
        mine = connection.getsockname()
        for one in list(room.server.server_state.connections):
            if isinstance(one, H11Protocol) and one.client == mine:
                opened = one.transport.get_extra_info("socket")
                assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                return
    raise AssertionError("the server does not know its own connection")


def test_half_sent_requests_keep_nobody_out(room: Served) -> None:
    with contextlib.ExitStack() as opened:
        half = [opened.enter_context(room.connect()) for _ in range(300)]
        for connection in half:
            connection.sendall(HALF)
        for _ in range(3):
            with room.connect() as connection:
                assert answered(connection) == b"200"
                assert answered(connection) == b"200"
        assert all(cut(connection) for connection in half[: 300 - MOST_CONNECTIONS])


def test_one_address_takes_no_place_of_another(room: Served) -> None:
    with contextlib.ExitStack() as opened:
        patient = opened.enter_context(room.connect("127.0.0.2"))
        half = [opened.enter_context(room.connect()) for _ in range(MOST_CONNECTIONS + 20)]
        for connection in half:
            connection.sendall(HALF)
        assert all(cut(connection) for connection in half[:-MOST_OF_A_CLIENT])
        # The oldest connection of all, and idle, but another address's.
        assert answered(patient) == b"200"


def test_a_client_has_few_requests_under_way(location: Location) -> None:
    ask = f"GET /api/audio?recording={quote_plus(LONG)}&start=0&stop=30 HTTP/1.1\r\n"
    with serving(location) as served, contextlib.ExitStack() as opened:
        # Each answer is more than the buffers on its way hold, and nobody takes it.
        busy = [opened.enter_context(served.connect()) for _ in range(MOST_REQUESTS)]
        for connection in busy:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(f"{ask}Host: localhost\r\n\r\n".encode() * 20)
        with served.connect() as one_more, served.connect("127.0.0.2") as other:
            wait_until(lambda: answered(one_more) == b"429")
            assert answered(other) == b"200"


@pytest.mark.parametrize("begun", [b"", HALF, HALF_BODY], ids=["nothing", "headers", "a body"])
def test_a_request_that_never_ends_is_cut(hasty_room: Served, begun: bytes) -> None:
    with hasty_room.connect() as connection:
        connection.sendall(begun)
        ended = False
        while not ended:  # a byte now and then buys no time
            with contextlib.suppress(ConnectionError):
                connection.send(b"x" if begun else b"")
            connection.settimeout(0.1)
            try:
                ended = connection.recv(65536) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True


def test_an_answer_that_nobody_takes_is_cut(hasty_room: Served) -> None:
    ask = f"GET /api/audio?recording={quote_plus(LONG)}&start=0&stop=30 HTTP/1.1\r\n"
    with hasty_room.connect() as connection:
        # More than any buffer on the way holds: 20 answers of 660 kB.
        with contextlib.suppress(ConnectionError):  # cut already, on a machine that is so busy
            connection.sendall(f"{ask}Host: localhost\r\n\r\n".encode() * 20)
            connection.recv(1)
        deadline = time.monotonic() + HANG_SECONDS
        while hasty_room.server.server_state.connections:
            assert time.monotonic() < deadline, "the connection is still held"
            time.sleep(0.05)


def test_closing_answers_who_waits_for_storage_and_leaves_no_trace(
    location: Location, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, back = threading.Event(), threading.Event()

    def away(session: WorkspaceSession) -> dict[str, object]:
        asked.set()
        assert back.wait(HANG_SECONDS)
        return {}

    monkeypatch.setattr(WorkspaceSession, "about", away)
    with serving(location) as served, served.connect() as connection:
        connection.sendall(b"GET /api/workspace HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked.wait(HANG_SECONDS)
        served.server.config.timeout_graceful_shutdown = 0
        served.server.should_exit = True
        answer = connection.recv(65536)
        back.set()
    assert answer.startswith(b"HTTP/1.1 503")
    assert "Exception in ASGI application" not in caplog.text
