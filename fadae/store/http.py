"""A workspace behind a web server or a content delivery network: objects read, never listed.

What fsspec's HTTP files lack is here: a server that ignores Range gives its whole object in place
of a part, and that must not be taken for the part; absent keys may be 403; parts are read from the
end; failures that pass are tried again. Names come from index.json (`listing`).
"""

from __future__ import annotations

import base64
import errno
import json
import logging
import os
import posixpath
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar
from urllib.parse import quote, unquote, urlsplit

from urllib3 import BaseHTTPResponse

from fadae._version import __version__
from fadae.archive import Connection, RequestPolicy, check_status, clean_text, retry
from fadae.errors import (
    AccessError,
    PermanentFailure,
    StorageError,
    TransientFailure,
    UsageError,
)
from fadae.store.paths import FEATURES, LISTED, LISTING
from fadae.store.spans import Span, at_most, part_of

log = logging.getLogger("fadae.store")

# A call's attempts end after as long as those of a bucket do; a transfer may take its time.
POLICY = RequestPolicy(
    attempts=10_000,
    refusals=10_000,  # a server that is being restarted refuses all
    backoff_seconds=0.1,
    backoff_cap_seconds=5.0,
    connect_seconds=5.0,
    read_seconds=15.0,
    deadline_seconds=180.0,
    throughput_seconds=20.0,
)
TRANSFER_SECONDS = 3600.0
LISTING_SECONDS = 2.0  # how long names are taken for those of now
_KEPT_DOCUMENTS, _KEPT_BYTES = 64, 2**20
_RACY_SECONDS = 2.0
_GONE = (404, 410)

T = TypeVar("T")


class HiddenError(FileNotFoundError):
    """403: an object that is not there, as a bucket tells it that nobody may list; or forbidden."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a server says of an object: its bytes, and when it was written (s since 1970)."""

    size: int
    mtime: float


