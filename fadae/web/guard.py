"""What stands before every answer: who may ask, how, and the headers that keep a page to itself."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page loads its own files and nothing else; nobody frames it; no form leaves it.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """Middleware: GET and HEAD only, known hosts only where bound to loopback, safe headers.

    The host check is what stops another site's page from reading a loopback server through a
    name of its own that resolves to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None) -> None:
        """Take the app to guard and the host names that may be asked for; None means any."""
        self.app = app
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 400, 403 or 405."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        answer = self.app if refusal is None else refusal
        await answer(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return refuse(405, "the listening room only reads: GET or HEAD", {"Allow": "GET, HEAD"})
        given = [value for name, value in scope["headers"] if name == b"host"]
        if self.hosts is not None and (
            len(given) != 1 or host_name(given[0].decode("latin-1")) not in self.hosts
        ):
            return refuse(403, "this host name is not served here; ask for 127.0.0.1 or localhost")
        return None


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal as {"error": reason}."""
    body = json.dumps({"error": reason})
    return Response(body, status, headers, media_type="application/json")


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port.

    >>> host_name("LOCALHOST:8000"), host_name("[::1]:8000"), host_name("evil.example")
    ('localhost', '::1', 'evil.example')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def hosts_for(bound_to: str) -> frozenset[str] | None:
    """Return the host names to answer for an address: loopback ones, or None (any) elsewhere.

    >>> sorted(hosts_for("127.0.0.1")), hosts_for("0.0.0.0")
    (['127.0.0.1', '::1', 'localhost'], None)
    """
    try:
        loopback = ipaddress.ip_address(bound_to).is_loopback
    except ValueError:
        loopback = bound_to.lower() == "localhost"
    return _LOCAL_NAMES | {bound_to.lower()} if loopback else None
