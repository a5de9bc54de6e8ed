"""Two drivers reconstruct one run: what either has published stays, whoever is late."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fadae
from fadae.errors import TransientError
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from fadae.store.paths import FEATURES, reconstruction_path
from tests.store.staged import tree
from tests.store.test_publication import Killed, before_write
from tests.synthetic import music, write_features, write_run

FIRST, MORE = "a/first.ogg", "b/more.ogg"
STORE = reconstruction_path("default")
ROOT = f"{STORE}/zarr.json"


def begun(folder: Path) -> Location:
    location = Location(str(folder))
    write_features(location, {FIRST: music(3, seed=1)})
    write_run(location)
    return location


def grow(location: Location) -> None:
    write_features(location, {MORE: music(4, seed=2)})
    reconstruct(location)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of one driver after another."""
    location = begun(tmp_path_factory.mktemp("quiet"))
    reconstruct(location)
    grow(location)
    return tree(Path(location.url) / "reconstructions")


@contextlib.contextmanager
def before_read(
    monkeypatch: pytest.MonkeyPatch, path: str, count: int, do: Callable[[], None]
) -> Iterator[None]:
    """Have something done before the `count`-th read of an object."""
    read, times = Location.read_bytes, 0

    def noted(self: Location, target: str, *arguments: Any) -> bytes:
        nonlocal times
        times += target == path
        if target == path and times == count:
            with monkeypatch.context() as undone:
                undone.setattr(Location, "read_bytes", read)
                do()
        return read(self, target, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Location, "read_bytes", noted)
        yield


@pytest.mark.parametrize(("path", "count"), [(ROOT, 1), (f"{FEATURES}/zarr.json", 1), (ROOT, 2)])
def test_one_that_has_read_little_takes_nothing_back(
    path: str,
    count: int,
    quiet: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is stopped before it reads; features grow and another reconstructs them; it goes on."""
    location = begun(tmp_path)
    reconstruct(location)
    with before_read(monkeypatch, path, count, lambda: grow(location)):
        reconstruct(location)
    assert tree(tmp_path / "reconstructions") == quiet


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("path", [f"{STORE}/recording_id/c/0", f"{STORE}/audio/zarr.json", ROOT])
def test_one_that_is_overtaken_takes_nothing_back(
    path: str,
    killed: bool,
    quiet: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is stopped before a write of publication; another publishes twice; it goes on or dies."""
    location = begun(tmp_path)

    def meanwhile() -> None:
        reconstruct(location)
        grow(location)
        if killed:
            raise Killed

    # The first write of the root and of a document is that of creation.
    stop = before_write(monkeypatch, path, meanwhile, 1 if "/c/" in path else 2)
    with stop as written, contextlib.suppress(Killed):
        reconstruct(location)
    assert path in written
    assert np.isfinite(fadae.open(location.url).scores("default")["nmse_db"]).all()
    assert tree(tmp_path / "reconstructions") == quiet
    reconstruct(location)
    assert tree(tmp_path / "reconstructions") == quiet


@pytest.mark.parametrize("count", [1, 2])
def test_one_with_an_old_model_removes_nothing_of_the_new_one(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = begun(tmp_path)
    reconstruct(location)

    def train_again() -> None:
        write_run(location, seed=1, widths=(32, 8))
        reconstruct(location)

    stop = before_read(monkeypatch, ROOT, count, train_again)
    with stop, pytest.raises(TransientError, match="trained again meanwhile"):
        reconstruct(location)
    published = tree(tmp_path / "reconstructions")
    assert reconstruct(location)["shards_written"] == 0
    assert tree(tmp_path / "reconstructions") == published
