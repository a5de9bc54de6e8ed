"""A watch over a folder: what comes is taken once, whole, and survives a kill anywhere."""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fadae
from fadae.archive.folder import FolderSource
from fadae.config import Settings
from fadae.config.job import ExtractConfig
from fadae.errors import TransientError, UsageError
from fadae.forget import forget
from fadae.stages.extract import extract
from fadae.stages.ingest import ingest
from fadae.stages.watch import Files, Watch, WatchConfig, WatchedFiles
from fadae.store import Tombstone, write_tombstones
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from fadae.summaries import WatchSummary
from tests import command
from tests.audio.sounds import music, save
from tests.hangs import HANG_SECONDS
from tests.s3 import S3Server
from tests.synthetic import write_run

EXTRACT = ExtractConfig()


def watch(
    location: Location,
    source: FolderSource,
    run: str | None = None,
    stopping: Callable[[], bool] = lambda: False,
    until_idle: bool = True,
    exclude: str = "",
) -> WatchSummary:
    config = WatchConfig(
        source,
        Settings(exclude=exclude),
        EXTRACT,
        run=run,
        every_seconds=0.01,
        until_idle=until_idle,
    )
    return Watch(location, config, lambda: contextlib.nullcontext(map_serially), stopping).run()


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "workspace"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three recordings, two of them the same, and a file that is none."""
    folder = tmp_path / "songs"
    for name, seed in (("b.flac", 1), ("deep/a.wav", 2), ("again.wav", 2)):
        save(folder / name, music(2, seed=seed))
    (folder / "cover.jpg").write_bytes(b"no sound")
    (folder / ".c.wav.part").write_bytes(b"half")
    return folder


def tree(folder: str, *names: str) -> dict[str, bytes]:
    """The objects of a workspace below some folders, but for locks and what ingest listed."""
    found = (path for name in names for path in (Path(folder) / name).rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


def quiet(location: Location, folder: Path) -> dict[str, bytes]:
    """What one ingest and one extract of all leave."""
    ingest(location, [FolderSource(str(folder))], Settings())
    extract(location)
    return tree(location.url, "features.zarr", "plans", "staging")


def test_all_at_once_gives_the_bytes_of_ingest_and_extract(
    location: Location, folder: Path, tmp_path: Path
) -> None:
    done = watch(location, FolderSource(str(folder)))
    assert (done.ok, done.quarantined, done.failed, done.recordings) == (3, 0, 0, 3)
    expected = quiet(Location(str(tmp_path / "other")), folder)
    assert tree(location.url, "features.zarr", "plans", "staging") == expected
    again = watch(location, FolderSource(str(folder)))
    assert (again.ok, again.looks) == (0, 1), "what is published is not looked at again"
    assert tree(location.url, "features.zarr", "plans", "staging") == expected
    assert not list(Path(location.url, "ingests").glob("*.json"))


class _Growing(FolderSource):
    """A folder into which something comes at each look."""

    def versions(self) -> Iterator[tuple[str, str]]:
        step = next(_steps, None)
        if step is not None:
            step()
        return FolderSource.versions(self)


_steps: Iterator[Callable[[], object]] = iter(())


def _at_looks(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Do something before each look; the first is the one that begins a watch."""
    monkeypatch.setattr(sys.modules[__name__], "_steps", iter(steps))


def nothing() -> None:
    """Change nothing before a look."""


