"""Transfers of the embedded archive that wait for the test: what it does then meets them midway."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from fadae.embedded.server import EmbeddedArchive
from tests.hangs import HANG_SECONDS, wait_until


class Gate:
    """Holds every transfer of an archive, counted as under way, until it is opened."""

    def __init__(self, archive: EmbeddedArchive) -> None:
        self._archive, self._transfer = archive, archive.transfer
        self._opened = threading.Event()
        archive.transfer = self._held  # type: ignore[method-assign]

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._transfer():
            assert self._opened.wait(HANG_SECONDS)
            yield

    def wait(self, transfers: int) -> None:
        """Return when so many transfers are held."""
        wait_until(lambda: self._archive.transfers >= transfers)

    def open(self) -> None:
        """Have these transfers and all later ones go on."""
        self._opened.set()
