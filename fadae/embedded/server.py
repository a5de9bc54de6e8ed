"""A small archive.org on loopback: metadata, search, 302 downloads with Range, and its bad days."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from fadae.embedded.faults import Fault, Mischief
from fadae.embedded.handlers import DatanodeHandler, FrontHandler, Listener
from fadae.embedded.items import HeldItem, folder_item
from fadae.embedded.state import ArchiveState

LOOPBACK = "127.0.0.1"


class EmbeddedArchive(ArchiveState):
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
        super().__init__(
            {item.identifier: item for item in held}, Mischief(faults), transfer_seconds
        )
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
        self.datanode_url = f"http://{LOOPBACK}:{self._datanode.server_port}"
        self.closed_url = f"http://{LOOPBACK}:{self._closed.getsockname()[1]}"
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

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections to the front while the block runs, then listen at the same port."""
        assert self._front is not None, "the archive is not running"
        self._front.stop()
        try:
            yield
        finally:
            self._front = Listener((LOOPBACK, self._port), FrontHandler, self)
