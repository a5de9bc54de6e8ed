"""What the embedded archive remembers while it runs: items, faults, requests, transfers."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fadae.embedded.faults import Mischief
from fadae.embedded.items import HeldItem


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived: which part of the archive, for what, and who asked."""

    where: str
    name: str
    target: str
    range: str
    user_agent: str
    encoding: str
    seconds: float
    """time.monotonic() of its arrival."""


class ArchiveState:
    """An archive as its handlers see it: what it holds, what goes wrong, who asked for what."""

    datanode_url = ""
    """Where downloads are redirected to; empty before the archive runs."""
    closed_url = ""
    """An address that refuses connections; empty before the archive runs."""

    def __init__(
        self, items: dict[str, HeldItem], mischief: Mischief, transfer_seconds: float
    ) -> None:
        """Take items by identifier, the faults to come, and how long a transfer lasts at least."""
        self.items = items
        self.mischief = mischief
        self.transfer_seconds = transfer_seconds
        self.requests: list[Request] = []
        self.transfers = 0
        self.most_transfers = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def note(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self.requests.append(request)

    @contextlib.contextmanager
    def transfer(self) -> Iterator[None]:
        """Count a transfer while the block runs."""
        with self._lock:
            self.transfers += 1
            self.most_transfers = max(self.most_transfers, self.transfers)
        try:
            yield
        finally:
            with self._lock:
                self.transfers -= 1

    def count(self) -> Counter[str]:
        """Return how many requests each part of the archive has had."""
        with self._lock:
            return Counter(request.where for request in self.requests)
