"""What a run trained on and held out is told by recording and by row; which run is meant."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fadae
from fadae.config.job import TrainConfig
from fadae.errors import NoInputError, UsageError
from fadae.store.features import FeatureSet
from fadae.store.history import publication_numbers
from fadae.store.location import Location
from fadae.training.dataset import open_dataset
from fadae.training.roles import roles_of, write_roles
from fadae.training.run import Run
from fadae.training.runs import Role, best_run, chosen_run
from tests.synthetic import music, write_features

NAMES = tuple(f"a/{n}.ogg" for n in range(5))


def begin(location: Location, run: str = "default", **settings: object) -> None:
    """Begin a run as training does: its config.json binds it to the rows published now."""
    config = TrainConfig(run=run, **settings)  # type: ignore[arg-type]
    Run(location, run).begin(config, open_dataset(location, config, None), {})


def score(location: Location, run: str, holdout_nmse_db: float | None) -> None:
    location.write_bytes(f"runs/{run}/model.safetensors", b"")
    text = json.dumps({"summary": {"holdout_nmse_db": holdout_nmse_db}})
    location.write_bytes(f"runs/{run}/summary.json", text.encode())


@pytest.fixture
def location(tmp_path: Path) -> Location:
    location = Location(str(tmp_path))
    pcm = {name: music(4 + n, seed=n) for n, name in enumerate(NAMES)}
    write_features(
        location, {**pcm, "b/again.ogg": pcm[NAMES[2]]}, same_as={"b/again.ogg": NAMES[2]}
    )
    return location


def test_recordings_are_trained_on_or_held_out_as_training_reads_them(location: Location) -> None:
    begin(location)
    workspace = fadae.open(location.url)
    split = workspace.split("default")
    dataset = open_dataset(location, TrainConfig(), None)
    assert split.trained and split.held_out and not split.unseen
    for recording in workspace.recordings:
        start, stop = recording.frame_start, recording.frame_start + recording.frame_count
        trained = len(dataset.split.train.within(start, stop))
        held_out = len(dataset.split.holdout.within(start, stop))
        assert recording.held_out == (held_out > 0) == (trained == 0)
        assert recording.held_out == (recording.id in split.held_out)
        assert len(split.held_out_rows.within(start, stop)) == held_out
        assert len(split.trained_rows.within(start, stop)) == trained
    again, own = workspace.recording("b/again.ogg"), workspace.recording(NAMES[2])
    assert again.held_out == own.held_out


def test_what_came_since_is_neither(location: Location) -> None:
    begin(location)
    write_features(location, {"c/new.ogg": music(5, seed=9)})
    workspace = fadae.open(location.url)
    split = workspace.split("default")
    assert split.unseen == ["c/new.ogg"]
    assert workspace.recording("c/new.ogg").held_out is None
    assert workspace.recording(NAMES[0]).held_out is not None


def test_of_a_sample_only_recordings_with_a_drawn_frame_count_as_trained(
    location: Location,
) -> None:
    begin(location, max_frames=3)
    workspace = fadae.open(location.url)
    split = workspace.split("default")
    drawn = open_dataset(location, TrainConfig(max_frames=3), None).split.train
    for recording in workspace.recordings:
        start, stop = recording.frame_start, recording.frame_start + recording.frame_count
        assert (recording.id in split.trained) == bool(len(drawn.within(start, stop)))
    begin(location, "one", max_frames=1)
    one = fadae.open(location.url).split("one")
    assert len(set(one.trained) - {"b/again.ogg"}) == 1 and one.unseen


def test_a_single_recording_is_cut_in_time(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {"a/only.ogg": music(20)})
    begin(location, holdout=0.25)
    workspace = fadae.open(location.url)
    (only,), split = workspace.recordings, workspace.split("default")
    assert split.trained == ["a/only.ogg"] and only.held_out is False
    start, stop = split.held_out_seconds(only.frame_start, only.frame_count, workspace.hop_seconds)
    times = workspace.select("a/only.ogg")["frame_time"].to_numpy()
    dataset = open_dataset(location, TrainConfig(holdout=0.25), None)
    held_out = dataset.split.holdout.within(0, 1024)
    assert start == pytest.approx(times[held_out[0]])
    assert stop == pytest.approx(times[held_out[-1]] + workspace.hop_seconds)
    assert not np.intersect1d(split.trained_rows.within(0, 1024), held_out).size


def test_nothing_held_out_is_trained_on(location: Location) -> None:
    begin(location, holdout=0.0)
    split = fadae.open(location.url).split("default")
    assert not split.held_out and set(split.roles) == {Role.TRAINED}


def test_a_run_on_other_features_is_unknown(location: Location, tmp_path: Path) -> None:
    other = Location(str(tmp_path / "other"))
    write_features(other, {"z/other.ogg": music(6)})
    begin(location)
    config = location.read_bytes("runs/default/config.json")
    other.write_bytes("runs/default/config.json", config)
    workspace = fadae.open(other.url)
    assert set(workspace.split("default").roles) == {Role.UNKNOWN}
    assert workspace.recordings[0].held_out is None
    with pytest.raises(UsageError, match="no run 'defualt'"):
        workspace.split("defualt")


@pytest.mark.parametrize("settings", [{}, {"max_frames": 3}, {"holdout": 0.0}])
def test_a_finished_run_keeps_the_roles_that_dividing_finds(
    location: Location, settings: dict[str, Any], tmp_path: Path
) -> None:
    begin(location, **settings)
    write_roles(Run(location, "default"), FeatureSet.open(location))
    kept = roles_of(location, "default", FeatureSet.open(location))
    assert kept is not None
    workspace = fadae.open(location.url)
    assert list(kept) == list(workspace.split("default").roles) == list(workspace.roles("default"))
    # What came since has no role.
    pcm = music(5, seed=9)
    write_features(location, {"c/new.ogg": pcm})
    grown = fadae.open(location.url)
    assert grown.recording("c/new.ogg").held_out is None
    assert list(grown.roles("default")) == list(grown.split("default").roles)
    known = {Role.HELD_OUT: True, Role.TRAINED: False}
    assert [one.held_out for one in grown.recordings][:6] == [known.get(role) for role in kept]
    # Kept roles of another store, or damaged ones, are not taken.
    other = Location(str(tmp_path / "other"))
    write_features(other, {"z/other.ogg": music(6)})
    path = "runs/default/roles.zst"
    other.write_bytes(path, location.read_bytes(path))
    assert roles_of(other, "default", FeatureSet.open(other)) is None
    location.write_bytes(path, location.read_bytes(path)[:-9])
    assert roles_of(location, "default", FeatureSet.open(location)) is None


def test_a_lone_run_is_meant_and_of_several_the_best(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoInputError, match="fadae train"):
        chosen_run(location)
    begin(location, "zoo", seed=3)
    score(location, "zoo", None)
    assert fadae.open(location.url).default_run == "zoo"
    score(location, "alone", -2.0)
    score(location, "best", -7.5)
    begin(location, "unfinished")
    with caplog.at_level(logging.INFO, "fadae"):
        assert fadae.open(location.url).default_run == "best"
    assert "3 runs: taking 'best' (best held-out error, -7.50 dB)" in caplog.text


def test_without_held_out_errors_the_newest_is_meant(location: Location) -> None:
    for age, run in enumerate(("b", "a", "c")):
        score(location, run, None)
        path = location.full(f"runs/{run}/model.safetensors")
        os.utime(path, (1e9 - age, 1e9 - age))
    assert best_run(location, ["a", "b", "c"]) == ("b", "newest")


def test_the_publication_that_a_run_begins_on_is_kept(location: Location) -> None:
    """Another has come since, and `prune` looked before this run named the one it read."""
    store = FeatureSet.open(location).store
    store.publish(store.rows, store.recording_rows, {"published_plans": 3})
    dataset = open_dataset(location, TrainConfig(), None)
    write_features(location, {"c/new.ogg": music(3, seed=9)})
    store = FeatureSet.open(location).store
    store.publish(store.rows, store.recording_rows, {"published_plans": 4})
    Run(location, "default").begin(TrainConfig(), dataset, {})
    assert publication_numbers(location) == [3]
    kept = fadae.open(location.url, at=3)
    assert [one.id for one in kept.recordings] == [*NAMES, "b/again.ogg"]
