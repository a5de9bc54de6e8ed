"""One small feature store for all tests that only read it, each with a workspace of its own."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fadae.store.location import Location
from fadae.training.launch import train
from tests.hangs import wait_until
from tests.training.features import write_features
from tests.training.small import LONG, model_hash, small

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


@pytest.fixture(scope="session")
def exact_hash(published: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model of the exact run LONG over those features, undisturbed, at any number of ranks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(published / "features.zarr", folder / "features.zarr")
    location = Location(str(folder))
    train(location, small(reduction="exact", **LONG))
    return model_hash(location)


@pytest.fixture
def in_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have every rank's process run some Python before all else; in it `rank` is its number."""

    def run(code: str) -> None:
        folder = tmp_path / "in-ranks"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(
            "import sys\n"
            "if 'fadae.training.worker' in sys.orig_argv:\n"
            "    rank = int(sys.orig_argv[-1])\n" + textwrap.indent(code, "    ")
        )
        path = [str(folder), str(Path(__file__).resolve().parents[2])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

    return run


@dataclass(frozen=True)
class Held:
    """Ranks of which rank 0 waits at a step, and all with it, until they are released."""

    folder: Path

    def wait(self) -> None:
        """Return when rank 0 waits."""
        wait_until((self.folder / "held").exists)

    def release(self) -> None:
        """Have this rank 0 go on, and later ones never wait."""
        (self.folder / "released").touch()


@pytest.fixture
def held(tmp_path: Path, in_ranks: Callable[[str], None]) -> Callable[[int], Held]:
    """Have the ranks that will start wait at a step."""

    def at(step: int) -> Held:
        in_ranks(
            "if rank == 0:\n"
            "    from pathlib import Path\n"
            "    from tests.training.held import hold\n"
            f"    hold(Path({str(tmp_path)!r}), {step})\n"
        )
        return Held(tmp_path)

    return at
