"""Drivers that meet: whatever the order of their writes, a published row stays what it was."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fadae
from fadae.stages.extract import extract, extract_shard
from fadae.store.frames import FrameStore, OvertakenError
from fadae.store.history import HISTORY, history_path, publication_numbers
from fadae.store.indexing import superseded
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.plan import Plan
from fadae.store.publication import publish
from fadae.store.verify import verify
from tests.store.staged import stage_all, tree

ROOT = f"{FEATURES}/zarr.json"
WRITES = ("write_bytes", "replace", "create_exclusive")


def pruned(location: Location) -> dict[str, str]:
    """What is there without the objects of the index that whoever was late wrote for nothing."""
    location.delete_many(superseded(FrameStore.open(location, FEATURES), 3))
    return tree(Path(location.url))


def assert_nothing_is_lost(location: Location, quiet: Path) -> None:
    """All recordings are shown, `verify` is content, and a rerun ends in a quiet run's bytes."""
    seen = fadae.open(location.url)
    assert [one.id for one in seen.recordings] == ["a/1", "b/1", "b/2", "c/1"]
    assert verify(location)["problems"] == []
    extract(location, keep_staging=True)
    assert pruned(location) == tree(quiet)


class Killed(BaseException):
    """In place of SIGKILL: nothing in fadae catches it."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace with one publication, and one of the same recordings with all three."""
    folder = tmp_path_factory.mktemp("publication")
    once, quiet = folder / "once", folder / "quiet"
    stage_all(Location(str(once)), {"a/1": 9000})
    extract(Location(str(once)), keep_staging=True)
    shutil.copytree(once, quiet)
    for growth in (grow_first, grow_second):
        growth(Location(str(quiet)))
        extract(Location(str(quiet)), keep_staging=True)
    pruned(Location(str(quiet)))
    return once, quiet


def grow_first(location: Location) -> None:
    stage_all(location, {"b/1": 5000, "b/2": 6000}, first_seed=1)


def grow_second(location: Location) -> None:
    stage_all(location, {"c/1": 7000}, first_seed=3)


@contextlib.contextmanager
def before_write(
    monkeypatch: pytest.MonkeyPatch, path: str, do: Callable[[], None], count: int = 1
) -> Iterator[list[str]]:
    """Have something done in place of the `count`-th write to a path, and the write after it.

    Gives the paths of all writes so far.
    """
    written: list[str] = []

    def noting(write: Any) -> Any:
        def noted(self: Location, target: str, *arguments: Any) -> Any:
            written.append(target)
            if target == path and written.count(path) == count:
                with monkeypatch.context() as undone:
                    for name, original in originals.items():
                        undone.setattr(Location, name, original)
                    do()
            return write(self, target, *arguments)

        return noted

    originals = {name: getattr(Location, name) for name in WRITES}
    with monkeypatch.context() as patched:
        # A folder's `replace` writes through write_bytes: counted once, where it begins.
        for name in ("replace", "create_exclusive"):
            patched.setattr(Location, name, noting(originals[name]))
        yield written


def publish_twice(location: Location) -> None:
    """What another driver does meanwhile: it adopts the plan, then grows the workspace."""
    extract(location, keep_staging=True)
    grow_second(location)
    extract(location, keep_staging=True)


STOPS = [
    (f"{FEATURES}/recording_id/c/0", 1),
    (f"{FEATURES}/recording_frame_count/c/0", 1),
    (f"{FEATURES}/features/zarr.json", 1),
    (ROOT, 1),
    (ROOT, 2),  # after the columns: the first is the creation of what is there
    (history_path(2), 1),
]


