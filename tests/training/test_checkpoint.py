"""Checkpoints: committed last, verified, kept and retired; damage falls back to an older one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from fadae.errors import StorageError
from fadae.retry import RetryPolicy
from fadae.store import remote_zarr
from fadae.store.location import Location
from fadae.training.checkpoint import COMMIT, Checkpoint, Checkpoints, snapshot
from fadae.training.context import Preempted
from fadae.training.launch import train
from tests.proxy import FaultProxy
from tests.s3 import S3Server
from tests.training.small import metrics_of, model_hash, small, stopping_after, train_until

FOLDER = "runs/x/checkpoints"


def checkpoint(step: int, best_step: int | None = None) -> Checkpoint:
    tensors = {"a": torch.full((4,), float(step))}
    return Checkpoint(step, tensors, tensors, {"step": step, "best_step": best_step})


@pytest.fixture
def saved(tmp_path: object) -> tuple[Location, Checkpoints]:
    location = Location(str(tmp_path))
    checkpoints = Checkpoints(location, FOLDER, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(checkpoint(step))
    return location, checkpoints


def newest_step(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.newest()
    return None if found is None else found.step


def test_the_newest_is_read_back_and_the_last_are_kept(saved: tuple[Location, Checkpoints]) -> None:
    location, checkpoints = saved
    found = checkpoints.newest()
    assert found is not None
    assert found.state["step"] == 3
    assert torch.equal(found.model["a"], torch.full((4,), 3.0))
    assert location.names(FOLDER) == ["step-2", "step-3"]


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", COMMIT])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_one_is_passed_over_and_named(
    saved: tuple[Location, Checkpoints], file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    location, checkpoints = saved
    path = f"{FOLDER}/step-3/{file}"
    data = bytearray(location.read_bytes(path))
    if damage == "gone":
        location.delete(path)
    elif damage == "cut":
        location.write_bytes(path, bytes(data[: len(data) // 2]))
    else:
        data[len(data) // 2] ^= 1
        location.write_bytes(path, bytes(data))
    with caplog.at_level(logging.WARNING, "fadae"):
        assert newest_step(checkpoints) == 2
    assert "step-3" in caplog.text
    checkpoints.save(checkpoint(3))
    assert newest_step(checkpoints) == 3


def test_no_checkpoint_is_none(tmp_path: object) -> None:
    assert newest_step(Checkpoints(Location(str(tmp_path)), FOLDER, keep=2)) is None


def test_a_save_cut_short_anywhere_leaves_the_one_before(
    saved: tuple[Location, Checkpoints], monkeypatch: pytest.MonkeyPatch
) -> None:
    location, checkpoints = saved
    whole = Location.write_bytes
    for allowed in range(4):
        left = [allowed]

        def dies(self: Location, path: str, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise StorageError("killed here")
            left[0] -= 1
            whole(self, path, data)

        monkeypatch.setattr(Location, "write_bytes", dies)
        with pytest.raises(StorageError, match="killed here"):
            checkpoints.save(checkpoint(4))
        monkeypatch.setattr(Location, "write_bytes", whole)
        assert newest_step(checkpoints) == 3
    checkpoints.save(checkpoint(4))
    assert newest_step(checkpoints) == 4
    assert location.names(FOLDER) == ["step-3", "step-4"]


def test_the_best_is_kept_beside_the_last(saved: tuple[Location, Checkpoints]) -> None:
    location, checkpoints = saved
    checkpoints.keep_best(4, {"a": torch.ones(2)})
    checkpoints.save(checkpoint(4, best_step=4))
    checkpoints.save(checkpoint(5, best_step=4))
    checkpoints.save(checkpoint(6, best_step=4))
    assert location.names(FOLDER) == ["best-4", "step-5", "step-6"]
    best = checkpoints.best(4)
    assert best is not None
    assert torch.equal(best["a"], torch.ones(2))
    checkpoints.keep_best(7, {"a": torch.zeros(2)})
    checkpoints.save(checkpoint(7, best_step=7))
    assert location.names(FOLDER) == ["best-7", "step-6", "step-7"]


def test_saving_in_the_background_and_failing_is_told_and_keeps_the_best(
    saved: tuple[Location, Checkpoints], caplog: pytest.LogCaptureFixture
) -> None:
    location, checkpoints = saved
    checkpoints.save_in_background(checkpoint(4))
    checkpoints.wait()
    assert newest_step(checkpoints) == 4
    in_the_way = Path(location.full(f"{FOLDER}/best-5"))
    in_the_way.write_bytes(b"")
    checkpoints.keep_best(5, {"a": torch.ones(2)})
    checkpoints.save_in_background(checkpoint(5, best_step=5))
    checkpoints.wait()
    assert "checkpoint step-5 is not saved: " in caplog.text
    assert "Not a directory" in caplog.text
    assert newest_step(checkpoints) == 4
    in_the_way.unlink()
    kept = checkpoints.best(5)
    assert kept is not None
    assert torch.equal(kept["a"], torch.ones(2))
    checkpoints.save(checkpoint(6, best_step=5))
    assert location.names(FOLDER) == ["best-5", "step-4", "step-6"]
    again = Checkpoints(location, FOLDER, keep=2).best(5)
    assert again is not None
    assert torch.equal(again["a"], torch.ones(2))


def test_saving_in_the_background_begins_when_the_one_before_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(Location(str(tmp_path)), FOLDER, keep=2)
    written, met = list[str](), threading.Event()
    write = Location.write_bytes

    def slowly(self: Location, path: str, data: bytes) -> None:
        step = path.removeprefix(f"{FOLDER}/step-")
        if step.startswith("2"):
            met.set()
        elif not written:
            met.wait(0.3)  # for the next one to come in between, if it does
        written.append(step)
        write(self, path, data)

    monkeypatch.setattr(Location, "write_bytes", slowly)
    checkpoints.save_in_background(checkpoint(1))
    checkpoints.save_in_background(checkpoint(2))
    checkpoints.wait()
    assert [name.partition("/")[0] for name in written] == ["1"] * 4 + ["2"] * 4
    assert written[3] == f"1/{COMMIT}"


def test_what_a_later_run_left_takes_no_ones_place(saved: tuple[Location, Checkpoints]) -> None:
    """A run that went back before damaged checkpoints keeps its own, and those not at all."""
    location, checkpoints = saved
    for step in (7, 8, 9):
        location.write_bytes(f"{FOLDER}/step-{step}/model.safetensors", b"torn")
    assert newest_step(checkpoints) == 3
    checkpoints.save(checkpoint(4))
    assert location.names(FOLDER) == ["step-3", "step-4"]


def test_a_snapshot_stays_as_it_was() -> None:
    weights = {"a": torch.ones(3, requires_grad=True)}
    taken = snapshot(weights)
    with torch.no_grad():
        weights["a"] += 1
    assert torch.equal(taken["a"], torch.ones(3)) and not taken["a"].requires_grad


def test_equal_tensors_are_equal_bytes(saved: tuple[Location, Checkpoints]) -> None:
    location, checkpoints = saved
    first = location.read_bytes(f"{FOLDER}/step-3/model.safetensors")
    checkpoints.save(checkpoint(3))
    assert location.read_bytes(f"{FOLDER}/step-3/model.safetensors") == first


def test_a_run_goes_on_from_before_the_damage(location: Location) -> None:
    train(location, small(run="undisturbed"))
    with pytest.raises(Preempted):
        train_until(location, small(checkpoint_steps=2), stopping_after(6))
    path = "runs/default/checkpoints/step-6/optimizer.safetensors"
    location.write_bytes(path, location.read_bytes(path)[:-1])
    train(location, small(checkpoint_steps=2))
    assert model_hash(location) == model_hash(location, "undisturbed")


def test_a_run_on_s3_is_the_run_on_a_folder(location: Location, s3: S3Server) -> None:
    train(location, small())
    bucket = Location(f"{s3.url}/training", s3.storage_options)
    for path in _files(location):
        bucket.write_bytes(path, location.read_bytes(path))
    with pytest.raises(Preempted):
        train_until(bucket, small(checkpoint_steps=3), stopping_after(7))
    steps = bucket.names("runs/default/checkpoints")  # the server may list emptied folders
    kept = [step for step in steps if bucket.names(f"runs/default/checkpoints/{step}")]
    assert kept == ["step-6", "step-7"]
    path = "runs/default/checkpoints/step-7/model.safetensors"
    bucket.write_bytes(path, bucket.read_bytes(path)[:-1])
    assert train(bucket, small(checkpoint_steps=3))["steps"] == 14
    assert model_hash(bucket) == model_hash(location)


def test_a_bucket_that_fails_for_a_while_costs_a_checkpoint_and_nothing_else(
    location: Location,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {"epochs": 4, "checkpoint_steps": 5, "evaluate_epochs": 1, "early_stopping": 99}
    train(location, small(**settings))
    monkeypatch.setattr(remote_zarr, "POLICY", RetryPolicy(total_seconds=0))
    monkeypatch.setattr("fadae.training.run.SECONDS_BETWEEN_WRITES", 0.0)
    direct = Location(f"{s3.url}/failing", s3.storage_options)
    for path in _files(location):
        direct.write_bytes(path, location.read_bytes(path))
    with FaultProxy(s3.port + 3) as proxy:
        options = {**s3.storage_options, "endpoint_url": proxy.url}
        phases: Iterator[Callable[[], bool]] = iter(
            (
                lambda: "step-10" in direct.names("runs/default/checkpoints"),
                lambda: "step-15 is not saved" in caplog.text,
            )
        )
        due = next(phases)

        def fails_for_a_while() -> bool:
            """Never stop; let the bucket fail from the first checkpoint on, until that shows."""
            nonlocal due
            if due():
                due = next(phases, lambda: False)
                proxy.refuse(not proxy.is_refusing)
            return False

        bucket = Location(direct.url, options)
        summary = train_until(bucket, small(**settings), fails_for_a_while)
    assert summary["steps"] == 28
    assert due() is False
    assert not proxy.is_refusing, "the bucket did not fail, or not for a while"
    assert model_hash(direct) == model_hash(location)
    told = [[{**line, "seconds": None} for line in metrics_of(at)] for at in (direct, location)]
    assert told[0] == told[1]
    best = Checkpoints(direct, "runs/default/checkpoints", 2).best(summary["best_step"])
    assert best is not None


def _files(location: Location) -> list[str]:
    root = Path(location.url)
    return [str(p.relative_to(root)) for p in (root / "features.zarr").rglob("*") if p.is_file()]