def test_a_file_that_is_still_copied_is_not_taken(
    location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = save(tmp_path / "whole.wav", music(3)).read_bytes()
    target = tmp_path / "songs/slow.wav"
    target.parent.mkdir()
    cuts = [0, 1000, 30_000, 60_000, len(whole)]

    def append(start: int, stop: int) -> None:
        with target.open("ab") as file:
            file.write(whole[start:stop])

    parts = [lambda a=a, b=b: append(a, b) for a, b in itertools.pairwise(cuts)]
    _at_looks(monkeypatch, *parts)
    done = watch(location, _Growing(str(target.parent)))
    assert (done.ok, done.quarantined) == (1, 0)
    (recording,) = fadae.open(location.url).recordings
    assert recording.seconds == pytest.approx(3)


def test_later_files_are_appended_and_deleted_ones_stay(
    location: Location, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later() -> None:
        (folder / "b.flac").unlink()
        save(folder / "late.wav", music(1, seed=7))

    _at_looks(monkeypatch, nothing, nothing, nothing, later)
    done = watch(location, _Growing(str(folder)))
    assert (done.ok, done.recordings) == (4, 4)
    opened = fadae.open(location.url)
    assert [one.id for one in opened.recordings][-1] == "songs/late.wav"
    assert opened.recording("songs/b.flac").samples
    assert len(opened.history()) == 2, "one publication a look"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were fetched, in their order."""
    files: list[str] = []
    fetch = FolderSource.fetch

    def counted(self: FolderSource, track: Any, to: Path) -> None:
        files.append(track.file)
        fetch(self, track, to)

    monkeypatch.setattr(FolderSource, "fetch", counted)
    return files


def test_a_bad_file_is_quarantined_once_until_it_changes(
    location: Location, folder: Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]
) -> None:
    bad = folder / "bad.flac"
    bad.write_bytes(b"fLaC" + b"\x01" * 999)
    good = lambda: save(bad, music(1, seed=9))  # noqa: E731 - a step
    _at_looks(monkeypatch, *[nothing] * 6)
    done = watch(location, _Growing(str(folder)))
    assert (done.ok, done.quarantined) == (3, 1)
    assert fetched.count("bad.flac") == 1
    watch(location, FolderSource(str(folder)))
    assert fetched.count("bad.flac") == 1, "its commit says so to the next watch"
    _at_looks(monkeypatch, nothing, nothing, nothing, good)
    done = watch(location, _Growing(str(folder)))
    assert (done.ok, done.changed) == (1, 1)
    assert fetched.count("bad.flac") == 2
    assert "songs/bad.flac" in [one.id for one in fadae.open(location.url).recordings]


def test_a_file_that_changes_is_told_and_stays_as_it_was(
    location: Location,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    change = lambda: save(folder / "b.flac", music(5, seed=4))  # noqa: E731 - a step
    _at_looks(monkeypatch, nothing, nothing, nothing, change)
    with caplog.at_level(logging.WARNING, "fadae.watch"):
        done = watch(location, _Growing(str(folder)))
    assert (done.changed, done.recordings) == (1, 3)
    assert "'b.flac' has changed" in caplog.text
    assert fadae.open(location.url).recording("songs/b.flac").seconds == pytest.approx(2)


def test_what_is_forgotten_or_excluded_is_passed_over_once(
    location: Location,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fetched: list[str],
) -> None:
    location.ensure_writable()
    write_tombstones(location, [Tombstone.of("songs/deep/*", "asked")])
    change = lambda: save(folder / "deep/a.wav", music(1, seed=4))  # noqa: E731 - a step
    _at_looks(monkeypatch, nothing, nothing, nothing, change)
    with caplog.at_level(logging.WARNING):
        done = watch(location, _Growing(str(folder)), exclude="songs/again.wav\n")
    assert (done.ok, done.quarantined, done.changed, done.left_out) == (1, 0, 0, 3)
    assert caplog.text == ""
    assert fetched == ["b.flac"]
    assert [one.id for one in fadae.open(location.url).recordings] == ["songs/b.flac"]
    forget(location, ["songs/b.flac"], "asked")
    done = watch(location, FolderSource(str(folder)))
    assert (done.ok, done.left_out, fetched) == (1, 1, ["b.flac", "again.wav"])


class Killed(BaseException):
    """Ends a process as a kill would."""


class Mortal(Location):
    """A folder whose process is killed before its n-th write."""

    left: float = float("inf")

    def _count(self) -> None:
        Mortal.left -= 1
        if Mortal.left < 0:
            raise Killed

    def write_bytes(self, *arguments: Any) -> None:
        self._count()
        super().write_bytes(*arguments)

    def create_exclusive(self, *arguments: Any) -> bool:
        self._count()
        return super().create_exclusive(*arguments)

    def replace(self, *arguments: Any) -> bool:
        self._count()
        return super().replace(*arguments)

    def delete(self, *arguments: Any) -> None:
        self._count()
        super().delete(*arguments)


def test_killed_anywhere_and_watched_again_the_bytes_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    expected = quiet(Location(str(tmp_path / "other")), folder)
    place = tmp_path / "workspace"
    kills = 0
    for writes in itertools.count(1, 17):  # one in 17 writes
        shutil.rmtree(place, ignore_errors=True)
        Mortal.left = writes
        try:
            watch(Mortal(str(place)), FolderSource(str(folder)))
        except Killed:
            kills += 1
        else:
            break
        finally:
            Mortal.left = float("inf")
        watch(Location(str(place)), FolderSource(str(folder)))
        assert tree(str(place), "features.zarr", "plans", "staging") == expected, writes
    assert kills > 3


def test_a_run_encodes_what_comes(location: Location, folder: Path) -> None:
    with pytest.raises(UsageError, match="has no model"):
        watch(location, FolderSource(str(folder)), run="default")
    watch(location, FolderSource(str(folder)))
    write_run(location)
    watch(location, FolderSource(str(folder)), run="default")
    save(folder / "late.wav", music(1, seed=7))
    watch(location, FolderSource(str(folder)), run="default")
    opened = fadae.open(location.url)
    assert opened.reconstructions == ["default"]
    assert len(opened.codes("songs/late.wav", run="default").values)


def test_what_fails_in_passing_is_left_for_the_next_command(
    location: Location, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fadae.errors import TransientFailure

    def failing(self: FolderSource, track: Any, to: Path) -> None:
        raise TransientFailure("the disk is away")

    with monkeypatch.context() as broken:
        broken.setattr(FolderSource, "fetch", failing)
        with pytest.raises(TransientError, match="passing reason") as ended:
            watch(location, FolderSource(str(folder)))
        assert ended.value.exit_code == 75
    assert watch(location, FolderSource(str(folder))).ok == 3


def test_a_bucket_is_watched(
    s3: S3Server, location: Location, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    bucket = Location(f"{s3.url}/watched/songs", s3.storage_options)
    bucket.write_bytes("a.wav", (folder / "deep/a.wav").read_bytes())
    late = (folder / "b.flac").read_bytes()
    _at_looks(monkeypatch, nothing, nothing, nothing, lambda: bucket.write_bytes("late.flac", late))
    done = watch(location, _Growing(bucket.url))
    assert (done.ok, done.recordings) == (2, 2)


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A folder of one recording, for which no cluster starts."""
    return save(tmp_path / "single/a.wav", music(2)).parent


def test_the_command_takes_what_is_there_and_ends(location: Location, single: Path) -> None:
    typed = ("watch", "--folder", str(single), "-w", location.url, "--every", "1s")
    ended = command.fadae(*typed, "--until-idle", "--json")
    assert ended.returncode == 0, ended.stderr
    assert command.summary(ended)["recordings"] == 1


@pytest.mark.parametrize(
    "typed",
    [
        (),
        ("--folder", "a", "--folder", "b"),
        ("--folder", "/none/such"),
        ("--folder", ".", "--every", "soon"),
        ("--folder", ".", "--every", "0s"),
    ],
)
def test_what_cannot_be_watched_is_refused(location: Location, typed: tuple[str, ...]) -> None:
    ended = command.fadae("watch", *typed, "-w", location.url)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)


def test_a_signal_ends_it_with_0(location: Location, single: Path) -> None:
    typed = [sys.executable, "-m", "fadae", "watch", "--folder", str(single)]
    typed += ["-w", location.url, "--every", "1s"]
    process = subprocess.Popen(typed, stderr=subprocess.PIPE, text=True)
    late = threading.Timer(HANG_SECONDS, process.kill)
    late.start()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "published 1 recordings" in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        late.cancel()
        process.kill()
    assert len(fadae.open(location.url).recordings) == 1


def test_files_are_told_apart_by_name_and_version() -> None:
    before = Files.of([("a", "1"), ("b", "1")])
    now = Files.of([("a", "1"), ("b", "2"), ("c", "1")])
    assert int(before.agree(now).sum()) == 1
    assert int(before.has(now).sum()) == 2
    both = before.including(now)
    assert len(both) == 3
    assert both.agree(now).all()
    assert (np.diff(both.names.astype(np.float64)) > 0).all()
    assert not Files().agree(now).any()


def test_the_names_stay_with_the_driver() -> None:
    watched = WatchedFiles("/songs", names=("a.wav", "b.wav"))
    travelled = pickle.loads(pickle.dumps(watched))
    assert travelled == FolderSource("/songs")
    first, second = watched, WatchedFiles("/songs", names=("a.wav",))
    assert first.selection() != second.selection()
