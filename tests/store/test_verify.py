"""Verifying: whatever is damaged is found, and repaired to the same bytes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.errors import NoInputError
from fadae.stages.extract import extract, extract_shard
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from fadae.store.paths import commit_path, pcm_path
from fadae.store.verify import verify
from tests.command import fadae, summary
from tests.store.staged import HOP, RATE_HZ, stage_all, stage_failure, tree

LENGTHS = {"a/1": 200 * RATE_HZ, "a/2": 5 * HOP, "z/9": 200 * RATE_HZ}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of three shards, published twice, its staged PCM kept."""
    folder = tmp_path_factory.mktemp("verify") / "pristine"
    location = Location(str(folder))
    stage_all(location, LENGTHS)
    stage_failure(location, "f/x")
    extract(location, keep_staging=True)
    stage_all(location, {"b/0": 40_000}, first_seed=9)
    extract(location, keep_staging=True)
    return folder


@pytest.fixture
def workspace(pristine: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "workspace"))


def test_a_sound_workspace_has_no_problems(pristine: Path) -> None:
    summary = verify(Location(str(pristine)))
    assert summary["problems"] == []
    assert (summary["recordings_checked"], summary["shards_checked"]) == (4, 3)


def damage(path: Path, how: str, drawn: random.Random) -> None:
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[: drawn.randrange(1, len(data))])
    else:
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        path.write_bytes(data)


OBJECTS = [
    "features/c/0/0",
    "features/c/2/0",
    "audio/c/1/0",
    "frame_recording/c/1",
    "frame_time/c/2",
    "recording_title/c/0",
    "recording_key/c/0",
    "band_low_hz/c/0",
    "coefficient_band/c/0",
    "features/zarr.json",
    "band_high_hz/zarr.json",
]


@pytest.mark.parametrize("how", ["flip", "empty", "cut", "gone"])
def test_damage_is_found_and_repaired_to_the_same_bytes(
    how: str, workspace: Path, pristine: Path
) -> None:
    drawn = random.Random(how)
    for name in drawn.sample(OBJECTS, 3):
        damage(workspace / "features.zarr" / name, how, drawn)
    location = Location(str(workspace))
    found = verify(location)
    assert found["problems_found"] == 3
    assert found["problems_repaired"] == 0
    repaired = verify(location, recompute=extract_shard)
    assert repaired["problems_repaired"] == repaired["problems_found"] == 3
    assert tree(workspace) == tree(pristine)


def test_exactly_the_damaged_shards_are_computed_again(workspace: Path) -> None:
    zarr = workspace / "features.zarr"
    before = {p: p.stat().st_mtime_ns for p in zarr.rglob("*") if p.is_file()}
    damage(zarr / "features/c/1/0", "flip", random.Random(0))
    summary = verify(Location(str(workspace)), recompute=extract_shard)
    assert (summary["shards_damaged"], summary["shards_repaired"]) == (1, 1)
    changed = {p for p, at in before.items() if p.stat().st_mtime_ns != at}
    changed -= {zarr / "audio/prints/blocks/0000001"}  # the block's fingerprints, the same
    assert {p.name if p.parent.name != "1" else "1" for p in changed} == {"1"}


@pytest.mark.parametrize("how", ["flip", "empty", "gone"])
def test_a_lost_root_is_published_again_from_the_plans(
    how: str, workspace: Path, pristine: Path
) -> None:
    root = workspace / "features.zarr/zarr.json"
    root.write_bytes(b"{" + root.read_bytes()) if how == "flip" else damage(
        root, how, random.Random(0)
    )
    location = Location(str(workspace))
    assert verify(location, recompute=extract_shard)["problems_found"] == 1
    assert extract(location, keep_staging=True)["shards_written"] == 0
    assert tree(workspace) == tree(pristine)


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_damaged_pcm_loses_its_commit_unless_it_is_published(how: str, workspace: Path) -> None:
    location = Location(str(workspace))
    stage_all(location, {"n/ew": 5000}, first_seed=20)
    for recording in ("a/2", "n/ew"):
        damage(workspace / pcm_path(recording), how, random.Random(0))
    damage(workspace / "features.zarr/features/c/0/0", "empty", random.Random(0))
    summary = verify(location, recompute=extract_shard)
    assert (summary["shards_damaged"], summary["shards_repaired"]) == (1, 1)  # from `audio`
    problems = {p["path"]: p["repaired"] for p in summary["problems"]}
    spare = {} if how == "gone" else {pcm_path("a/2"): True}
    assert problems == {
        **spare,
        pcm_path("n/ew"): False,
        "features.zarr/features/c/0/0": True,
    }
    assert location.exists(commit_path("a/2")) and not location.exists(pcm_path("a/2"))
    assert not location.exists(commit_path("n/ew"))
    assert verify(location)["problems"] == []


def test_what_is_published_and_let_go_meanwhile_keeps_its_commit(workspace: Path) -> None:
    location = Location(str(workspace))
    stage_all(location, {"n/ew": 5000}, first_seed=20)

    def meanwhile(function: Any, values: Any, **options: Any) -> Iterator[Any]:
        if location.exists(pcm_path("n/ew")):
            extract(location)
        yield from map_serially(function, values, **options)

    verify(location, recompute=extract_shard, mapper=meanwhile)
    assert location.exists(commit_path("n/ew")) and not location.exists(pcm_path("n/ew"))


def test_a_damaged_plan_is_named(workspace: Path) -> None:
    damage(workspace / "plans/00000.jsonl.gz", "cut", random.Random(1))
    (workspace / "plans/00001.jsonl.gz").unlink()
    paths = {p["path"] for p in verify(Location(str(workspace)))["problems"]}
    assert {"plans/00000.jsonl.gz", "plans/00001.jsonl.gz"} <= paths


def test_the_command_ends_with_1_where_damage_is_left(workspace: Path) -> None:
    damage(workspace / "plans/00001.jsonl.gz", "gone", random.Random(0))
    done = fadae("verify", "-w", str(workspace), "--workers", "1", "--json")
    assert done.returncode == 1
    assert summary(done)["problems_found"] == 1
    assert "plans/00001.jsonl.gz" in done.stderr.splitlines()[-1]


def test_nothing_to_verify_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        verify(Location(str(tmp_path)))
