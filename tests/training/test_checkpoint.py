"""Checkpoints: committed last, verified, kept and retired; damage falls back to an older one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fadae.store.location import Location
from fadae.training.checkpoint import COMMIT, Checkpoint, Checkpoints
from fadae.training.launch import train
from fadae.training.rig import Preempted
from tests.s3 import S3Server
from tests.training.small import model_hash, small, stopping_after, train_until

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
                raise OSError("killed here")
            left[0] -= 1
            whole(self, path, data)

        monkeypatch.setattr(Location, "write_bytes", dies)
        with pytest.raises(OSError, match="killed here"):
            checkpoints.save(checkpoint(4))
        monkeypatch.setattr(Location, "write_bytes", whole)
        assert newest_step(checkpoints) == 3
    checkpoints.save(checkpoint(4))
    assert newest_step(checkpoints) == 4
    assert location.names(FOLDER) == ["step-3", "step-4"]


def test_the_best_is_kept_beside_the_last(saved: tuple[Location, Checkpoints]) -> None:
    location, checkpoints = saved
    checkpoints.save(checkpoint(4, best_step=4), best=(4, {"a": torch.ones(2)}))
    checkpoints.save(checkpoint(5, best_step=4))
    checkpoints.save(checkpoint(6, best_step=4))
    assert location.names(FOLDER) == ["best-4", "step-5", "step-6"]
    best = checkpoints.best(4)
    assert best is not None
    assert torch.equal(best["a"], torch.ones(2))
    checkpoints.save(checkpoint(7, best_step=7), best=(7, {"a": torch.zeros(2)}))
    assert location.names(FOLDER) == ["best-7", "step-6", "step-7"]


def test_saving_in_the_background_and_failing_is_told(
    saved: tuple[Location, Checkpoints],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, checkpoints = saved
    checkpoints.save_in_background(checkpoint(4))
    checkpoints.wait()
    assert newest_step(checkpoints) == 4

    def refuses(self: Location, path: str, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Location, "write_bytes", refuses)
    checkpoints.save_in_background(checkpoint(5))
    checkpoints.wait()
    assert "step-5 is not saved: disk full" in caplog.text


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


def _files(location: Location) -> list[str]:
    root = Path(location.url)
    return [str(p.relative_to(root)) for p in (root / "features.zarr").rglob("*") if p.is_file()]
