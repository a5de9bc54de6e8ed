"""A finished run and recordings that came since: kept, continued, trained anew, or refused."""

from __future__ import annotations

import json

import pytest

from fadae.config.job import TrainConfig
from fadae.errors import UsageError
from fadae.store.features import FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.training.context import Preempted
from fadae.training.dataset import open_dataset
from fadae.training.launch import train
from fadae.training.run import Run
from fadae.training.runs import Role, run_config, split_of
from tests.training.features import append_recordings
from tests.training.small import metrics_of, model_hash, small, stopping_after, train_until

GROWING = {"on_growth": "continue", "evaluate_epochs": 1, "schedule": "cosine"}


def grow(location: Location) -> None:
    append_recordings(location, FrameStore.open(location, FEATURES), [120, 90, 64])


def roles(location: Location, run: str = "default") -> dict[str, Role]:
    split = split_of(FeatureSet.open(location), run_config(location, run))
    return dict(zip(split.ids, split.roles, strict=True))


def test_a_finished_run_goes_on_over_all_rows(location: Location) -> None:
    first = train(location, small(**GROWING))
    before, model = roles(location), model_hash(location)
    grow(location)
    second = train(location, small(**GROWING))
    assert second["train_frames"] > first["train_frames"]
    assert second["holdout_frames"] > first["holdout_frames"]
    assert second.stale_recordings == 0
    # As many passes as were asked for, over all rows, those already learned counted.
    assert first["steps"] < second["steps"] == 2 * -(-second["train_frames"] // 64)
    assert model_hash(location) != model
    steps = [line["step"] for line in metrics_of(location)]
    assert steps == sorted(set(steps)) and steps[-1] == second.steps
    # Nobody changes sides, so the scores stay those of unseen music.
    now = roles(location)
    assert {one: now[one] for one in before} == before
    assert set(now.values()) == {Role.TRAINED, Role.HELD_OUT}
    assert train(location, small(**GROWING)) == second  # done: nothing came since


@pytest.mark.parametrize("after", [0, 3])
def test_stopped_anywhere_after_growing_it_ends_the_same(location: Location, after: int) -> None:
    for run in ("undisturbed", "default"):
        train(location, small(run=run, **GROWING))
    grow(location)
    train(location, small(run="undisturbed", **GROWING))
    with pytest.raises(Preempted):
        train_until(location, small(**GROWING), stopping_after(after))
    summary = train(location, small(**GROWING))
    assert model_hash(location) == model_hash(location, "undisturbed")
    known = Run(location, "undisturbed").read("summary.json")["summary"]
    assert summary.holdout_nmse_db == known["holdout_nmse_db"]
    assert summary.pca_nmse_db == known["pca_nmse_db"]


def test_killed_while_it_takes_the_new_rows_in_it_grows_again(location: Location) -> None:
    """summary.json is gone, config.json still speaks of the old rows."""
    for run in ("undisturbed", "default"):
        train(location, small(run=run, **GROWING))
    grow(location)
    train(location, small(run="undisturbed", **GROWING))
    location.delete("runs/default/summary.json")
    train(location, small(**GROWING))
    assert model_hash(location) == model_hash(location, "undisturbed")
    config = json.loads(location.read_bytes("runs/default/config.json"))
    assert len(config["dataset"]["growths"]) == 1


def test_a_run_under_way_ends_on_its_rows_and_then_grows(location: Location) -> None:
    train(location, small(run="undisturbed", **GROWING))
    with pytest.raises(Preempted):
        train_until(location, small(**GROWING), stopping_after(5))
    grow(location)
    train(location, small(run="undisturbed", **GROWING))
    train(location, small(**GROWING))
    assert model_hash(location) == model_hash(location, "undisturbed")


def test_a_limit_of_steps_grows_with_the_frames(location: Location) -> None:
    settings = {"on_growth": "continue", "max_steps": 4}
    first = train(location, small(**settings))
    grow(location)
    second = train(location, small(**settings))
    assert second["steps"] == -(-4 * second["train_frames"] // first["train_frames"]) > 4


def test_pca_is_fitted_to_all_rows(location: Location) -> None:
    settings = {"model": "pca", "widths": (4,), "on_growth": "continue"}
    train(location, small(**settings))
    grow(location)
    train(location, small(**settings))
    train(location, small(run="anew", **settings))
    dataset = open_dataset(location, TrainConfig(), None)
    recorded = run_config(location, "default")
    assert recorded is not None and recorded["dataset"]["rows"] == dataset.rows


def test_a_new_run_has_a_number(location: Location) -> None:
    new = small(on_growth="new", max_steps=2)
    assert train(location, new).run == "default"
    grow(location)
    with pytest.raises(Preempted):
        train_until(location, small(run="default-2", max_steps=2), stopping_after(1))
    first, again = train(location, new), train(location, new)
    assert first.run == again.run == "default-2"
    assert first.stale_recordings == 0
    assert Run(location, "default-3").recorded() is None


def test_refused_with_the_remedy(location: Location) -> None:
    settings = small(on_growth="refuse", max_steps=1)
    train(location, settings)
    grow(location)
    with pytest.raises(
        UsageError, match=r"3 recordings came after .* --on-growth continue"
    ) as told:
        train(location, settings)
    assert told.value.exit_code == 2
