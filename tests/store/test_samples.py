"""Staged PCM goes once it is published and reads back the same; samples are read from `audio`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fadae.archive.folder import FolderSource
from fadae.audio.write import write
from fadae.config import Settings
from fadae.records import Track
from fadae.stages.extract import extract, extract_shard
from fadae.stages.ingest.driver import ingest
from fadae.store.features import FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, RELEASED, commit_path, mark_path, pcm_path
from fadae.store.release import release_staging
from fadae.store.samples import samples_of, stored_sha256
from fadae.store.staging import read_commit
from fadae.store.verify import verify
from tests.store.staged import HOP, RATE_HZ, noise, stage, stage_all, tree

# Nearly a block, whole hops, one sample, across the blocks' boundary; see `stage_everything`.
LENGTHS = {"a/1": 330 * RATE_HZ, "a/2": 5 * HOP, "b/3 ü?#": 1, "z/9": 40 * RATE_HZ + 1}


def staged_pcm(location: Location) -> set[str]:
    return {path.name for path in (Path(location.url) / "staging").rglob("*.pcm")}


def stage_everything(location: Location) -> None:
    stage_all(location, LENGTHS)
    stage(location, "c/again", noise(0, LENGTHS["a/1"]))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose staged PCM has gone."""
    folder = tmp_path_factory.mktemp("samples") / "w"
    location = Location(str(folder))
    stage_everything(location)
    extract(location)
    stage(location, "d/later", noise(0, LENGTHS["a/1"]))  # a third time, in a plan of its own
    extract(location)
    return folder


@pytest.fixture
def workspace(published: Path, tmp_path: Path) -> Location:
    return Location(str(shutil.copytree(published, tmp_path / "w")))


def test_the_pcm_of_all_that_is_published_goes_and_commits_stay(published: Path) -> None:
    location = Location(str(published))
    assert staged_pcm(location) == set()
    assert location.read_bytes(RELEASED) == b'{"recordings":6}'
    for recording in (*LENGTHS, "c/again", "d/later"):
        assert read_commit(location, recording) is not None
        assert not location.exists(mark_path(recording))
    assert verify(location)["problems"] == []
    features = FeatureSet.open(location)
    for row, recording in enumerate(features.recordings.id.tolist()):
        commit = read_commit(location, recording)
        assert commit is not None and commit.decoded is not None
        start = int(features.recordings.frame_start[row])
        found = stored_sha256(features.store, start, commit.decoded.samples)
        assert found == commit.decoded.pcm_sha256


def test_kept_pcm_and_that_of_an_earlier_fadae_goes_with_the_next_extraction(
    published: Path, tmp_path: Path
) -> None:
    location = Location(str(tmp_path / "w"))
    stage_everything(location)
    extract(location, keep_staging=True)
    assert len(staged_pcm(location)) == 5
    assert not location.exists(RELEASED)
    stage(location, "d/later", noise(0, LENGTHS["a/1"]))
    assert extract(location)["recordings"] == 6
    assert tree(Path(location.url)) == tree(published)


def test_what_is_long_gone_is_not_looked_at_again(
    workspace: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    exists = Location.exists

    def noting(self: Location, path: str) -> bool:
        looked.append(path)
        return exists(self, path)

    monkeypatch.setattr(Location, "exists", noting)
    stage_all(workspace, {"e/new": 4000}, first_seed=9)
    extract(workspace)
    assert [path for path in looked if path.endswith(".pcm")] == [pcm_path("e/new")]


def test_samples_that_do_not_read_back_keep_their_pcm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location(str(tmp_path))
    stage_everything(location)
    extract(location, keep_staging=True)
    whole = tree(tmp_path)
    shard = tmp_path / "features.zarr/audio/c/1/0"
    shard.write_bytes(shard.read_bytes()[:-9])
    extract(location)
    assert staged_pcm(location) == {Path(pcm_path("z/9")).name}  # which ends in the second shard
    assert "stays: features.zarr/audio is damaged" in caplog.text
    assert verify(location, recompute=extract_shard)["problems_repaired"] == 1
    extract(location)
    assert staged_pcm(location) == set()
    assert {n: d for n, d in whole.items() if not n.endswith(".pcm")}.items() <= (
        tree(tmp_path).items()
    )


@pytest.mark.parametrize("verb", ["delete_many", "write_bytes"])
def test_killed_between_publication_and_deletion_it_ends_with_the_same_bytes(
    verb: str, published: Path, tmp_path: Path
) -> None:
    location = Location(str(tmp_path / "w"))
    stage_everything(location)
    extract(location, keep_staging=True)
    # In place of removing the first PCM, or of putting down that it is removed.
    number = {"delete_many": 2, "write_bytes": 1}[verb]
    command = [sys.executable, "-m", "tests.store.driver", location.url, str(number), verb]
    top = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=top, check=False).returncode == -signal.SIGKILL
    assert len(staged_pcm(location)) == (5 if verb == "delete_many" else 0)
    assert not location.exists(RELEASED)
    stage(location, "d/later", noise(0, LENGTHS["a/1"]))
    extract(location)
    assert tree(Path(location.url)) == tree(published)