@pytest.mark.parametrize(("path", "count"), STOPS)
@pytest.mark.parametrize("killed", [False, True])
def test_a_driver_that_is_overtaken_twice_takes_nothing_back(
    path: str,
    count: int,
    killed: bool,
    grown: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is stopped before a write; another publishes twice; it goes on, to be killed or not."""
    location = Location(str(shutil.copytree(grown[0], tmp_path / "workspace")))
    grow_first(location)

    def meanwhile() -> None:
        publish_twice(location)
        if killed:
            raise Killed

    with before_write(monkeypatch, path, meanwhile, count), contextlib.suppress(Killed):
        extract(location, keep_staging=True)
    assert_nothing_is_lost(location, grown[1])


def test_killed_after_its_last_column_it_hides_no_row(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its columns were written late, over those of two publications, and it never ends."""
    location = Location(str(shutil.copytree(grown[0], tmp_path / "workspace")))
    grow_first(location)

    def die() -> None:
        raise Killed

    stop = before_write(
        monkeypatch, f"{FEATURES}/recording_id/c/0", lambda: publish_twice(location)
    )
    # The first document comes after the last column; its first write is that of creation.
    late = before_write(monkeypatch, f"{FEATURES}/audio/zarr.json", die, count=2)
    with stop, late, contextlib.suppress(Killed):
        extract(location, keep_staging=True)
    assert_nothing_is_lost(location, grown[1])


def test_repair_beside_a_driver_sets_nothing_back(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repair has read the root; a driver publishes twice; repair writes what it found missing."""
    location = Location(str(shutil.copytree(grown[0], tmp_path / "workspace")))
    document = f"{FEATURES}/recording_title/zarr.json"
    (Path(location.url) / document).unlink()
    (Path(location.url) / f"{FEATURES}/recording_title/c/0").unlink()
    grow_first(location)
    with (
        before_write(monkeypatch, document, lambda: None),
        before_write(monkeypatch, f"{FEATURES}/recording_title/c/0", lambda: None),
    ):
        verify(location, recompute=extract_shard)
    with before_write(monkeypatch, document, lambda: publish_twice(location)):
        (Path(location.url) / document).unlink()
        verify(location, recompute=extract_shard)
    assert verify(location)["problems"] == []
    assert len(fadae.open(location.url).recordings) == 4
    assert pruned(location) == tree(grown[1])


def test_repair_leaves_rows_that_a_driver_is_about_to_publish(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver has written its columns; repair writes one again; the driver publishes."""
    location = Location(str(shutil.copytree(grown[0], tmp_path / "workspace")))
    grow_first(location)

    def damage_and_repair() -> None:
        (Path(location.url) / f"{FEATURES}/recording_title/c/0").write_bytes(b"")
        verify(location, recompute=extract_shard)

    # Its first write there is the creation of what is there already.
    with before_write(monkeypatch, ROOT, damage_and_repair, count=2):
        extract(location, keep_staging=True)
    titles = [one.title for one in fadae.open(location.url).recordings]
    assert titles == ["Title of 1", "Title of 1", "Title of 2"]
    assert verify(location)["problems"] == []


def test_a_plan_is_not_published_before_the_one_it_follows(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    location = Location(str(shutil.copytree(grown[1], tmp_path / "workspace")))
    last = Plan.read(location, 2)
    assert last is not None
    location.write_bytes(ROOT, location.read_bytes(history_path(1)))
    with pytest.raises(OvertakenError, match="plan 2 comes after one that is not published"):
        publish(last)
    assert location.read_bytes(ROOT) == location.read_bytes(history_path(1))


def test_a_root_that_is_not_what_was_opened_is_not_replaced(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    location = Location(str(shutil.copytree(grown[0], tmp_path / "workspace")))
    opened = FrameStore.open(location, FEATURES)
    opened.publish(opened.rows, opened.recording_rows, {"title": "another"})
    with pytest.raises(OvertakenError):
        opened.publish(opened.rows, opened.recording_rows, {"title": "late"})
    assert FrameStore.open(location, FEATURES).attrs["title"] == "another"


@pytest.mark.parametrize("back", [0, 1])
def test_a_root_set_back_is_told_and_set_right(
    back: int, grown: tuple[Path, Path], tmp_path: Path
) -> None:
    location = Location(str(shutil.copytree(grown[1], tmp_path / "workspace")))
    assert publication_numbers(location) == [1, 2, 3]
    old = location.read_bytes(history_path(1 + back))
    location.write_bytes(ROOT, old)
    told = [one["path"] for one in verify(location)["problems"]]
    assert ROOT in told
    verify(location, recompute=extract_shard)
    assert verify(location)["problems"] == []
    assert pruned(location) == tree(grown[1])


def test_a_lost_root_comes_back_from_the_history(grown: tuple[Path, Path], tmp_path: Path) -> None:
    location = Location(str(shutil.copytree(grown[1], tmp_path / "workspace")))
    location.delete(ROOT)
    extract(location, keep_staging=True)
    assert pruned(location) == tree(grown[1])


def test_an_old_publication_opens_on_what_it_told(grown: tuple[Path, Path]) -> None:
    url = str(grown[1])
    first, last = fadae.open(url, at=1), fadae.open(url)
    assert [one.id for one in first.recordings] == ["a/1"]
    assert len(fadae.open(url, at="2").recordings) == 3
    assert (
        first.select("a/1").features.values.tobytes()
        == last.select("a/1").features.values.tobytes()
    )
    assert [one.number for one in last.history()] == [3, 2, 1]
    assert [one.recordings for one in last.history(2)] == [4, 3]
    with pytest.raises(fadae.FadaeError, match="keeps no publication 7; it has 1, 2, 3"):
        _ = fadae.open(url, at=7).recordings
    with pytest.raises(fadae.FadaeError, match="neither the number of a publication nor a date"):
        _ = fadae.open(url, at="yesterday").recordings
    with pytest.raises(fadae.FadaeError, match="had published nothing by 2001-01-01"):
        _ = fadae.open(url, at="2001-01-01").recordings
    assert json.loads(json.dumps(last.history()[0].published)).startswith("20")


def test_a_second_repair_takes_no_publication_back(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the root damaged; another repairs it and all is published; it goes on."""
    location = Location(str(shutil.copytree(grown[1], tmp_path / "workspace")))
    location.delete(HISTORY)
    location.write_bytes(ROOT, b"{")

    def meanwhile() -> None:
        verify(location, recompute=extract_shard)
        assert FrameStore.open(location, FEATURES).recording_rows == 0
        extract(location, keep_staging=True)

    with before_write(monkeypatch, ROOT, meanwhile) as written:
        verify(location, recompute=extract_shard)
    assert ROOT in written
    assert [one.id for one in fadae.open(location.url).recordings] == ["a/1", "b/1", "b/2", "c/1"]
    assert pruned(location) == tree(grown[1])


def test_repair_of_bands_removes_none_on_the_way(
    grown: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader beside finds the damage or the repair; nor is another's repair undone."""
    location = Location(str(shutil.copytree(grown[1], tmp_path / "workspace")))
    band = f"{FEATURES}/band_low_hz/c/0"
    location.write_bytes(band, b"0")
    removed: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Location, "delete", lambda self, path: removed.append(path))
        patched.setattr(Location, "delete_many", lambda self, paths: removed.extend(paths))
        verify(location, recompute=extract_shard)
    assert removed == []
    assert tree(Path(location.url)) == tree(grown[1])
