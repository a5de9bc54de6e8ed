"""Connections that cannot hold the server: each has so long for its next request.

uvicorn limits how many connections there are and how long an answered one may idle, but not how
long a request may take to arrive: a few hundred half-sent ones would keep everybody else out.
"""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 128
REQUEST_SECONDS = 15.0  # for the next whole request, and for taking some of an answer


class BoundedConnection(H11Protocol):
    """One connection of uvicorn's. It is cut when it is

    - still without its next whole request after `REQUEST_SECONDS`,
    - not taking any of its answer for as long, or
    - waiting for a request the longest when a new connection finds `MOST_CONNECTIONS` others.
    """

    _due: asyncio.TimerHandle | None = None
    _waiting_since = 0.0
    _unsent = 0  # bytes of an answer, at the last look

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the connection and let its answers leave at once."""
        self._make_room()
        super().connection_made(transport)
        # asyncio does this only for sockets made with proto=IPPROTO_TCP; without it the body of a
        # small answer waits 40 ms for the acknowledgement of its headers (Nagle).
        opened = transport.get_extra_info("socket")
        if opened.family in (socket.AF_INET, socket.AF_INET6):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait()

    def _make_room(self) -> None:
        waiting = [c for c in self.connections if isinstance(c, BoundedConnection) and c._waits()]
        waiting.sort(key=lambda connection: connection._waiting_since)
        for connection in waiting[: max(0, len(self.connections) - MOST_CONNECTIONS + 1)]:
            connection._cut()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the next request its time; uvicorn calls this after each answer."""
        self._wait()
        super().on_response_complete()

    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting_since = self.loop.time()
        self._look_later()

    def _look_later(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._unsent = self.transport.get_write_buffer_size()
        self._due = self.loop.call_later(REQUEST_SECONDS, self._look)

    def _look(self) -> None:
        """Cut the connection if nothing has moved for `REQUEST_SECONDS`."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == self._unsent if unsent else self._waits():
            self._cut()
        else:
            self._look_later()

    def _cut(self) -> None:
        self.connections.discard(self)  # at once: connection_lost comes only later
        self.transport.abort()
