"""A package installed beside fadae that brings a model of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.model import toy


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `pip install --target` leaves it: a module, and the metadata that name it."""
    folder = tmp_path_factory.mktemp("site-packages")
    shutil.copy(toy.__file__, folder / "fadae_toy.py")
    metadata = folder / "fadae_toy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fadae-toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[fadae.models]\ntoy = fadae_toy:Toy\nbroken = fadae_toy:Nothing\nodd = fadae_toy:step\n"
    )
    return folder


@pytest.fixture
def toy_installed(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, importable here and in every process started from here."""
    monkeypatch.syspath_prepend(str(toy_folder))
    monkeypatch.setenv("PYTHONPATH", str(toy_folder))
    return toy_folder
