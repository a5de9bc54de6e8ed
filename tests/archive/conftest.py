"""A running embedded archive that holds the small item."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae.embedded.server import EmbeddedArchive
from tests.archive.small import small_item


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EmbeddedArchive]:
    """An archive whose only item is `small`."""
    with EmbeddedArchive([small_item(tmp_path / "held")]) as running:
        yield running
