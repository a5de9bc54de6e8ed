"""Trackers hold what metrics.jsonl holds, each step once, whatever was killed or done again."""

from __future__ import annotations

import json
import logging
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.errors import UsageError
from fadae.records import MetricsRow
from fadae.store.location import Location
from fadae.tracking.exporting import ensure_trackers, export, open_trackers
from fadae.tracking.tracker import TrackedRun, TrackingError, figures
from fadae.training.context import Preempted
from fadae.training.launch import train
from fadae.training.run import Run
from tests.command import fadae, summary
from tests.training.small import metrics_of, small, stopping_after, train_until

Logged = dict[str, list[tuple[int, Any]]]
KILLED: dict[str, Any] = {"epochs": 3, "checkpoint_steps": 5, "keep": 5, "log_steps": 2}


def told(lines: list[Any]) -> Logged:
    """What trackers must hold."""
    found: Logged = {}
    for line in lines:
        for name, value in figures(line).items():
            found.setdefault(name, []).append((line["step"], value))
    return found


def killed_and_resumed(location: Location, tracker: str) -> Logged:
    """Train a run that goes back to step 5 in between; return what was told of it."""
    with pytest.raises(Preempted):
        train_until(location, small(**KILLED, track=(tracker,)), stopping_after(16))
    first, *later = location.names("runs/default/checkpoints")
    assert first.endswith("5") and later
    for checkpoint in later:
        location.delete(f"runs/default/checkpoints/{checkpoint}")
    assert metrics_of(location)[-2]["step"] > 5, "trackers have steps that are done again"
    train(location, small(**KILLED, track=(tracker,)))
    lines = metrics_of(location)
    assert lines[-1]["step"] == 21 and "pca_nmse_db" in lines[-1]
    return told(lines)


def rounded(logged: Logged) -> Logged:
    """To what TensorBoard's float32 keeps, without the clock's own."""
    return {
        name: [(step, pytest.approx(value, rel=1e-6)) for step, value in points]
        for name, points in logged.items()
        if name != "seconds"
    }


