"""What stands before every answer: who may ask, how, and the headers that keep a page to itself."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable
from secrets import compare_digest
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
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
MOST_REQUESTS = 16  # of one client, under way; browsers have six
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# A Host header (RFC 9110, 7.2): a name or IPv4 address, or an IPv6 address in brackets; a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")
_PAGE = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/")  # the path of a room, or of what leads to rooms
# What a link, a header (RFC 6750) and a cookie can all carry as it stands.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,512}")


class Guard:
    """Middleware: GET and HEAD only, known host names only, few requests at a time of one client,
    the token where there is one (`checked_token`), safe headers.

    A POST passes only to `posts`, from a page of the same origin, and as JSON: another site's page
    can send neither without asking first (CORS), and OPTIONS is refused.

    The host check stops another site's page from reading this server through a name of its own
    that resolves to this address (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        token: str | None = None,
        posts: Iterable[str] = (),
    ) -> None:
        """Take the app to guard, the host names that may be asked for, and what visitors show.

        posts: the paths that take a POST.
        """
        self.app = app
        self.hosts, self.posts = frozenset(hosts), frozenset(posts)
        self._token = None if token is None else token.encode()
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 401, 403, 405 or 429."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        client = client_of(scope["client"][0] if scope.get("client") else "")
        answer = self._refusal(scope, client) or self._login(scope) or self.app
        self._under_way[client] += 1
        try:
            await answer(scope, receive, send_guarded)
        finally:
            self._under_way[client] -= 1
            self._under_way += Counter()  # forgets who has none

    def _refusal(self, scope: Scope, client: str) -> Response | None:
        posted = scope["method"] == "POST" and scope["path"] in self.posts
        if scope["method"] not in ("GET", "HEAD") and not posted:
            return refuse(
                405, "the listening room only reads: use GET or HEAD", {"Allow": "GET, HEAD"}
            )
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 or host_name(given[0].decode("latin-1")) not in self.hosts:
            return refuse(403, "this host name is not served here: see `fadae serve --allow-host`")
        if posted and not _from_own_page(scope, given[0]):
            return refuse(403, "an answer comes from the page itself, as JSON")
        if self._under_way[client] >= MOST_REQUESTS:
            reason = f"{MOST_REQUESTS} requests from your address are under way; try again"
            return refuse(429, reason, {"Retry-After": "1"})
        return None

    def _login(self, scope: Scope) -> Response | None:
        """Return what comes in the app's place: a login, or a refusal where the token is missing.

        A login link, /?token=..., leaves the token in a cookie, which no script can read, and leads
        on to the same address without it: a relative one, as a proxy may have cut its beginning.
        """
        if self._token is None:
            return None
        asked = HTTPConnection(scope)
        # A browser sends a host's cookies to all its ports: two rooms there need two names.
        cookie = f"fadae-{(scope.get('server') or ('', ''))[1]}"
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        linked = next((value for name, value in query if name == "token"), None)
        if _PAGE.fullmatch(scope["path"]) and linked is not None and self._opens(linked):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            answer = Response(None, 303, {"Location": f"./?{rest}" if rest else "./"})
            secure = scope.get("scheme") == "https"
            # Lax, not strict: else a link in a message would open the page without its cookie.
            path = scope.get("root_path") or "/"
            answer.set_cookie(
                cookie, linked, path=path, secure=secure, httponly=True, samesite="lax"
            )
            return answer
        kind, _, sent = asked.headers.get("authorization", "").partition(" ")
        shown = sent.strip() if kind.lower() == "bearer" else asked.cookies.get(cookie, "")
        if self._opens(shown):
            return None
        reason = "show the token: open /?token=TOKEN in a browser, or send Authorization: Bearer"
        return refuse(401, reason, {"WWW-Authenticate": "Bearer"})

    def _opens(self, shown: str) -> bool:
        return self._token is not None and compare_digest(shown.encode("utf-8"), self._token)


def _from_own_page(scope: Scope, host: bytes) -> bool:
    """Return whether a POST is JSON and was sent by a page from this very address."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    schemes = (b"http://", b"https://")
    return kinds == [b"application/json"] and origins in [[one + host] for one in schemes]


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal as {"error": reason}."""
    body = json.dumps({"error": reason})
    return Response(body, status, headers, media_type="application/json")


def checked_token(text: str) -> str:
    """Return a token for visitors to show; raises UsageError, which never repeats it.

    >>> checked_token("correct-horse-battery\\n")
    'correct-horse-battery'
    """
    token = text.strip()
    if _TOKEN.fullmatch(token) is None:
        raise UsageError(
            "the token of FADAE_TOKEN or --token-file: 16 to 512 letters, digits, '.', '_', '~' "
            "and '-', as `openssl rand -hex 32` makes one"
        )
    return token


def client_of(host: str) -> str:
    """Return whom limits take for one client: an IPv4 address, or a network of IPv6, a /64.

    >>> client_of("192.168.0.7"), client_of("::ffff:192.168.0.7"), client_of("fd00::1:2:3:4")
    ('192.168.0.7', '192.168.0.7', 'fd00::/64')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # whatever a proxy calls it
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


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