def test_a_driver_whose_rival_lets_the_pcm_go_finds_its_block_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path))
    stage_all(location, {"a/1": 5 * HOP})
    module, calls = sys.modules[extract.__module__], list[object]()
    real = samples_of

    def late(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            assert extract(location)["shards_written"] == 1
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "samples_of", late)
    assert extract(location)["shards_written"] == 0
    assert len(calls) == 2 and staged_pcm(location) == set()
    assert verify(location)["problems"] == []


def test_damaged_features_are_computed_again_from_the_published_samples(
    workspace: Location, published: Path
) -> None:
    for block in range(2):  # a recording across their boundary needs both blocks' samples
        (Path(workspace.url) / f"features.zarr/features/c/{block}/0").write_bytes(b"")
    found = verify(workspace, recompute=extract_shard)
    assert (found["problems_found"], found["problems_repaired"]) == (2, 2)
    assert tree(Path(workspace.url)) == tree(published)


class Counting(FolderSource):
    """A folder that counts what is fetched."""

    fetched = 0

    def fetch(self, track: Track, path: Path) -> None:
        type(self).fetched += 1
        super().fetch(track, path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Counting]:
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(2):
        samples = noise(number, 50 * RATE_HZ).astype(np.float32) / 40000
        write(folder / f"{number}.flac", samples, RATE_HZ)
    Counting.fetched = 0
    yield Counting(str(folder))


def test_damaged_samples_are_told_and_fetched_again(tmp_path: Path, source: Counting) -> None:
    location = Location(str(tmp_path / "w"))
    ingest(location, [source])
    extract(location)
    whole = tree(Path(location.url))
    assert ingest(location, [source], Settings(refresh=True))["ok"] == 2
    assert Counting.fetched == 2, "what is published is not fetched again, though its PCM is gone"

    shard = Path(location.url) / "features.zarr/audio/c/0/0"
    data = bytearray(shard.read_bytes())
    data[20_000] ^= 1  # in the first chunk: within the first recording
    shard.write_bytes(bytes(data))
    told = verify(location)["problems"]
    assert [p["path"] for p in told] == [commit_path("music/0.flac"), shard_path()]
    assert "`fadae ingest --refresh` fetches it again" in told[0]["problem"]
    assert location.exists(commit_path("music/0.flac"))
    found = verify(location, recompute=extract_shard)
    assert (found["shards_damaged"], found["shards_repaired"]) == (1, 0)
    assert not location.exists(commit_path("music/0.flac"))
    assert location.exists(commit_path("music/1.flac"))

    assert ingest(location, [source], Settings(refresh=True))["ok"] == 2
    assert Counting.fetched == 3
    extract(location)
    assert location.exists(pcm_path("music/0.flac")), "needed until the shard is mended"
    assert verify(location, recompute=extract_shard)["problems_repaired"] == 1
    extract(location)
    assert tree(Path(location.url)) == whole


def shard_path() -> str:
    return f"{FEATURES}/audio/c/0/0"


def test_a_source_that_has_changed_mends_nothing(workspace: Location, published: Path) -> None:
    (Path(workspace.url) / shard_path()).write_bytes(b"")
    (Path(workspace.url) / "features.zarr/audio/c/1/0").write_bytes(b"")
    location = workspace
    assert verify(location, recompute=extract_shard)["problems_repaired"] == 0
    assert not location.exists(commit_path("a/1"))
    stage(location, "a/1", noise(77, LENGTHS["a/1"]))
    problems = {p["path"]: p["problem"] for p in verify(location)["problems"]}
    assert "its source has changed" in problems[commit_path("a/1")]
    verify(location, recompute=extract_shard)
    assert location.exists(commit_path("a/1"))
    release_staging(FrameStore.open(location, FEATURES))
    assert location.exists(pcm_path("a/1"))


def test_samples_that_read_well_but_are_others_are_found(
    workspace: Location, published: Path, tmp_path: Path
) -> None:
    other = Location(str(tmp_path / "other"))
    stage_all(other, {**LENGTHS, "a/2": 5 * HOP}, first_seed=50)
    stage(other, "c/again", noise(50, LENGTHS["a/1"]))
    extract(other)
    name = "features.zarr/audio/c/1/0"
    shutil.copyfile(Path(other.url) / name, Path(workspace.url) / name)
    before = tree(Path(workspace.url))
    found = verify(workspace, recompute=extract_shard)
    assert found["shards_repaired"] == 0, "features are not computed from samples that are wrong"
    problems = {p["path"]: p["problem"] for p in found["problems"]}
    assert all("not those that were decoded" in problem for problem in problems.values())
    assert "`fadae ingest --refresh`" in problems[commit_path("z/9")]
    gone = set(before) - set(tree(Path(workspace.url)))
    assert gone == {commit_path("z/9")}
    stage(workspace, "z/9", noise(3, LENGTHS["z/9"]))
    assert verify(workspace, recompute=extract_shard)["problems_repaired"] == 2
    extract(workspace)
    assert tree(Path(workspace.url)) == tree(published)


def test_without_its_root_nothing_is_taken_for_lost(workspace: Location, published: Path) -> None:
    workspace.delete(f"{FEATURES}/zarr.json")
    assert len(verify(workspace, recompute=extract_shard)["problems"]) == 1
    assert extract(workspace)["shards_written"] == 0
    assert tree(Path(workspace.url)) == tree(published)
    workspace.delete(FEATURES)  # with all samples
    assert len(verify(workspace)["problems"]) == 6
