"""How politely an archive is asked: pauses, back-off, deadlines, limits, circuit breaker."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fadae.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """The client's patience. The defaults are archive.org's wishes; tests scale the times down."""

    metadata_pause_seconds: float = 1.0
    """Between the starts of two metadata or search requests of one process."""
    attempts: int = 6
    """Of one file or one page of metadata, before it fails as transient."""
    corrupt_attempts: int = 3
    """Transfers with a wrong checksum, before the file fails as permanent."""
    backoff_seconds: float = 1.0
    """Most seconds to wait before the second attempt; doubles with each."""
    backoff_cap_seconds: float = 60.0
    refusals: int = 3
    """Connections refused in a row that count as a block."""
    block_seconds: float = 60.0
    """Without a request after a block."""
    connect_seconds: float = 15.0
    read_seconds: float = 60.0
    """Without a byte, or before the headers are whole."""
    deadline_seconds: float = 3600.0
    """One file, attempts and waits included."""
    minimum_bytes_per_second: float = 8192.0
    """Mean over any `throughput_seconds`, below which a transfer is given up and resumed."""
    throughput_seconds: float = 60.0
    metadata_bytes: int = 64 * 2**20
    """Of one answer, decompressed."""
    file_bytes: int = 4 * 2**30

    @property
    def retries(self) -> RetryPolicy:
        """How often, how long and with which pauses one file or page is tried."""
        return RetryPolicy(
            total_seconds=self.deadline_seconds,
            attempts=self.attempts,
            first_pause_seconds=self.backoff_seconds,
            longest_pause_seconds=self.backoff_cap_seconds,
        )


DEFAULT_POLICY = RequestPolicy()


class RateLimiter:
    """Spaces the requests of a process's threads: each waits for its own time slot."""

    def __init__(self, pause_seconds: float) -> None:
        """Take the seconds between two requests."""
        self._pause_seconds = pause_seconds
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is this caller's time to ask."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._pause_seconds
        time.sleep(start - now)


class CircuitBreaker:
    """Notices that a host refuses connections, and then holds every thread off for a while."""

    def __init__(self, refusals: int, block_seconds: float) -> None:
        """Take how many refusals in a row are a block, and how long to stay away."""
        self._limit = refusals
        self._seconds = block_seconds
        self._refused = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when there is no block, or when it is over."""
        time.sleep(max(0.0, self._until - time.monotonic()))

    def accepted(self) -> None:
        """Note that a connection was accepted."""
        self._refused = 0

    def refused(self) -> bool:
        """Note a refusal; return whether it begins or prolongs a block."""
        with self._lock:
            self._refused += 1
            if self._refused < self._limit:
                return False
            self._until = time.monotonic() + self._seconds
            return True


def retry_after_seconds(header: str | None) -> float | None:
    """Return the wait that a Retry-After header asks for: seconds or a date; None for neither.

    >>> retry_after_seconds("120"), retry_after_seconds("soon"), retry_after_seconds(None)
    (120.0, None, None)
    >>> retry_after_seconds("Fri, 31 Dec 1999 23:59:59 GMT")
    0.0
    """
    if header is None:
        return None
    text = header.strip()  # of more than float() would
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
