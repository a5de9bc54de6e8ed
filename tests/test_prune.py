"""Pruning: only what is spare goes; runs reconstruct the same bytes, and training goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fadae.cli.app import app
from fadae.prune import prune
from fadae.stages.extract import extract, extract_shard
from fadae.stages.reconstruct import reconstruct
from fadae.store.frames import FrameStore
from fadae.store.indexing import superseded
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.plan import Plan
from fadae.store.verify import verify
from tests.store.staged import HOP, stage_all, tree
from tests.training.small import model_hash, small, stopping_after, train_until

SETTINGS: dict[str, Any] = {"epochs": 4, "batch_size": 16, "checkpoint_steps": 2, "keep": 9}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three publications with staged PCM, two runs with checkpoints, one of them unfinished."""
    folder = tmp_path_factory.mktemp("prune") / "w"
    location = Location(str(folder))
    for number in range(3):
        stage_all(location, {f"a/{number}": 40 * HOP}, first_seed=number)
        extract(location, keep_staging=True)
    train_until(location, small(**SETTINGS), lambda: False)
    with pytest.raises(Exception, match="stopped at step"):
        stopping = small(run="stopped", early_stopping=9, **SETTINGS)
        train_until(location, stopping, stopping_after(7))
    reconstruct(location, "default")
    return folder


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """The same, with leftovers of what was killed, a day ago and just now."""
    folder = Path(shutil.copytree(made, tmp_path / "w"))
    for age, block in ((100_000, 7), (0, 8)):
        for name in ("audio/c/{}/0", "frame_time/c/{}", "audio/prints/blocks/000000{}"):
            path = folder / FEATURES / name.format(block)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"left over")
            os.utime(path, (path.stat().st_mtime - age,) * 2)
    for age in (100_000, 0):
        path = next((folder / "staging").glob("??")) / f".partial-{age}"
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    mark = folder / FEATURES / "audio/blocks/00001-0123456789abcdef/1"
    mark.parent.mkdir()
    mark.touch()
    return folder


def named(folder: Path, *names: str) -> list[bool]:
    return [(folder / name).exists() for name in names]


def test_a_dry_run_touches_nothing_and_tells_what_then_goes(workspace: Path) -> None:
    location = Location(str(workspace))
    before = tree(workspace)
    told = prune(location, dry_run=True)
    assert tree(workspace) == before
    done = prune(location)
    assert told.kinds == done.kinds and told.bytes == done.bytes
    gone = set(before) - set(tree(workspace))
    assert len(gone) == done.objects
    counts = {kind: found["objects"] for kind, found in done.kinds.items()}
    assert counts["staging"] == 3 and done.kinds["staging"]["bytes"] == 3 * 2 * 40 * HOP
    assert counts["blocks"] == 3 and counts["plans"] == 1 and counts["partial"] == 1
    assert counts["index"] > 0 and counts["checkpoints"] > 8
    again = prune(location)
    assert again.objects == 0, again


def test_after_it_all_is_sound_and_goes_on_to_the_same_bytes(workspace: Path, made: Path) -> None:
    location, whole = Location(str(workspace)), Location(str(made))
    prune(location)
    assert verify(location)["problems"] == []
    assert superseded(FrameStore.open(location, FEATURES), 3) == []
    name = "reconstructions/default.zarr"
    before = tree(workspace / name)
    location.delete(name)
    reconstruct(location, "default")
    assert tree(workspace / name) == before
    steps = sorted(location.names("runs/stopped/checkpoints"))
    assert [step.partition("-")[0] for step in steps].count("step") == 1
    config = small(run="stopped", early_stopping=9, **SETTINGS)
    undisturbed = Location(str(shutil.copytree(made, workspace.parent / "undisturbed")))
    for one in (location, undisturbed):
        train_until(one, config, lambda: False)
    assert model_hash(location, "stopped") == model_hash(undisturbed, "stopped")
    # A finished run learns on: the newest checkpoint is there.
    grown = small(**{**SETTINGS, "epochs": 6})
    for one in (location, undisturbed):
        train_until(one, grown, lambda: False)
    assert model_hash(location) == model_hash(undisturbed) != model_hash(whole)
    stage_all(location, {"z/9": 5 * HOP}, first_seed=9)
    assert extract(location)["recordings"] == 4


