"""A client for archive.org and hosts that speak like it: metadata, search, verified transfers."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fadae._version import __version__
from fadae.archive.connection import Connection, check_status, retry
from fadae.archive.rate_limit import RateLimiter, RequestPolicy
from fadae.archive.source import Slot
from fadae.archive.text import clean_text
from fadae.archive.transfer import Transfer
from fadae.errors import PermanentFailure, TransientFailure, UsageError
from fadae.records import Track

ARCHIVE_URL = "https://archive.org"
CONTACT = "https://github.com/fadae/fadae"
_REACH_SECONDS = 30.0
_JSON = {"Accept": "application/json", "Accept-Encoding": "gzip"}


class ArchiveClient:
    """Asks one archive, one metadata request at a time; for many threads, not to be pickled."""

    def __init__(
        self,
        url: str = ARCHIVE_URL,
        contact: str = CONTACT,
        request_policy: RequestPolicy | None = None,
    ) -> None:
        """Take the archive's URL and whom it may write to; raises UsageError for no URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"not an archive's URL: {clean_text(url)!r}; e.g. {ARCHIVE_URL}")
        self.url = url.rstrip("/")
        self._request_policy = request_policy or RequestPolicy()
        self._pace = RateLimiter(self._request_policy.metadata_pause_seconds)
        agent = f"fadae/{__version__} (+{clean_text(contact) or CONTACT})"
        self._connection = Connection(url, agent, self._request_policy)

    def metadata(self, item: str, slot: Slot | None = None) -> dict[str, Any]:
        """Return what the archive says about an item.

        Raises PermanentFailure for an item that is missing, dark or restricted, TransientFailure
        where the archive does not answer properly.
        """
        path = f"/metadata/{quote_name(item)}"
        answer = self._ask(f"{self.url}{path}", f"metadata of {clean_text(item)}", slot)
        if answer.get("is_dark"):
            raise PermanentFailure("the item is dark: withdrawn from the archive")
        about = answer.get("metadata")
        if not isinstance(about, dict):
            raise PermanentFailure("no such item")
        if str(about.get("access-restricted-item", "")).casefold() == "true":
            raise PermanentFailure("access to the item is restricted")
        return answer

    def scrape(
        self, query: str, cursor: str = "", count: int = 100, slot: Slot | None = None
    ) -> dict[str, Any]:
        """Return a page of a search: `items`, `total` and, but on the last page, `cursor`.

        Raises UsageError for a query that the archive rejects, TransientFailure otherwise.
        """
        values = {"q": query, "fields": "identifier", "sorts": "identifier", "count": str(count)}
        if cursor:
            values["cursor"] = cursor
        url = f"{self.url}/services/search/v1/scrape?{urlencode(values)}"
        try:
            answer = self._ask(url, f"search for {clean_text(query)}", slot)
        except PermanentFailure as error:
            raise UsageError(str(error)) from error
        if not isinstance(answer.get("items"), list):
            raise TransientFailure(f"search for {clean_text(query)}: no items in the answer")
        return answer

    def reach(self, item: str) -> None:
        """Ask once for an item's metadata and read no answer, to see whether the archive gives one.

        Raises TransientFailure or PermanentFailure where it does not; nothing is asked again.
        """
        deadline = time.monotonic() + _REACH_SECONDS
        url = f"{self.url}/metadata/{quote_name(item)}"
        with self._connection.get(url, _JSON, deadline) as response:
            check_status(response, f"metadata of {clean_text(item)}")

    def download(self, track: Track, to: Path) -> None:
        """Write a file of the archive, whole and verified by size and checksum.

        Raises TransientFailure or PermanentFailure; the file may then hold anything.
        """
        url = f"{self.file_url(track.item, track.file)}?cnt=0"  # cnt=0: not counted as a view
        with to.open("w+b") as file:
            limit = self._request_policy.file_bytes
            transfer = Transfer(self._connection, url, track, file, limit)
            retry(transfer.attempt, self._request_policy)

    def file_url(self, item: str, name: str) -> str:
        """Return where a file of an item is to be had.

        >>> ArchiveClient("http://127.0.0.1:1").file_url("item", "disc 1/a#?%41.ogg")
        'http://127.0.0.1:1/download/item/disc%201/a%23%3F%2541.ogg'
        """
        return f"{self.url}/download/{quote_name(item)}/{quote_name(name)}"

    def _ask(self, url: str, what: str, slot: Slot | None) -> dict[str, Any]:
        return retry(functools.partial(self._ask_once, url, what, slot), self._request_policy)

    def _ask_once(self, url: str, what: str, slot: Slot | None, deadline: float) -> dict[str, Any]:
        with slot() if slot else contextlib.nullcontext():
            self._pace.wait()
            with self._connection.get(url, _JSON, deadline) as response:
                body = bytearray()
                for chunk in self._connection.chunks(response, deadline):
                    body += chunk
                    if len(body) > self._request_policy.metadata_bytes:
                        raise PermanentFailure(f"{what}: a longer answer than is safe to read")
                complaint = _complaint(body)
                if complaint and response.status == 400:
                    raise PermanentFailure(f"{what}: the archive answers {complaint!r}")
                check_status(response, what)
        if complaint:
            raise TransientFailure(f"{what}: the archive answers {complaint!r}")
        return _parse(body, what)


def quote_name(name: str) -> str:
    """Return an item's or file's name as part of a URL's path, one to one.

    Dots that would walk up the path are escaped too: clients and servers resolve them otherwise.

    >>> quote_name("../a b/ü"), quote_name("v1.2.ogg")
    ('%2E%2E/a%20b/%C3%BC', 'v1.2.ogg')
    """
    parts = (quote(part, safe="") for part in name.split("/"))
    return "/".join(part.replace(".", "%2E") if part in (".", "..") else part for part in parts)


def _parse(body: bytes | bytearray, what: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TransientFailure(f"{what}: the archive's answer is not JSON") from error
    if not isinstance(answer, dict):
        raise TransientFailure(f"{what}: the archive's answer is not a JSON object")
    return answer


def _complaint(body: bytes | bytearray) -> str:
    """Return the error that an answer reports: the archive does so with status 200 too."""
    try:
        error = json.loads(body).get("error", "") if body[:1] == b"{" else ""
    except (ValueError, AttributeError, RecursionError):
        return ""
    return clean_text(error if isinstance(error, str | int) else json.dumps(error))
