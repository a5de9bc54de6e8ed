"""Serving the listening room until it is stopped."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from fadae.errors import UsageError
from fadae.store import Location
from fadae.web.app import create_app
from fadae.web.connections import MOST_CONNECTIONS, REQUEST_SECONDS, BoundedConnection
from fadae.web.guard import hosts_for
from fadae.web.session import WorkspaceSession


def serve(
    url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8642,
    allow_hosts: Iterable[str] = (),
    ready: Callable[[str], None] = lambda address: None,
    storage_options: dict[str, Any] | None = None,
) -> None:
    """Serve a workspace until SIGINT or SIGTERM; `ready` is called with the page's address.

    allow_hosts: names, besides that of the address, by which browsers may reach the page.
    Port 0 takes a free one. Raises UsageError where there is no workspace, the address cannot be
    had, or it has no name of its own ("0.0.0.0") and none is allowed.
    """
    hosts = hosts_for(host, allow_hosts)
    location = Location(url, storage_options)
    if not location.names(""):
        raise UsageError(f"no workspace at {location.url}: `fadae ingest` makes one")
    config = server_config(create_app(WorkspaceSession(location), hosts))
    with _listening(host, port) as listener:
        ready(_address(host, listener.getsockname()[1]))
        with _stopping_quietly():
            uvicorn.Server(config).run(sockets=[listener])


def server_config(app: ASGIApp) -> uvicorn.Config:
    """Return how the room's app is served: quietly, over bounded connections."""
    return uvicorn.Config(
        app,
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
