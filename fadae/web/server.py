"""Serving the listening room until it is stopped, over connections that cannot hold the server.

uvicorn limits how many connections there are and how long an answered one may idle, but not how
long a request may take to arrive: a few hundred half-sent ones would keep everybody else out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from fadae.errors import UsageError
from fadae.store import Location
from fadae.web.app import create_app
from fadae.web.chooser import rooms_of
from fadae.web.guard import client_of, hosts_for
from fadae.web.session import WorkspaceSession

log = logging.getLogger("fadae.web")

_ADVICE = "FADAE_TOKEN or --token-file ask visitors for a token"

MOST_CONNECTIONS = 128
MOST_OF_A_CLIENT = 64  # of them
REQUEST_SECONDS = 15.0  # for the next whole request, and for taking some of an answer


class BoundedConnection(H11Protocol):
    """One connection of uvicorn's. It is cut when it is

    - still without its next whole request after `REQUEST_SECONDS`,
    - not taking any of its answer for as long, or
    - waiting for a request the longest when a new connection finds `MOST_CONNECTIONS` others, or
      `MOST_OF_A_CLIENT` from its own address.

    One that finds so many from its own address, all of them busy, is cut itself.
    """

    _from = ""  # which address
    _due: asyncio.TimerHandle | None = None
    _waiting_since = 0.0
    _unsent = 0  # bytes of an answer, at the last look

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the connection and let its answers leave at once."""
        super().connection_made(transport)
        self._from = client_of(self.client[0] if self.client else "")
        if not self._has_room():
            self._cut()
            return
        # asyncio does this only for sockets made with proto=IPPROTO_TCP; without it the body of a
        # small answer waits 40 ms for the acknowledgement of its headers (Nagle).
        opened = transport.get_extra_info("socket")
        if opened.family in (socket.AF_INET, socket.AF_INET6):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait()

    def _has_room(self) -> bool:
        """Cut those that wait the longest for this one's sake; return whether there is room now."""
        for source, most in ((self._from, MOST_OF_A_CLIENT), (None, MOST_CONNECTIONS)):
            others = [one for one in self._others() if source in (None, one._from)]
            waiting = sorted(
                (one for one in others if one._waits()), key=lambda one: one._waiting_since
            )
            for one in waiting[: max(0, len(others) - most + 1)]:
                one._cut()
        return sum(one._from == self._from for one in self._others()) < MOST_OF_A_CLIENT

    def _others(self) -> list[BoundedConnection]:
        every = [one for one in self.connections if isinstance(one, BoundedConnection)]
        return [one for one in every if one is not self]

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


def serve(
    locations: Sequence[Location],
    *,
    host: str = "127.0.0.1",
    port: int = 8642,
    allow_hosts: Iterable[str] = (),
    token: str | None = None,
    root_path: str = "",
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve workspaces until SIGINT or SIGTERM; `ready` is called with the page's address.

    allow_hosts: names, besides that of the address, by which browsers may reach the page.
    token: what all visitors must show, also on this computer: a proxy's come from there.
    root_path: where a proxy in front shows the page, as "/fadae"; it hands on what follows.
    Port 0 takes a free one. Raises UsageError where there is no workspace, the address cannot be
    had, or it has no name of its own ("0.0.0.0") and none is allowed.
    """
    hosts = hosts_for(host, allow_hosts)
    if root_path and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", root_path):
        raise UsageError(f"--root-path takes a path as /fadae, not {root_path!r}")
    for location in locations:
        if not location.names(""):
            raise UsageError(f"no workspace at {location.url}: `fadae ingest` makes one")
    names = rooms_of(location.url for location in locations)
    sessions = dict(zip(names, map(WorkspaceSession, locations), strict=True))
    rooms = sessions if len(sessions) > 1 else next(iter(sessions.values()))
    config = server_config(create_app(rooms, hosts, token), root_path)
    run_server(config, host, port, ready=ready, open_to_all=token is None)


def run_server(
    config: uvicorn.Config,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    open_to_all: bool,
    started: Callable[[uvicorn.Server], None] = lambda server: None,
) -> None:
    """Serve what is configured until SIGINT or SIGTERM, or until whom `started` told ends it."""
    with _listening(host, port) as listener:
        if open_to_all and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
            log.warning("whoever reaches this address sees and hears the workspace: %s", _ADVICE)
        server = uvicorn.Server(config)
        started(server)
        ready(_address(host, listener.getsockname()[1]))
        with _stopping_quietly():
            server.run(sockets=[listener])


def server_config(app: ASGIApp, root_path: str = "") -> uvicorn.Config:
    """Return how the room's app is served: quietly, over bounded connections."""
    return uvicorn.Config(
        app,
        root_path=root_path,
        http=BoundedConnection,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS + 1,  # uvicorn refuses the one that reaches the limit
        timeout_keep_alive=int(REQUEST_SECONDS),
        timeout_graceful_shutdown=3,
    )


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        raise UsageError(f"cannot listen on {host} port {port}: {reason}") from None
    with listener:
        yield listener


@contextlib.contextmanager
def _stopping_quietly() -> Iterator[None]:
    """A signal is how a server ends: it is done then, not interrupted.

    uvicorn raises the signals it has taken once more when it has shut down.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(host: str, port: int) -> str:
    """Return the page's URL; for an address that means "any", one that a browser can open.

    >>> _address("0.0.0.0", 80), _address("::1", 8642)
    ('http://127.0.0.1:80/', 'http://[::1]:8642/')
    """
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