def test_the_best_weights_stay_where_they_are_needed_or_wanted(workspace: Path) -> None:
    kept = {}
    for keep in ("best", "newest"):
        prune(Location(str(workspace)), keep=keep)
        names = Location(str(workspace)).names("runs/default/checkpoints")
        kept[keep] = [name for name in names if name.startswith("best-")]
        assert [name for name in names if name.startswith("step-")] == ["step-24"]  # the last
    assert set(kept["newest"]) <= set(kept["best"]) and len(kept["best"]) == 1


def test_a_damaged_newest_checkpoint_keeps_the_one_before(workspace: Path) -> None:
    checkpoints = workspace / "runs/default/checkpoints"
    newest = max(checkpoints.glob("step-*"), key=lambda p: int(p.name.partition("-")[2]))
    (newest / "model.safetensors").write_bytes(b"")
    steps = {int(p.name.partition("-")[2]) for p in checkpoints.glob("step-*")}
    prune(Location(str(workspace)))
    left = {int(p.name.partition("-")[2]) for p in checkpoints.glob("step-*")}
    assert left == set(sorted(steps)[-2:])


def test_a_plan_that_is_being_filled_keeps_its_blocks(workspace: Path) -> None:
    location = Location(str(workspace))
    stage_all(location, {"n/ew": 3000 * HOP}, first_seed=5)
    extract_plan(location)
    plan = Plan.read(location, 3)
    assert plan is not None and set(plan.blocks) == {3, 4, 5}
    for task in plan.tasks():
        extract_shard(task)
    for path in (workspace / FEATURES).rglob("c/[345]/**/*"):
        os.utime(path, (0, 0))
    prune(location)
    assert all(named(workspace, *(f"{FEATURES}/features/c/{b}/0" for b in (3, 4, 5))))
    assert extract(location)["shards_kept"] == 6
    assert verify(location)["problems"] == []


def extract_plan(location: Location) -> None:
    """Plan what is new, and stop."""

    class Stop(BaseException):
        pass

    def mapper(*arguments: object, label: str, **options: object) -> Any:
        if label == "extract":
            raise Stop
        return iter(())

    with pytest.raises(Stop):
        extract(location, mapper=mapper)


def test_staging_may_be_kept(workspace: Path) -> None:
    found = prune(Location(str(workspace)), keep_staging=True)
    assert found.kinds["staging"] == {"objects": 0, "bytes": 0}
    assert len(list((workspace / "staging").rglob("*.pcm"))) == 3


def test_pcm_whose_samples_do_not_read_back_stays(workspace: Path) -> None:
    (workspace / FEATURES / "audio/c/1/0").write_bytes(b"")
    assert prune(Location(str(workspace))).kinds["staging"]["objects"] == 2
    (kept,) = (workspace / "staging").rglob("*.pcm")
    assert kept.name.startswith("a_1-")


def test_the_command_prints_a_line_a_kind(workspace: Path, tmp_path: Path) -> None:
    runner, options = CliRunner(), ["-w", str(workspace), "--dry-run", "--workers", "1"]
    done = runner.invoke(app, ["prune", *options])
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "staging",
        "checkpoints",
        "index",
        "history",
        "blocks",
        "plans",
        "partial",
    ]
    assert f"{3 * 2 * 40 * HOP:,} bytes would go" in done.stdout
    done = runner.invoke(app, ["prune", *options, "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["kinds"]["staging"]["objects"] == 3
    assert runner.invoke(app, ["prune", *options, "--keep", "all"]).exit_code == 2
    assert runner.invoke(app, ["prune", "-w", str(tmp_path / "none")]).exit_code in (2, 65)
