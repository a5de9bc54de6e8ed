"""Whole runs of one rank: figures, files, going on, refusing, stopping."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from fadae.config.job import TrainConfig
from fadae.errors import FadaeError, NoInputError, UsageError
from fadae.model.codec import Codec
from fadae.scores import nmse_db
from fadae.store.features import FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.training.context import Preempted, precision_of
from fadae.training.dataset import open_dataset
from fadae.training.launch import train
from tests.training.features import append_recordings
from tests.training.small import metrics_of, model_hash, small, stopping_after, train_until

STEPS = 14  # of small(): 2 epochs of 400 rows


def test_a_run_leaves_its_model_metrics_and_figures(location: Location) -> None:
    summary = train(location, small())
    assert summary["steps"] == STEPS
    assert summary["train_frames"] == 400
    assert summary["holdout_frames"] == 440
    assert (summary["silent_rows"], summary["failed_rows"]) == (2, 1)
    assert summary["pca_components"] == 8
    assert summary["model_sha256"] == model_hash(location)
    lines = metrics_of(location)
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert lines[-1]["step"] == STEPS
    assert lines[-1]["holdout_nmse_db"] == pytest.approx(summary["holdout_nmse_db"])
    assert lines[-1]["pca_nmse_db"] == pytest.approx(summary["pca_nmse_db"])
    assert lines[0]["train_loss"] > lines[-1]["train_loss"]


def test_the_codec_of_a_run_scores_as_the_run_says(location: Location) -> None:
    summary = train(location, small())
    features = FeatureSet.open(location)
    rows = open_dataset(location, small(), None).split.holdout.within(0, features.rows)
    raw = features.read("features")[rows].astype(np.float32)
    raw = raw[np.isfinite(raw).all(1) & (raw != 0).any(1)]
    found = nmse_db(raw, Codec.load(location, "default").reconstruct(raw))
    assert found == pytest.approx(summary["holdout_nmse_linear_db"], abs=1e-4)


def test_a_finished_run_answers_at_once_and_changes_nothing(location: Location) -> None:
    summary = train(location, small())
    before = location.read_bytes("runs/default/metrics.jsonl")
    location.delete(FEATURES)  # it does not even look at the features
    assert train(location, small()) == summary
    assert location.read_bytes("runs/default/metrics.jsonl") == before


def test_other_settings_are_refused_by_name(location: Location) -> None:
    train(location, small(max_steps=3))
    with pytest.raises(UsageError, match=r"batch_size 64 -> 32; seed 0 -> 1") as told:
        train(location, small(max_steps=3, batch_size=32, seed=1))
    assert told.value.exit_code == 2
    with pytest.raises(UsageError, match=r"max_steps 3 -> 2"):
        train(location, small(max_steps=2))
    train(location, small(max_steps=3, batch_size=32, fresh=True))


def test_a_run_may_grow_and_then_is_the_longer_one(location: Location) -> None:
    train(location, small(run="long", epochs=3))
    train(location, small(run="grown", epochs=1))
    assert train(location, small(run="grown", epochs=3))["steps"] == 21
    assert model_hash(location, "grown") == model_hash(location, "long")


def test_fresh_discards_this_run_only(location: Location) -> None:
    train(location, small(run="kept", max_steps=2))
    train(location, small(run="again", max_steps=2))
    train(location, small(run="again", max_steps=3, fresh=True))
    assert train(location, small(run="again", max_steps=3))["steps"] == 3
    assert train(location, small(run="kept", max_steps=2))["steps"] == 2


def test_a_run_stays_bound_to_the_rows_it_began_on(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(location, small(run="undisturbed"))["stale_recordings"] == 0
    assert "the new ones need" not in caplog.text
    with pytest.raises(Preempted):
        train_until(location, small(), stopping_after(5))
    append_recordings(location, FrameStore.open(location, FEATURES), [120])
    for _ in range(2):  # where it goes on, and where it is done
        caplog.clear()
        summary = train(location, small())
        assert (summary["train_frames"], summary["stale_recordings"]) == (400, 1)
        assert "run default began with 5 of 6 recordings; the new ones need --run NEW or" in (
            caplog.text
        )
    assert model_hash(location) == model_hash(location, "undisturbed")
    # A new run sees what came since.
    grown = train(location, small(run="later", max_steps=1))
    assert grown["train_frames"] + grown["holdout_frames"] == 960
    assert grown["padding_rows"] == 1024 - 840


def test_another_store_under_a_run_is_refused(location: Location) -> None:
    train(location, small(max_steps=1))
    recorded = json.loads(location.read_bytes("runs/default/config.json"))
    recorded["dataset"]["recordings_sha256"] = "0" * 64
    location.write_bytes("runs/default/config.json", json.dumps(recorded).encode())
    with pytest.raises(UsageError, match="not those that runs/default was started on"):
        train(location, small(max_steps=2))


@pytest.mark.parametrize("after", [0, 4, 7, 8, 20])
def test_preempted_anywhere_and_resumed_is_undisturbed(location: Location, after: int) -> None:
    settings = {"evaluate_epochs": 1, "clip_norm": 0.5, "warmup_steps": 3, "schedule": "cosine"}
    train(location, small(run="undisturbed", **settings))
    with pytest.raises(Preempted) as told:
        train_until(location, small(**settings), stopping_after(after))
    assert told.value.exit_code == 75
    assert told.value.summary is not None
    summary = train(location, small(**settings))
    assert model_hash(location) == model_hash(location, "undisturbed")
    again = [line["holdout_nmse_db"] for line in metrics_of(location) if "holdout_nmse_db" in line]
    first = metrics_of(location, "undisturbed")
    assert again == [line["holdout_nmse_db"] for line in first if "holdout_nmse_db" in line]
    assert (summary["silent_rows"], summary["failed_rows"]) == (2, 1)


def test_metrics_after_a_kill_hold_no_step_twice(location: Location) -> None:
    with pytest.raises(Preempted):
        train_until(location, small(log_steps=1), stopping_after(6))
    text = location.read_bytes("runs/default/metrics.jsonl")
    later = b'{"step": 9, "train_loss": 1.0}\n{"step": 10, "train_loss": 1.0}\n'
    location.write_bytes("runs/default/metrics.jsonl", text + later)
    train(location, small(log_steps=1))
    lines = metrics_of(location)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert all(line["train_loss"] < 0.9 for line in lines)


def test_a_loss_that_is_no_number_names_its_step(location: Location) -> None:
    with pytest.raises(FadaeError, match=r"loss of step \d+ is not finite") as told:
        train(location, small(learning_rate=1e38))
    assert told.value.exit_code == 1
    assert not location.exists("runs/default/model.safetensors")


def test_a_run_of_so_many_steps_is_evaluated_about_ten_times(location: Location) -> None:
    """However many epochs it may take: a recipe in steps says as many as anybody has."""
    train(location, small(epochs=1_000_000, max_steps=40, batch_size=64))
    lines = [line for line in metrics_of(location) if "holdout_nmse_db" in line]
    steps = [line["step"] for line in lines]
    assert 5 <= len(steps) <= 20 and steps[-1] == 40


# Sixteen frames are soon learned by heart: held-out frames get worse, by a clear margin.
STOPPING_EARLY = {
    "epochs": 400,
    "evaluate_epochs": 20,
    "early_stopping": 2,
    "learning_rate": 0.003,
    "max_frames": 16,
    "batch_size": 16,
}


def test_early_stopping_publishes_the_best_weights_and_their_scores(location: Location) -> None:
    summary = train(location, small(**STOPPING_EARLY))
    evaluated = {line["step"]: line for line in metrics_of(location) if "holdout_nmse_db" in line}
    best = min(evaluated, key=lambda step: evaluated[step]["holdout_nmse_db"])
    assert best < summary["steps"], "choose settings that get worse at the end"
    assert summary["published_step"] == summary["best_step"] == best
    for name in ("holdout_loss", "holdout_nmse_db", "holdout_nmse_linear_db"):
        assert summary[name] == evaluated[best][name]
    assert summary["best_holdout_nmse_db"] == summary["holdout_nmse_db"]
    assert summary["model_sha256"] == model_hash(location)
    # What is published is what learning up to there alone gives.
    train(location, small(**{**STOPPING_EARLY, "early_stopping": None}, run="to", max_steps=best))
    assert model_hash(location) == model_hash(location, "to")


def test_damaged_best_weights_are_told_and_the_last_ones_scored(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    summary = train(location, small(**STOPPING_EARLY))
    step = summary["best_step"]
    path = f"runs/default/checkpoints/best-{step}/model.safetensors"
    location.write_bytes(path, location.read_bytes(path)[:-1])
    location.delete("runs/default/summary.json")
    again = train(location, small(**STOPPING_EARLY))
    assert f"the best weights, of step {step}, are damaged" in caplog.text
    assert again["published_step"] == again["steps"] == summary["steps"]
    assert again["holdout_nmse_db"] > summary["holdout_nmse_db"]


def test_a_sample_of_frames(location: Location) -> None:
    summary = train(location, small(max_frames=100, epochs=1))
    assert (summary["train_frames"], summary["holdout_frames"]) == (100, 440)
    with pytest.raises(UsageError, match="max_frames 100 -> 50"):
        train(location, small(max_frames=50, epochs=1))


def test_a_run_keeps_the_rules_and_the_precision_it_began_with(location: Location) -> None:
    # Of an earlier fadae: no "rules" among its recipe, and fp32 was the default.
    settings = {"max_frames": 100, "reduction": "exact"}
    old = {**settings, "rules": 1, "precision": "fp32"}
    train(location, small(run="undisturbed", **old))
    with pytest.raises(Preempted):
        train_until(location, small(**old), stopping_after(2))
    recorded = location.read_bytes("runs/default/config.json")
    assert b"rules" not in recorded
    summary = train(location, small(**settings, precision="auto"))
    assert model_hash(location) == model_hash(location, "undisturbed")
    assert location.read_bytes("runs/default/config.json") == recorded
    assert train(location, small(**settings, precision="auto")) == summary
    train(location, small(run="new", **settings))
    assert model_hash(location, "new") != model_hash(location)


def test_a_new_run_takes_the_precision_of_the_device_and_says_so(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    taken = precision_of(TrainConfig(), torch.device("cpu"))
    with caplog.at_level("INFO", "fadae"):
        train(location, small(precision="auto", max_steps=1))
    assert f"run default: precision {taken}" in caplog.text
    recorded = json.loads(location.read_bytes("runs/default/config.json"))["recipe"]
    assert (recorded["precision"], recorded["rules"]) == (taken, TrainConfig().rules)
    for other in ({"reduction": "exact"}, {"model": "bytes"}, {"model": "pca"}):
        assert precision_of(small(**other), torch.device("cpu")) == "fp32"


def test_one_rank_trains_where_there_is_no_gpu(location: Location) -> None:
    assert train(location, small(ranks=None, device="cpu", max_steps=1))["ranks"] == 1


def test_micro_batches_give_the_same_gradient_nearly(location: Location) -> None:
    whole = train(location, small(run="whole", epochs=1))
    pieces = train(location, small(run="pieces", epochs=1, micro_batch=10))
    assert pieces["holdout_loss"] == pytest.approx(whole["holdout_loss"], rel=1e-4)


def test_bf16_learns_as_fp32_does(location: Location) -> None:
    full = train(location, small(run="full"))
    half = train(location, small(run="half", precision="bf16"))
    assert half["holdout_nmse_db"] == pytest.approx(full["holdout_nmse_db"], abs=0.05)
    tensors = Codec.load(location, "half").model.state_dict().values()
    assert all(str(tensor.dtype) == "torch.float32" for tensor in tensors)


def test_pca_is_a_run_like_any_other(location: Location) -> None:
    summary = train(location, small(model="pca"))
    assert summary["holdout_nmse_db"] == summary["pca_nmse_db"]
    assert math.isfinite(summary["holdout_loss"])
    assert Codec.load(location).code.size == 8
    assert train(location, small(model="pca")) == summary


def test_without_a_holdout_its_scores_are_undefined(location: Location) -> None:
    summary = train(location, small(holdout=0.0, max_steps=2))
    assert summary["holdout_loss"] is summary["pca_nmse_db"] is None
    assert summary["train_frames"] == 840


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(location: Location, device: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{device}'; available: cpu"):
        train(location, small(device=device, max_steps=1))
    assert not location.exists("runs/default")


def test_one_gpu_is_not_shared_by_ranks(location: Location) -> None:
    with pytest.raises(UsageError, match="is one GPU, 2 ranks want one each"):
        train(location, small(device="cuda:1", ranks=2))


def test_nothing_to_train_on(tmp_path: object) -> None:
    with pytest.raises(NoInputError, match="no workspace at"):
        train(Location(str(tmp_path)), small())
