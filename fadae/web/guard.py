"""What stands before every answer: who may ask, how, and the headers that keep a page to itself."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fadae.errors import UsageError

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
# A Host header (RFC 9110, 7.2): a name or IPv4 address, or an IPv6 address in brackets; a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")


class Guard:
    """Middleware: GET and HEAD only, known host names only, safe headers.

    The host check stops another site's page from reading this server through a name of its own
    that resolves to this address (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        """Take the app to guard and the host names that may be asked for."""
        self.app = app
        self.hosts = frozenset(hosts)

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
            return refuse(
                405, "the listening room only reads: use GET or HEAD", {"Allow": "GET, HEAD"}
            )
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 or host_name(given[0].decode("latin-1")) not in self.hosts:
            return refuse(403, "this host name is not served here: see `fadae serve --allow-host`")
        return None


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal as {"error": reason}."""
    body = json.dumps({"error": reason})
    return Response(body, status, headers, media_type="application/json")


def host_name(host: str) -> str | None:
    """Return the name in a Host header, without its port; None where it is malformed.

    Each address has one spelling: that of `ipaddress`.

    >>> host_name("LOCALHOST:8000"), host_name("[0::1]:8000"), host_name("evil.example")
    ('localhost', '::1', 'evil.example')
    >>> host_name("[::1].evil.example"), host_name("localhost:80:evil.example"), host_name("")
    (None, None, None)
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    if found[1] is None:
        return found[2].lower()
    try:
        return str(ipaddress.IPv6Address(found[1]))
    except ValueError:
        return None


def hosts_for(bound_to: str, allowed: Iterable[str] = ()) -> frozenset[str]:
    """Return the host names to answer to on an address: its own and those that are allowed.

    An address of this computer alone has three names. "0.0.0.0" and "::", every address of this
    computer, have none that others can use: raises UsageError where none is allowed.

    >>> sorted(hosts_for("127.0.0.1")), sorted(hosts_for("192.168.0.7", ["Music.lan"]))
    (['127.0.0.1', '::1', 'localhost'], ['192.168.0.7', 'music.lan'])
    """
    names = frozenset(map(_allowed_name, allowed))
    try:
        address = ipaddress.ip_address(bound_to or "::")
    except ValueError:
        own = bound_to.lower()
        return names | (_LOCAL_NAMES if own == "localhost" else {own})
    if address.is_unspecified and not names:
        raise UsageError(
            f"--host {bound_to or repr(bound_to)} listens on every address of this computer: "
            "say by which name browsers will ask for it, e.g. --allow-host music.lan"
        )
    local = address.is_loopback or address.is_unspecified
    return names | (_LOCAL_NAMES if local else frozenset()) | {str(address)}


def _allowed_name(given: str) -> str:
    """Return a name to allow as `host_name` spells it; an IPv6 address needs no brackets here."""
    bracketed = f"[{given}]" if given.count(":") > 1 and not given.startswith("[") else given
    name = host_name(bracketed)
    if name is None or bracketed.rpartition("]")[2].count(":"):
        raise UsageError(
            f"--allow-host takes a host name or an address, without a port: {given!r} is neither"
        )
    return name
