"""One file's bytes from the archive: resumed where they broke off, verified before they count."""

from __future__ import annotations

import hashlib
import re
from typing import IO

from urllib3 import BaseHTTPResponse

from fadae.archive.connection import Connection, CorruptFailure, check_status
from fadae.errors import PermanentFailure, TransientFailure
from fadae.records import Track

_HTML_BEGINNING = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Transfer:
    """What has arrived of one file so far; each attempt goes on where the last one ended."""

    def __init__(
        self, connection: Connection, url: str, track: Track, file: IO[bytes], limit_bytes: int
    ) -> None:
        """Take where the file is, what its metadata says of it, and where it shall be written.

        Raises PermanentFailure where the metadata already says that it is over the limit.
        """
        self._connection = connection
        self._url = url
        self._track = track
        self._file = file
        self._limit_bytes = limit_bytes
        self._check_limit(track.size_bytes or 0)
        self._restart()

    def attempt(self, deadline: float) -> None:
        """Return when the whole file is there and verified.

        Raises TransientFailure (CorruptFailure where the bytes are wrong) or PermanentFailure.
        """
        if self._received != self._track.size_bytes or not self._received:
            self._receive(deadline)
        self._verify()

    def _receive(self, deadline: float) -> None:
        # Compressed in transit, ranges and sizes would count other bytes than the checksum does.
        headers = {"Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
        with self._connection.get(self._url, headers, deadline) as response:
            total = self._begin(response)
            for chunk in self._connection.chunks(response, deadline):
                if not self._received:
                    self._check_content(chunk)
                self._append(chunk)
        if total is not None and self._received < total:
            raise TransientFailure(f"only {self._received} of {total} bytes arrived")

    def _begin(self, response: BaseHTTPResponse) -> int | None:
        """Return the file's size as this answer tells it, ready for its body; None if it does not.

        A host may ignore the range (200): then the file begins anew. Any other range than the one
        asked for does so with the next attempt.
        """
        if response.status == 416:
            self._restart()
            raise TransientFailure("the host refuses to resume")
        check_status(response, "download")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise PermanentFailure("a web page instead of the file")
        if response.status == 200:
            self._restart()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
        else:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not self._received or found is None or int(found[1]) != self._received:
                self._restart()
                raise TransientFailure("the host sent a different range than the one requested")
            total = None if found[3] == "*" else int(found[3])
        expected = self._track.size_bytes
        if None not in (total, expected) and total != expected:
            self._restart()
            raise CorruptFailure(f"{total} bytes served, {expected} in the metadata")
        return total

    def _check_content(self, chunk: bytes) -> None:
        if _HTML_BEGINNING.match(chunk):
            raise PermanentFailure("a web page instead of the file")

    def _append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._sha1.update(chunk)
        self._md5.update(chunk)
        self._received += len(chunk)
        self._check_limit(self._received)
        expected = self._track.size_bytes
        if expected is not None and self._received > expected:
            self._restart()
            raise CorruptFailure(f"more bytes served than the metadata's {expected}")

    def _verify(self) -> None:
        track = self._track
        if track.size_bytes is not None and self._received < track.size_bytes:
            raise TransientFailure(f"only {self._received} of {track.size_bytes} bytes arrived")
        for name, expected, found in (
            ("sha1", track.sha1, self._sha1.hexdigest()),
            ("md5", track.md5 if track.sha1 is None else None, self._md5.hexdigest()),
        ):
            if expected is not None and found != expected:
                self._restart()
                raise CorruptFailure(f"{name} is {found}, {expected} in the metadata")

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._received = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise PermanentFailure(f"larger than the limit of {self._limit_bytes} bytes")
