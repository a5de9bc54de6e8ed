"""A source as another package brings one: the WAV files of a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fadae.archive.source import Page, Slot
from fadae.records import Failure, Track


@dataclass(frozen=True)
class Shelf:
    """All WAV files that lie in a folder."""

    address: str

    def selection(self) -> dict[str, Any]:
        return {"shelf": self.address}

    def pages(self, after: Page | None = None) -> Iterator[Page]:
        if after is None:
            yield Page(0, tuple(sorted(path.name for path in Path(self.address).glob("*.wav"))))

    def tracks(self, page: Page, slot: Slot | None = None) -> Iterator[Track | Failure]:
        for name in page.entries:
            yield Track(item="shelf", file=name)

    def fetch(self, track: Track, to: Path) -> None:
        shutil.copy(Path(self.address) / track.file, to)