class HttpFiles:
    """The objects below one http:// or https:// URL, by their whole URLs; for many threads.

    It has those of fsspec's verbs that `Location` calls and that read.
    """

    async_impl = False

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Take the URL, credentials left out, and headers that go to its own server alone."""
        self._url = url
        agent = f"fadae/{__version__}"
        self._connection = Connection(url, agent, POLICY, own_headers=headers, anywhere=True)
        self._documents: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._listed: tuple[float, Mapping[str, list[str]] | None] = (float("-inf"), None)
        self._warned = set[str]()

    def _strip_protocol(self, url: str) -> str:
        return url

    # --- what is there ---

    def exists(self, url: str) -> bool:
        """Return whether an object is there."""
        try:
            self._told(url)
        except FileNotFoundError:
            return False
        return True

    def info(self, url: str) -> Mapping[str, object]:
        """Return the size of an object and when it was written; raises FileNotFoundError."""
        told = self._told(url)
        return {"name": url, "type": "file", "size": told.size, "mtime": told.mtime}

    def _told(self, url: str) -> _Told:
        def told(response: BaseHTTPResponse) -> _Told:
            length = response.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() else -1
            return _Told(size, _seconds(response.headers.get("Last-Modified")))

        found = self._ask("HEAD", url, {}, told)
        if found.size < 0:
            raise StorageError(f"{_shown(url)}: the server does not say how long it is")
        return found

    def ls(self, url: str, detail: bool = False) -> list[str]:
        """Return what index.json names below a folder; raises UsageError where it tells nothing."""
        folder = url.removeprefix(self._url).strip("/")
        listing = self.listing()
        if folder in LISTED:
            return [posixpath.join(url, name) for name in (listing or {}).get(folder, [])]
        if folder:
            self._unlisted(folder)
        if listing is not None:
            below = {FEATURES, *(name for name, names in listing.items() if names)}
            return [posixpath.join(self._url, name) for name in sorted(below)]
        root = f"{self._url}/{FEATURES}/zarr.json"
        try:
            self._told(root)
        except HiddenError as error:
            raise AccessError(
                f"{_shown(root)}: {error.strerror}: not there, or not for you"
            ) from error
        except FileNotFoundError:
            return []
        self._warn(
            f"{self._url} has no {LISTING}: its runs and comparisons are not known; "
            "`fadae extract` of this version writes one"
        )
        return [f"{self._url}/{FEATURES}"]

    def find(self, url: str, detail: bool = False) -> NoReturn:
        """Raise UsageError: a server does not say what lies below a folder."""
        self._unlisted(url.removeprefix(self._url).strip("/"))

    def _unlisted(self, folder: str) -> NoReturn:
        raise UsageError(
            f"{self._url}: what lies in {folder or 'it'} cannot be listed over http; ask with the "
            "folder or bucket that is behind it"
        )

    def listing(self) -> Mapping[str, list[str]] | None:
        """Return the names in the folders that index.json tells of; None where there is none."""
        with self._lock:
            asked, listing = self._listed
        if time.monotonic() - asked >= LISTING_SECONDS:
            try:
                listing = _listing(self._document(f"{self._url}/{LISTING}"))
            except FileNotFoundError:
                listing = None
            with self._lock:
                self._listed = (time.monotonic(), listing)
        return listing

    # --- bytes ---

    def cat_file(self, url: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return an object's bytes, or a range of them; raises FileNotFoundError."""
        return self.read(url, Span(start or 0, end))

    def read(self, url: str, span: Span) -> bytes:
        """Return a span of an object, as far as it is there; raises FileNotFoundError."""
        if span.is_empty:
            return b""
        if span.is_whole and url.endswith(".json"):
            return self._document(url)
        headers = {} if span.is_whole else {"Range": span.header}
        return self._ask("GET", url, headers, lambda response: self._body(url, response, span))

    def _document(self, url: str) -> bytes:
        """Return a document, not sent again where it is the version that was read before."""
        with self._lock:
            known = self._documents.get(url)
        headers = {"Cache-Control": "no-cache"}  # caches on the way are to look
        if known is not None:
            headers["If-None-Match"] = known[0]

        def read(response: BaseHTTPResponse) -> tuple[str, bytes]:
            if response.status == 304 and known is not None:
                return known
            data = self._body(url, response, Span())
            return (response.headers.get("ETag", "") if _is_settled(response) else ""), data

        version, data = self._ask("GET", url, headers, read)
        with self._lock:
            self._documents.pop(url, None)
            if version and len(data) <= _KEPT_BYTES:
                self._documents[url] = (version, data)
            while len(self._documents) > _KEPT_DOCUMENTS:
                self._documents.popitem(last=False)
        return data

    def _body(self, url: str, response: BaseHTTPResponse, span: Span) -> bytes:
        """Return what an answer holds of a span, whether its server knows Range or not."""
        if response.status == 416:
            return b""
        chunks = self._connection.chunks(response, time.monotonic() + TRANSFER_SECONDS)
        if response.status == 206:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise AccessError(f"{_shown(url)}: the server compresses parts of objects")
            expected = span.answers(response.headers.get("Content-Range"))
            data = b"".join(at_most(expected, chunks, _shown(url))) if expected is not None else b""
            if len(data) != expected:
                raise TransientFailure(f"{_shown(url)}: another part than asked for arrived")
            return data
        if not span.is_whole:
            host = urlsplit(url).netloc
            self._warn(f"{host} ignores Range: each part of an object costs all of it")
        most = POLICY.metadata_bytes if url.endswith(".json") else POLICY.file_bytes
        return part_of(at_most(most, chunks, _shown(url)), span)

    # --- asking ---

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        use: Callable[[BaseHTTPResponse], T],
    ) -> T:
        """Return what `use` makes of an answer; failures that pass are tried again."""
        target = self._url + quote(url.removeprefix(self._url), safe="/")
        given = {"Accept-Encoding": "identity", **headers}

        def attempt(deadline: float) -> T | FileNotFoundError:
            try:
                with self._connection.get(target, given, deadline, method) as response:
                    # Handed back: raised in the block, it would pass for a lost connection.
                    return _absent(response, url) or use(response)
            except TransientFailure as error:
                if (reason := _untrusted(error)) is not None:
                    raise AccessError(
                        f"{_shown(url)}: its certificate is not to be trusted ({reason}); "
                        "SSL_CERT_FILE names the file of an authority of your own"
                    ) from error
                raise

        try:
            answer = retry(attempt, POLICY, "storage")
        except TransientFailure as error:
            raise StorageError(f"{error}; then run the same command again") from error
        except PermanentFailure as error:
            raise AccessError(f"{error}; check the URL and your rights") from error
        if isinstance(answer, FileNotFoundError):
            raise answer
        return answer

    def _warn(self, text: str) -> None:
        with self._lock:
            is_new = text not in self._warned
            self._warned.add(text)
        if is_new:
            log.warning("%s", text)


