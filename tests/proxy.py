"""A TCP proxy before an HTTP server that throttles, resets and stalls on demand."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator

DELAY_SECONDS = 1.0
_THROTTLED = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code>"
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_SERVICE_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_THROTTLED), _THROTTLED)
)


class FaultProxy:
    """Forwards to a port of loopback; a queue says what befalls the next requests.

    A fault hits whatever a client sends next, over all connections: `throttle` answers 503,
    `reset` closes with RST, `stall` stays silent with the connection open, `cut` forwards the
    request, then resets within the answer, `delay` forwards it after `DELAY_SECONDS`.
    """

    def __init__(self, target_port: int) -> None:
        """Listen on a free port; use as a context manager."""
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._faults: deque[str] = deque()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.is_refusing = False
        self.struck: dict[str, int] = {}
        self.requests = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    def arm(self, *faults: str, spread: float = 1.0, seed: int = 0) -> None:
        """Queue faults; with `spread` below 1, a chunk is struck with that probability only."""
        drawn = random.Random(seed)
        with self._lock:
            for fault in faults:
                while drawn.random() > spread:
                    self._faults.append("pass")
                self._faults.append(fault)

    def refuse(self, on: bool) -> None:
        """Reset every request from now on, or no longer."""
        self.is_refusing = on

    @property
    def armed(self) -> int:
        """Faults that have not struck yet."""
        with self._lock:
            return sum(fault != "pass" for fault in self._faults)

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _next_fault(self) -> str:
        with self._lock:
            self.requests += 1
            fault = self._faults.popleft() if self._faults else "pass"
            if self.is_refusing:
                fault = "reset"
            self.struck[fault] = self.struck.get(fault, 0) + 1
            return fault

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:  # it is down: so is this connection
                _reset(client)
                return
            self._open.append(server)
            cut = threading.Event()
            with server:
                threading.Thread(target=_forward, args=(server, client, cut), daemon=True).start()
                for data in _received(client):
                    fault = self._next_fault()
                    if fault == "throttle":
                        client.sendall(_SERVICE_UNAVAILABLE)
                        return
                    if fault == "reset":
                        _reset(client)
                        return
                    if fault == "stall":
                        for _ in _received(client):
                            pass
                        return
                    if fault == "cut":
                        cut.set()
                    if fault == "delay":
                        time.sleep(DELAY_SECONDS)
                    server.sendall(data)


def _received(connection: socket.socket) -> Iterator[bytes]:
    while data := connection.recv(65536):
        yield data


def _forward(server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
    with contextlib.suppress(OSError):
        for data in _received(server):
            if cut.is_set():
                client.sendall(data[: len(data) // 2])
                _reset(client)
                return
            client.sendall(data)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)


def _reset(connection: socket.socket) -> None:
    """Close with RST: unsent data is dropped and the peer's next call fails."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()