def test_tensorboard_shows_every_step_once(location: Location) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard: pip install 'fadae[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    expected = killed_and_resumed(location, "tensorboard")
    assert len(location.names("runs/default/tensorboard")) == 1
    events = EventAccumulator(location.full("runs/default/tensorboard")).Reload()
    found = {
        name: [(one.step, one.value) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    assert {name: v for name, v in found.items() if name != "seconds"} == rounded(expected)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def mlflow(database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a database of its own, which fadae logs to as well."""
    pytest.importorskip("mlflow", reason="MLflow: pip install 'fadae[mlflow]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", database)
    return MlflowClient()


def runs_in(mlflow: Any, workspace: str) -> list[Any]:
    experiment = mlflow.get_experiment_by_name("fadae")
    asked = f"tags.`fadae.workspace` = '{workspace}'"
    return list(mlflow.search_runs([experiment.experiment_id], asked))


def logged_in(mlflow: Any, run: Any) -> Logged:
    return {
        name: [(one.step, one.value) for one in mlflow.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def test_mlflow_has_one_run_with_every_step_once(location: Location, mlflow: Any) -> None:
    expected = rounded(killed_and_resumed(location, "mlflow"))
    (run,) = runs_in(mlflow, location.url)
    found = logged_in(mlflow, run)
    assert {name: points for name, points in found.items() if name != "seconds"} == expected
    assert run.info.status == "FINISHED" and run.info.run_name == "default"
    assert run.data.params["widths"] == "[32,8]" and run.data.tags["epochs"] == "3"
    for _ in range(2):  # what is there is not logged again
        done = fadae("runs", "-w", location.url, "--track", "mlflow", "--json")
        assert summary(done)["tracked"] == ["default"], done.stderr
    (again,) = runs_in(mlflow, location.url)
    assert logged_in(mlflow, again) == found


def test_a_longer_run_goes_on_in_its_mlflow_run(location: Location, mlflow: Any) -> None:
    train(location, small(epochs=1, track=("mlflow",)))
    train(location, small(epochs=2, track=("mlflow",)))
    (run,) = runs_in(mlflow, location.url)
    steps = [one.step for one in mlflow.get_metric_history(run.info.run_id, "train_loss")]
    assert steps == [line["step"] for line in metrics_of(location) if "train_loss" in line]
    assert run.data.tags["epochs"] == "2"


def test_training_goes_on_without_a_tracker_and_names_no_password(
    location: Location,
    mlflow: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "fadae"):
        train(location, small(max_steps=3, track=("mlflow",)))
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "mlflow: not logged" in told and "runs default --track mlflow" in told
    failed = fadae("runs", "-w", location.url, "--track", "mlflow")
    assert failed.returncode == 75 and "mlflow: not logged" in failed.stderr
    assert "s3cret" not in told + failed.stderr
    assert location.exists("runs/default/summary.json")


def records_of(file: Path) -> Iterator[bytes]:
    """Yield the records of one of W&B's files: LevelDB's log format after 7 bytes of its own."""
    data, at, parts = file.read_bytes(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def logged_offline(folder: Path) -> Logged:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found: Logged = {}
    for data in records_of(file):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in items.items():
                if not name.startswith("_"):
                    found.setdefault(name, []).append((items["_step"], value))
    return found


def test_wandb_has_one_offline_run_with_every_step_once(
    location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="W&B: pip install 'fadae[wandb]'")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "wandb here"))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    expected = killed_and_resumed(location, "wandb")
    deadline = time.monotonic() + 60  # W&B's own process writes the last of it
    while (found := logged_offline(tmp_path / "wandb here")).keys() != expected.keys():
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert {name: v for name, v in found.items() if name != "seconds"} == rounded(expected)
    kept = [path for path in (tmp_path / "wandb here").rglob("*") if path.is_file()]
    assert [path for path in kept if b"0123456789abcdef" in path.read_bytes()] == []


def test_a_tracker_that_cannot_be_is_refused(location: Location) -> None:
    with pytest.raises(UsageError, match="--track aim: one of tensorboard, mlflow, wandb"):
        ensure_trackers(["aim"], location)
    with pytest.raises(UsageError, match="--track aim: one of tensorboard, mlflow, wandb"):
        small(track=("aim",))
    pytest.importorskip("tensorboard", reason="TensorBoard: pip install 'fadae[tensorboard]'")
    bucket = Location("memory://bucket")
    with pytest.raises(UsageError, match="local folders only, not memory://bucket"):
        ensure_trackers(["tensorboard"], bucket)


def test_the_last_line_of_a_run_under_way_waits() -> None:
    class Kept:
        lines: list[MetricsRow]
        closed: bool | None = None

        def take(self, lines: Any) -> None:
            self.lines = list(lines)

        def close(self, done: bool) -> None:
            self.closed = done

    tracker, lines = Kept(), [MetricsRow(step=1), MetricsRow(step=2)]
    export([tracker], lines, done=False)
    assert (tracker.lines, tracker.closed) == (lines[:1], False)
    export([tracker], lines, done=True)
    assert (tracker.lines, tracker.closed) == (lines, True)


def test_a_run_keeps_its_identity_while_it_goes_on(location: Location) -> None:
    train(location, small(max_steps=2))
    config = Run(location, "default").recorded()
    assert config is not None

    def identity(**changed: Any) -> str:
        return TrackedRun.of(location, "default", {**config, **changed}).identity  # type: ignore[typeddict-item]

    same = identity()
    rows = config["dataset"]["rows"]
    growths = [{"rows": rows, "step": 2, "train_frames": 1}]
    assert identity(recipe={**config["recipe"], "epochs": 9, "max_steps": None}) == same
    assert identity(dataset={**config["dataset"], "rows": 2 * rows, "growths": growths}) == same
    assert identity(recipe={**config["recipe"], "seed": 7}) != same
    assert identity(dataset={**config["dataset"], "rows": 2 * rows}) != same
    assert TrackedRun.of(location, "other", config).identity != same


def test_errors_of_trackers_name_no_password() -> None:
    error = ValueError("no answer of postgresql://me:s3cret@db/mlflow\nat all")
    assert str(TrackingError("mlflow", error)) == (
        "mlflow: not logged: ValueError: no answer of postgresql://db/mlflow at all"
    )


def test_trackers_are_opened_by_name(location: Location) -> None:
    train(location, small(max_steps=2))
    config = Run(location, "default").recorded()
    assert config is not None
    assert open_trackers([], location, "default", config) == []