def split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its user and password, and the header that they become (RFC 7617).

    Raises UsageError for a URL that is none, or that has more than a path; it repeats no secret.

    >>> split_credentials("https://me:secret@example.org/bach/")
    ('https://example.org/bach', {'Authorization': 'Basic bWU6c2VjcmV0'})
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or parts.query or parts.fragment:
        raise UsageError(
            f"not the URL of a workspace: {clean_text(url.partition('?')[0].rpartition('@')[2])!r}"
            "; it has a host and a path, as https://example.org/bach, and no '?' or '#'"
        )
    netloc = parts.netloc.rpartition("@")[2]
    plain = f"{parts.scheme}://{netloc}{parts.path}".rstrip("/")
    if parts.username is None:
        return plain, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return plain, {"Authorization": f"Basic {base64.b64encode(login).decode()}"}


def _absent(response: BaseHTTPResponse, url: str) -> FileNotFoundError | None:
    """Return the error of an object that is not there; raise what any other status stands for."""
    status = response.status
    if status in _GONE:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), _shown(url))
    if status == 403:
        return HiddenError(errno.ENOENT, "403 Forbidden", _shown(url))
    if status not in (304, 416):
        check_status(response, _shown(url))
    return None


def _listing(data: bytes) -> Mapping[str, list[str]]:
    """Return the names that index.json tells of; raises StorageError where it is none.

    >>> _listing(b'{"names": {"runs": ["b", "../a", 3]}, "version": 1}')
    {'runs': ['b']}
    """
    try:
        names: Mapping[str, object] = json.loads(data)["names"]
        found = {folder: names.get(folder) for folder in LISTED if folder in names}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(f"{LISTING} is not what fadae writes ({error!r})") from error
    return {
        folder: sorted(name for name in given if isinstance(name, str) and _is_name(name))
        for folder, given in found.items()
        if isinstance(given, list)
    }


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name


def _is_settled(response: BaseHTTPResponse) -> bool:
    """Return whether an object is old enough for its ETag to change when it does.

    Servers make ETags of the second it was written in and of its length.
    """
    written, now = (_seconds(response.headers.get(name)) for name in ("Last-Modified", "Date"))
    return now - written >= _RACY_SECONDS


def _seconds(header: str | None) -> float:
    """Return the moment that a header tells, in s since 1970; minus infinity where it tells none.

    >>> _seconds("Thu, 01 Jan 1970 00:01:00 GMT"), _seconds("soon"), _seconds(None)
    (60.0, -inf, -inf)
    """
    try:
        return parsedate_to_datetime(header or "").timestamp()
    except (ValueError, OverflowError):
        return float("-inf")


def _untrusted(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, where that is what an error comes of."""
    while error is not None:
        for one in (error, *error.args):
            if isinstance(one, ssl.SSLCertVerificationError):
                return one.verify_message or str(one.reason)
        error = error.__cause__ or error.__context__
    return None


def _shown(url: str) -> str:
    return clean_text(url, 200)
