"""One small feature store for all tests that only read it, each with a workspace of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fadae.store.location import Location
from tests.training.features import write_features

COUNTS = [300, 200, 150, 100, 90]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with features; two rows silent, one lost."""
    folder = tmp_path_factory.mktemp("published")
    write_features(Location(str(folder)), COUNTS, silent=(3, 4), failed=(7,))
    return folder


@pytest.fixture
def location(published: Path, tmp_path: Path) -> Location:
    """A workspace of the test's own with those features."""
    (tmp_path / "workspace").mkdir()
    shutil.copytree(published / "features.zarr", tmp_path / "workspace" / "features.zarr")
    return Location(str(tmp_path / "workspace"))
