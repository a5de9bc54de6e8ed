"""One GET from the archive: redirects, time-outs, statuses; every failure classified; retries."""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
import string
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

import urllib3
import urllib3.connection
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError
from urllib3.util import Timeout

from fadae import metrics
from fadae.archive.rate_limit import CircuitBreaker, RequestPolicy, retry_after_seconds
from fadae.archive.text import clean_text
from fadae.errors import PermanentFailure, TransientFailure

log = logging.getLogger("fadae.archive")

T = TypeVar("T")

ARCHIVE_HOST = "archive.org"
_CHUNK_BYTES = 2**16
_SHORT_BYTES = 2**12
_REDIRECTS = 5
_FORERUNNERS = 8
_CONNECTIONS_A_HOST = 16


class ThrottledFailure(TransientFailure):
    """The host asks for fewer requests, perhaps saying how long to wait."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        """Take the wait that the host asked for, if it did."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CorruptFailure(TransientFailure):
    """The bytes are not those the archive's metadata describes."""


class BlockedFailure(TransientFailure):
    """The host refuses connections again and again; asking more would only prolong it."""


def retry(
    attempt: Callable[[float], T], request_policy: RequestPolicy, counted_as: str = "archive"
) -> T:
    """Return attempt(deadline), tried again while it raises TransientFailure.

    The deadline is a time.monotonic() that holds for all attempts and pauses together. Pauses are
    those of `RetryPolicy`, and at least as long as a throttling host asks. Raises
    TransientFailure when attempts or time run out, PermanentFailure after
    `request_policy.corrupt_attempts` corrupt transfers, each with `attempts` set.
    """
    policy, started = request_policy.retries, time.monotonic()
    failures = corrupt = 0
    while True:
        try:
            return attempt(started + policy.total_seconds)
        except PermanentFailure as error:
            error.attempts = failures + 1
            raise
        except TransientFailure as error:
            failures += 1
            error.attempts = failures
            corrupt += isinstance(error, CorruptFailure)
            if corrupt >= request_policy.corrupt_attempts:
                permanent = PermanentFailure(f"{error}, {corrupt} times")
                permanent.attempts = failures
                raise permanent from error
            pause = max(_asked_seconds(error), policy.pause_seconds(failures))
            resumed_seconds = time.monotonic() - started + pause
            if isinstance(error, BlockedFailure) or policy.is_spent(failures, resumed_seconds):
                raise
            metrics.count("fadae_retries_total", counted_as)
            log.info("trying again in %.1f s: %s", pause, error)
        time.sleep(pause)


def _asked_seconds(error: TransientFailure) -> float:
    """Return how long a throttling host asks to wait, 0 where it does not say."""
    asked = error.retry_after_seconds if isinstance(error, ThrottledFailure) else None
    return asked or 0.0


