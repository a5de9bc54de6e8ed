"""`fadae ingest` and `fadae wait` as commands: options, exit codes, the JSON line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fadae.cli.app import app
from fadae.store import generations
from fadae.store.location import Location
from fadae.summaries import TrainSummary
from tests.audio.sounds import music, save
from tests.command import fadae

KEYS = {"recordings", "ok", "failed", "quarantined", "audio_seconds", "bytes", "failures"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "music" / "a b.ogg", music(2))
    return tmp_path / "music"


def test_ingest_prints_its_summary_and_resumes(folder: Path, tmp_path: Path) -> None:
    command = [
        "ingest",
        "--folder",
        str(folder),
        "-w",
        str(tmp_path / "w"),
        "--workers",
        "1",
        "--json",
    ]
    first, second = fadae(*command), fadae(*command)
    assert first.returncode == second.returncode == 0
    summary = json.loads(first.stdout.splitlines()[-1])
    assert set(summary) >= KEYS
    assert json.loads(second.stdout) == summary
    assert fadae("wait", "ingest", "-w", str(tmp_path / "w")).returncode == 0
    other = fadae(*command, "--sample-rate", "8000")
    assert other.returncode == 2
    assert "11025 Hz" in other.stderr


def test_a_second_folder_of_the_same_name_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "music"
    save(other / "a b.ogg", music(3))
    result = fadae(
        "ingest", "--folder", str(folder), "--folder", str(other), "-w", str(tmp_path / "w")
    )
    assert result.returncode == 2
    assert f"{folder} under the name 'music'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ingest", "--retry", "often"], 2, "transient, permanent, all, none"),
        (["ingest", "--archive-url", "nowhere"], 2, "not an archive's URL"),
        (["ingest", "--folder", "/no/such/folder"], 2, "/no/such/folder"),
        (["ingest", "--scheduler", "tcp://127.0.0.1:1", "-w", "memory://a"], 2, "this process"),
        (["wait", "everything"], 2, "no stage"),
        (["wait", "extract", "train", "--timeout", "0.2", "--every", "0.1"], 75, "no extract"),
    ],
)
def test_users_errors_have_one_line_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    where = [] if "-w" in arguments else ["-w", str(tmp_path / "w")]
    ran = fadae(*arguments, *where, *(["--workers", "1"] if arguments[0] == "ingest" else []))
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_wait_sees_each_stage(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    assert fadae("wait", "train", "--timeout", "0", "-w", location.url).returncode == 75
    location.write_bytes("runs/mine/model.safetensors", b"")
    assert fadae("wait", "train", "--run", "mine", "-w", location.url).returncode == 0


def test_wait_asks_for_its_generation(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    location.write_bytes("runs/mine/model.safetensors", b"")

    def waited(generation: str) -> int:
        arguments = ["wait", "train", "--run", "mine", "--timeout", "0", "-w", location.url]
        return CliRunner().invoke(app, [*arguments, "--generation", generation]).exit_code

    assert waited("monday") == 75  # the model is another generation's
    generations.note_summary(location, "monday", TrainSummary(run="mine-2"))
    assert waited("monday") == 0
    assert waited("../monday") == 2
    assert generations.noted(location, "monday", "train")["run"] == "mine-2"
    assert generations.noted(location, None, "train") == {}
