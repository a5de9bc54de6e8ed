"""A small archive.org on loopback: metadata, search, 302 downloads with Range, and its bad days."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from fadae.embedded.faults import Fault, Mischief
from fadae.embedded.handlers import DatanodeHandler, FrontHandler, Listener, Request
from fadae.embedded.holdings import HeldItem, folder_item

LOOPBACK = "127.0.0.1"


class EmbeddedArchive:
    """A running archive; a context manager that stops it.

    It listens on loopback only, on two free ports: the front, `url`, and the datanode that
    downloads are redirected to. It keeps every request and counts transfers under way.

    >>> with EmbeddedArchive([HeldItem("item", {"title": "Nothing"})]) as archive:
    ...     archive.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        items: Iterable[HeldItem] | Path | str,
        faults: Iterable[Fault] = (),
        transfer_seconds: float = 0.0,
    ) -> None:
        """Take items, or a folder whose files shall be one; every transfer lasts so long at least.

        The server runs from `start`, or the start of the `with` block.
        """
        held = [folder_item(Path(items))] if isinstance(items, str | Path) else list(items)
        self.items = {item.identifier: item for item in held}
        self.mischief = Mischief(faults)
        self.transfer_seconds = transfer_seconds
        self.requests: list[Request] = []
        self.transfers = 0
        self.most_transfers = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._front: Listener | None = None
        self._datanode: Listener | None = None
        self._port = 0
        # Bound but never listening: connections to it are refused for as long as it is held.
        self._closed = socket.socket()

    def start(self, port: int = 0) -> Self:
        """Listen, at a free port unless one is given; return the archive."""
        self._closed.bind((LOOPBACK, 0))
        self._datanode = Listener((LOOPBACK, 0), DatanodeHandler, self)
        self._front = Listener((LOOPBACK, port), FrontHandler, self)
        self._port = self._front.server_port
        return self

    def stop(self) -> None:
        """Stop listening and end every stalled answer."""
        self.stopping.set()
        for listener in (self._front, self._datanode):
            if listener is not None:
                listener.stop()
        self._front = self._datanode = None
        self._closed.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The archive's address, for --archive-url."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def datanode_url(self) -> str:
        """Where downloads are redirected to."""
        assert self._datanode is not None, "the archive is not running"
        return f"http://{LOOPBACK}:{self._datanode.server_port}"

    @property
    def closed_url(self) -> str:
        """An address that refuses connections."""
        return f"http://{LOOPBACK}:{self._closed.getsockname()[1]}"

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections to the front while the block runs, then listen at the same port."""
        assert self._front is not None, "the archive is not running"
        self._front.stop()
        try:
            yield
        finally:
            self._front = Listener((LOOPBACK, self._port), FrontHandler, self)

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