class Connection:
    """GETs from one archive's hosts; for many threads, not to be pickled.

    Only the configured host, archive.org and the hosts below it are ever asked, whatever a
    redirect says, and never a plain-text one after an encrypted one.
    """

    def __init__(
        self,
        url: str,
        user_agent: str,
        request_policy: RequestPolicy,
        *,
        own_headers: Mapping[str, str] | None = None,
        anywhere: bool = False,
    ) -> None:
        """Take the archive's URL; nothing is asked yet.

        own_headers: for the URL's own origin only, credentials say. anywhere: follow redirects
        to any host, as the servers behind a content delivery network need it.
        """
        self._home = urlsplit(url).hostname or ""
        self._origin = _origin(url)
        self._request_policy = request_policy
        self._headers = {"User-Agent": user_agent}
        self._own_headers = dict(own_headers or {})
        self._anywhere = anywhere
        self._pool = _pool(url)
        self._blocks: dict[str, CircuitBreaker] = defaultdict(
            functools.partial(CircuitBreaker, request_policy.refusals, request_policy.block_seconds)
        )

    @contextlib.contextmanager
    def get(
        self, url: str, headers: Mapping[str, str], deadline: float, method: str = "GET"
    ) -> Iterator[BaseHTTPResponse]:
        """Yield the answer to a GET (or HEAD), redirects followed, its body unread.

        deadline: a time.monotonic(). Network errors become TransientFailure inside the block too.
        """
        for _ in range(_REDIRECTS + 1):
            own = self._own_headers if _origin(url) == self._origin else {}
            with self._ask(method, url, {**headers, **own}, deadline) as response:
                target = response.get_redirect_location()
                if not target:
                    yield response
                    return
                url = self._allowed(url, urljoin(url, _escaped(target)))
        raise TransientFailure(f"more than {_REDIRECTS} redirects from {_shown(url)}")

    @contextlib.contextmanager
    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], deadline: float
    ) -> Iterator[BaseHTTPResponse]:
        block = self._blocks[urlsplit(url).netloc]
        block.wait()
        try:
            response = self._pool.request(
                method,
                url,
                headers={**self._headers, **headers},
                timeout=self._timeout(deadline),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            block.accepted()
            try:
                yield response
            finally:
                self._give_back(response, deadline)
        except NewConnectionError as error:
            if isinstance(error.__cause__, ConnectionRefusedError) and block.refused():
                block.wait()
                raise BlockedFailure(f"{_shown(url)} refuses connections") from error
            raise TransientFailure(f"cannot connect to {_shown(url)}: {_reason(error)}") from error
        except LocationParseError as error:
            raise PermanentFailure(f"not an address: {_shown(url)}") from error
        except (HTTPError, OSError) as error:
            raise TransientFailure(f"lost {_shown(url)}: {_reason(error)}") from error

    def _give_back(self, response: BaseHTTPResponse, deadline: float) -> None:
        """Give a connection back to the pool: open only where its response was read to the end.

        An unread response, be its length 0, stays in the way of the connection's next one
        (http.client.ResponseNotReady). A short rest is read: it has mostly arrived already. A
        long or an endless one is cheaper to cut off.
        """
        left = response.length_remaining
        if not response.closed and left is not None and left <= _SHORT_BYTES:
            # The answer has served its purpose: what befalls its rest only costs the connection.
            with contextlib.suppress(HTTPError, OSError, TransientFailure):
                for _ in self.chunks(response, deadline):
                    pass
        if not response.closed:
            response.close()
        response.release_conn()

    def _timeout(self, deadline: float) -> Timeout:
        left = max(0.01, deadline - time.monotonic())
        return Timeout(
            connect=min(self._request_policy.connect_seconds, left),
            read=min(self._request_policy.read_seconds, left),
        )

    def _allowed(self, source: str, target: str) -> str:
        """Return a redirect's target; raises PermanentFailure for a foreign host."""
        try:
            old, new = urlsplit(source), urlsplit(target)
            host = new.hostname or ""
        except ValueError as error:
            raise PermanentFailure(f"{_shown(source)} redirects to nowhere") from error
        ours = host in (self._home, ARCHIVE_HOST) or host.endswith("." + ARCHIVE_HOST)
        ours = ours or (self._anywhere and bool(host))
        weaker = old.scheme == "https" and new.scheme == "http"
        if not ours or weaker or new.scheme not in ("http", "https"):
            raise PermanentFailure(
                f"{_shown(source)} redirects to a foreign host, {_shown(target)}"
            )
        return target

    def chunks(self, response: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        """Yield a body as it arrives, decompressed if it was compressed.

        Raises TransientFailure past the deadline, and below the minimum throughput.
        """
        request_policy = self._request_policy
        began, received = time.monotonic(), 0
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            yield chunk
            received += len(chunk)
            now = time.monotonic()
            if now > deadline:
                raise TransientFailure(f"not done within {request_policy.deadline_seconds:g} s")
            if now - began >= request_policy.throughput_seconds:
                if received < request_policy.minimum_bytes_per_second * (now - began):
                    raise TransientFailure(f"only {received / (now - began):.0f} bytes/s")
                began, received = now, 0


class _Response(http.client.HTTPResponse):
    """An answer whose informational forerunners are passed over: http.client knows only 100."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_FORERUNNERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_FORERUNNERS} informational answers")


class _PlainConnection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def check_status(response: BaseHTTPResponse, what: str) -> None:
    """Return where the answer is one to read; raises the failure that its status stands for."""
    status = response.status
    if status in (200, 206):
        return
    message = f"{what}: {status} {clean_text(response.reason or '', 60)}".rstrip()
    if status >= 500 or status in (408, 416, 425, 429):
        raise ThrottledFailure(message, retry_after_seconds(response.headers.get("Retry-After")))
    raise PermanentFailure(message)


def _pool(url: str) -> urllib3.PoolManager:
    """Return a connection pool, through the proxy that the environment names, if it does."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        login = urllib3.util.parse_url(proxy).auth
        manager: urllib3.PoolManager = urllib3.ProxyManager(
            proxy,
            maxsize=_CONNECTIONS_A_HOST,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
        )
    else:
        manager = urllib3.PoolManager(maxsize=_CONNECTIONS_A_HOST)
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return manager


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _escaped(target: str) -> str:
    """Return a redirect's target with its raw bytes escaped; what is escaped stays as it is.

    Headers arrive as Latin-1; servers that do not escape write UTF-8.
    """
    return quote(target.encode("latin-1", "replace"), safe=string.printable)


def _shown(url: str) -> str:
    return clean_text(url.partition("?")[0], 200)


def _reason(error: Exception) -> str:
    return clean_text(
        str(error.__cause__ or error).rpartition(": ")[2] or type(error).__name__, 200
    )
