"""The command line as a user types it: the whole job, its repetition, and mistakes."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fadae as library
from fadae.cli.output import reporting
from fadae.cli.stages import closing, extract, ingest, reconstruct, run, train
from fadae.config import SECTIONS, TOP, Declared, declared
from fadae.embedded.bach import PIECES, bach_item
from fadae.embedded.items import HeldItem
from fadae.embedded.server import EmbeddedArchive
from tests.command import fadae, fadae_process, summary

# As small as a whole job can be: two pieces, two steps, a narrow code, one rank.
LEARNING = ("--max-steps", "2", "--batch-size", "8", "--widths", "32,16")
SMALL = (*LEARNING, "--ranks", "1", "--workers", "1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedArchive]:
    item = bach_item(tmp_path_factory.mktemp("bach"), PIECES[1:3])
    with EmbeddedArchive([item, HeldItem("texts", {"title": "No sound"})]) as server:
        yield server


@pytest.fixture(scope="module")
def job(
    archive: EmbeddedArchive, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], dict[str, Any]]:
    """A whole job done once: its workspace, the command and what it printed."""
    workspace = tmp_path_factory.mktemp("job") / "workspace"
    asked = ["run", "--archive-url", archive.url, "-w", str(workspace), "--json", *SMALL]
    result = fadae_process(*asked)
    assert result.returncode == 0, result.stderr
    return workspace, asked, summary(result)


def test_a_run_tells_what_each_stage_did(job: tuple[Path, list[str], dict[str, Any]]) -> None:
    workspace, _, told = job
    assert list(told) == ["ingest", "extract", "train", "reconstruct"]
    assert told["ingest"]["recordings"] == told["ingest"]["ok"] == 2
    assert told["ingest"]["failures"] == []
    assert told["extract"]["frames"] == told["reconstruct"]["frames"]
    assert told["train"]["steps"] == 2 and len(told["train"]["model_sha256"]) == 64
    for stage, key in [
        ("train", "holdout_nmse_db"),
        ("train", "pca_nmse_db"),
        ("reconstruct", "nmse_db"),
        ("reconstruct", "audio_snr_db"),
    ]:
        assert isinstance(told[stage][key], float)
    features = xr.open_zarr(workspace / "features.zarr")
    assert int((features.frame_recording >= 0).sum()) == told["extract"]["frames"]
    made = xr.open_zarr(workspace / "reconstructions" / "default.zarr")
    assert made.encoded.shape == (features.sizes["frame"], 16)
    assert all(
        "units" in array.attrs and "long_name" in array.attrs
        for dataset in (features, made)
        for array in dataset.variables.values()
    )


def test_a_second_run_does_nothing(
    job: tuple[Path, list[str], dict[str, Any]], archive: EmbeddedArchive
) -> None:
    workspace, asked, told = job
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}
    asks = len(archive.requests)
    again = fadae(*asked)
    assert again.returncode == 0, again.stderr
    assert len(archive.requests) == asks, "a finished selection asks the archive nothing"
    after = {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}
    assert after == before
    repeated = summary(again)
    assert repeated["train"] == told["train"]
    assert repeated["extract"]["shards_written"] == repeated["reconstruct"]["shards_written"] == 0
    assert "dashboard" not in again.stderr, "nothing to do starts no cluster"


def test_info_counts_what_the_workspace_holds(
    job: tuple[Path, list[str], dict[str, Any]],
) -> None:
    workspace, _, told = job
    found = summary(fadae("info", "-w", str(workspace), "--json"))
    assert found["recordings"]["ok"] == 2
    assert found["frames"] == told["extract"]["frames"]
    assert [run if isinstance(run, str) else run["run"] for run in found["runs"]] == ["default"]


def test_json_is_all_that_info_prints(job: tuple[Path, list[str], dict[str, Any]]) -> None:
    printed = fadae("info", "-w", str(job[0]), "--json").stdout
    assert json.loads(printed)["runs"] == ["default"], "one document, nothing before it"
    assert "loss of run default\n" in fadae("info", "-w", str(job[0])).stdout


def test_recordings_are_listed_as_a_table(job: tuple[Path, list[str], dict[str, Any]]) -> None:
    workspace = library.open(str(job[0]))
    first, second = workspace.recordings
    printed = fadae("query", "-w", str(job[0])).stdout.splitlines()
    assert printed[0].split()[:2] == ["recording", "seconds"] and "held out" in printed[0]
    for line, recording in zip(printed[1:3], (first, second), strict=True):
        held_out = "yes" if recording.held_out else "no"
        assert line.startswith(f"{recording.id}  ") and recording.title in line
        cells = line.removeprefix(recording.id).split()
        assert cells[:2] == [f"{recording.seconds:.1f}", held_out]
    assert printed[-1] == "2 of 2 recordings"
    one = fadae("query", "-w", str(job[0]), "--search", second.title, "--json")
    assert [found["id"] for found in summary(one)["recordings"]] == [second.id]
    assert summary(one)["recordings"][0]["held_out"] is second.held_out
    assert {first.held_out, second.held_out} == {True, False}


def test_a_run_is_a_source_before_it_is_reconstructed(
    job: tuple[Path, list[str], dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(job[0], tmp_path / "workspace", ignore=shutil.ignore_patterns("*.zarr"))
    shutil.copytree(job[0] / "features.zarr", tmp_path / "workspace" / "features.zarr")
    first = library.open(str(job[0])).recordings[0]
    for name in ("part.npy", "part.wav", "part.png"):
        asked = ["query", first.id, "--seconds", "1:3", "--source", "default", "--json"]
        result = fadae(*asked, "-w", str(tmp_path / "workspace"), "--to", str(tmp_path / name))
        assert result.returncode == 0, result.stderr
        assert (tmp_path / name).stat().st_size > 1000
    made = np.load(tmp_path / "part.npy")
    stored = library.open(str(job[0])).select(first.id, (1, 3), source="default")["features"]
    np.testing.assert_allclose(made, stored, rtol=2e-3, atol=1e-6)
    wrong = fadae(*asked[:-2], "defualt", "-w", str(job[0]))
    assert wrong.returncode == 2 and "nearest: 'default'" in wrong.stderr


def test_the_demonstration_ends_with_the_line_that_opens_it() -> None:
    shown = closing({"frames": 7}, Path("demo"))
    assert shown.text.splitlines()[-1] == "fadae serve -w demo/workspace"
    shown = closing({"frames": 7}, Path("a demo"))
    assert shlex.split(shown.text.splitlines()[-1])[-1] == "a demo/workspace"


def test_run_takes_every_option_of_its_stages() -> None:
    taken = inspect.signature(reporting(run)).parameters
    for stage in (ingest, extract, train, reconstruct):
        for name, option in inspect.signature(reporting(stage)).parameters.items():
            assert taken[name].default == option.default, name


def test_every_option_arrives_from_its_variable(tmp_path: Path) -> None:
    """One by one a variable sets every option to another value, and `fadae config` shows it."""
    given, expected = {}, {}
    for section in SECTIONS:
        for one in declared(section):
            if not one.about.shared:
                continue
            value = other_value(one)
            given[one.env] = one.text(value)
            key = one.key if one.section == TOP else f"{one.section}.{one.key}"
            expected[key] = {"value": value, "from": one.env}
    shown = subprocess.run(
        [sys.executable, "-m", "fadae", "config", "--json"],
        env=os.environ | given,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert summary(shown) == expected


def other_value(one: Declared) -> Any:
    """A value that an option takes and that is not its default."""
    if one.about.choices and one.repeatable:
        return [*one.about.choices[1:]]
    if one.about.choices:
        return (
            one.about.choices[-1] if one.default != one.about.choices[-1] else one.about.choices[0]
        )
    if one.kind is bool:
        return not one.default
    if one.repeatable:
        texts = ["a=1 2", "b=3"] if one.about.lines else ["a", "b"]
        return [7, 5] if one.kind is int else texts
    if one.kind is str:
        special = {"cache_gb": "2.5", "fail_over": "2.5", "licence": "by,cc0"}
        return special.get(one.name, "other")
    return one.kind(0.25) if one.about.below is not None else one.kind((one.default or 0) + 1)


def test_a_file_and_a_recipe_are_read_and_a_wrong_one_is_one_line(tmp_path: Path) -> None:
    def config(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fadae", "config", "--json", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    (tmp_path / "fadae.toml").write_text('recipe = "seed"\n[train]\nepochs = 7\n')
    found = summary(config("--batch-size", "9"))
    assert found["train.epochs"] == {"value": 7, "from": "fadae.toml"}
    assert found["train.batch-size"] == {"value": 9, "from": "flag"}
    assert found["train.widths"] == {"value": [1024, 512, 256], "from": "recipe seed"}
    (tmp_path / "fadae.toml").write_text("[train]\nepoch = 7\n")
    wrong = config()
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "fadae: fadae.toml: unknown key train.epoch; the nearest is train.epochs\n"
    )


def test_changed_settings_are_named(job: tuple[Path, list[str], dict[str, Any]]) -> None:
    workspace = job[0]
    other_lr = fadae("train", "-w", str(workspace), *LEARNING, "--lr", "0.5")
    assert other_lr.returncode == 2
    assert "learning_rate" in other_lr.stderr and other_lr.stderr.count("\n") == 1
    other_preset = fadae("extract", "-w", str(workspace), "--preset", "full")
    assert other_preset.returncode == 2 and "--preset seed" in other_preset.stderr


def test_the_library_reads_the_same(job: tuple[Path, list[str], dict[str, Any]]) -> None:
    workspace = library.open(str(job[0]))
    first = workspace.recordings[0]
    assert len(workspace.audio(first.id, slice(1, 3))) == 2 * 11025
    codes = workspace.codec("default").encode(workspace.select(first.id).features.values)
    assert codes.values.shape == (first.frame_count, 16)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["extract", "--preset", "octave"], 2, "--preset octave: one of seed"),
        (["extract"], 65, "no workspace at"),
        (["train"], 65, "no workspace at"),
        (["reconstruct"], 65, "no workspace at"),
        (["verify"], 65, "no workspace at"),
        (["query"], 2, "no workspace at"),
        (["report"], 2, "no workspace at"),
        (["generate"], 2, "no workspace at"),
        (["info"], 2, "no workspace"),
        (["serve"], 2, "no workspace"),
        (["ingest", "--retry", "sometimes"], 2, "--retry"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    result = fadae(*arguments, "-w", str(tmp_path / "workspace"))
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert result.stderr.count("\n") == 1, "one line, no traceback"
    assert not (tmp_path / "workspace").exists(), "a typo made a workspace"


@pytest.mark.parametrize(
    ("stage", "missing"), [("extract", "ingest"), ("train", "extract"), ("reconstruct", "extract")]
)
def test_a_workspace_without_a_stages_input_names_the_stage_before(
    stage: str, missing: str, tmp_path: Path
) -> None:
    (tmp_path / "ingests").mkdir()
    result = fadae(stage, "-w", str(tmp_path))
    assert result.returncode == 65, result.stderr
    assert f"run `fadae {missing}` first" in result.stderr


@pytest.mark.parametrize("job_name", ["ingest", "extract", "train", "reconstruct"])
def test_a_job_takes_the_options_of_its_command(
    job_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    script = Path(__file__).resolve().parents[2] / "jobs" / f"{job_name}.py"
    told = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    expected = fadae(job_name, "--help")
    assert told.returncode == expected.returncode == 0
    options = re.compile(r"--[a-z-]+")
    assert set(options.findall(told.stdout)) == set(options.findall(expected.stdout))
    variables = {"train": ("FADAE_BATCH_SIZE", "FADAE_MAX_FRAMES"), "ingest": ("FADAE_DOWNLOADS",)}
    assert all(name in told.stdout for name in variables.get(job_name, ("FADAE_WORKSPACE",)))


def test_an_item_without_audio_is_no_input(archive: EmbeddedArchive, tmp_path: Path) -> None:
    result = fadae("ingest", "texts", "--archive-url", archive.url, "-w", str(tmp_path), "--json")
    assert result.returncode == 65, result.stderr
    assert "no " in result.stderr.splitlines()[-1]
    assert summary(result)["ok"] == 0
