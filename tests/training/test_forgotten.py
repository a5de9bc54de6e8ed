"""A run and what is forgotten: left out from the start, refused to be learned on, told of."""

from __future__ import annotations

import numpy as np
import pytest

import fadae
from fadae.errors import UsageError
from fadae.forget import forget
from fadae.stages.reconstruct import reconstruct
from fadae.store.features import NO_SAMPLE, FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, reconstruction_path
from fadae.training.context import Preempted
from fadae.training.dataset import open_dataset
from fadae.training.launch import train
from fadae.training.runs import Role, run_config, split_of
from tests.training.features import append_recordings
from tests.training.small import model_hash, small, stopping_after, train_until


def ids(location: Location) -> list[str]:
    return [one.id for one in fadae.open(location.url).recordings]


def rows_of(location: Location, recording_id: str) -> range:
    one = fadae.open(location.url).recording(recording_id)
    return range(one.frame_start, one.frame_start + one.frame_count)


def drawn(location: Location) -> set[int]:
    features = FeatureSet.open(location)
    split = open_dataset(location, small(), None).split
    sides = (split.train, split.holdout)
    return {int(row) for side in sides for row in side.within(0, features.rows)}


@pytest.mark.parametrize("erase_bytes", [False, True])
def test_a_new_run_draws_no_forgotten_row(location: Location, erase_bytes: bool) -> None:
    gone = ids(location)[1]
    rows = set(rows_of(location, gone))
    assert rows & drawn(location) == rows
    forget(location, [gone], "asked", erase_bytes=erase_bytes)
    assert not rows & drawn(location)
    done = train(location, small(max_steps=2))
    config = run_config(location, "default")
    assert config is not None and config["dataset"]["forgotten"] == [[1, 2]]
    assert train(location, small(max_steps=2)) == done
    # What is forgotten later changes nothing of who was on which side.
    split = split_of(FeatureSet.open(location), config)
    before = split.roles
    assert before[1] is Role.UNSEEN and Role.UNKNOWN not in before
    told = forget(location, split.trained[:1], "asked", erase_bytes=erase_bytes)
    assert split_of(FeatureSet.open(location), config).roles == before
    assert told.learned == {"default": 1}
    now = split_of(FeatureSet.open(location), config)
    assert now.trained == split.trained[1:] and now.held_out == split.held_out
    assert now.trained_rows.count < split.trained_rows.count
    assert now.held_out_rows.count == split.held_out_rows.count
    info = fadae.open(location.url).info()
    assert info.learned_forgotten == {"default": 1} and info.forgotten == 2


def test_a_run_under_way_does_not_learn_on_from_it(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Preempted):
        train_until(location, small(), stopping_after(3))
    gone = ids(location)[0]
    forget(location, [gone], "asked")
    with pytest.raises(UsageError, match=rf"{gone}.*--fresh"):
        train(location, small())
    train(location, small(fresh=True))
    trained = fadae.open(location.url).split().trained
    forget(location, [trained[0]], "asked")
    train(location, small())  # done: it says what it learned from, and changes nothing
    assert "learned from 1 recordings that were forgotten" in caplog.text
    append_recordings(location, FrameStore.open(location, FEATURES), [120])
    with pytest.raises(UsageError, match="forgotten since it began"):
        train(location, small(on_growth="continue"))


def test_a_run_grows_without_what_is_forgotten(location: Location) -> None:
    train(location, small())
    append_recordings(location, FrameStore.open(location, FEATURES), [120, 90, 64])
    gone = ids(location)[-2]
    rows = set(rows_of(location, gone))
    forget(location, [gone], "asked")
    done = train(location, small(on_growth="continue"))
    assert done.stale_recordings == 0
    split = split_of(FeatureSet.open(location), run_config(location, "default"))
    trained = split.trained_rows.within(0, 10_000)
    assert not rows & {*trained.tolist(), *split.held_out_rows.within(0, 10_000).tolist()}


def test_reconstruction_leaves_forgotten_rows_blank(location: Location) -> None:
    train(location, small(max_steps=2))
    gone, other = ids(location)[1], ids(location)[2]
    rows, kept = rows_of(location, gone), rows_of(location, other)
    path, model = reconstruction_path("default"), model_hash(location)
    reconstruct(location)
    whole = {n: FrameStore.open(location, path).read(n) for n in ("audio", "encoded", "features")}
    location.delete(path)
    forget(location, [gone], "asked")
    done = reconstruct(location)
    store = FrameStore.open(location, path)
    for name, before in whole.items():
        found = store.read(name)
        fill = np.array(store.array(name).fill_value, found.dtype)
        blank = np.full_like(found[rows.start : rows.stop], fill)
        assert found[rows.start : rows.stop].tobytes() == blank.tobytes()
        assert np.array_equal(
            found[kept.start : kept.stop], before[kept.start : kept.stop], equal_nan=True
        )
    assert np.isfinite(done.nmse_db) and model == model_hash(location)
    forget(location, [other], "asked", erase_bytes=True)
    store = FrameStore.open(location, path)
    assert (store.read("audio", kept.start, kept.stop) == NO_SAMPLE).all()
    assert np.isnan(store.read("encoded", kept.start, kept.stop)).all()
    assert np.isnan(store.read("recording_nmse_db")[1:3]).all()
    with pytest.raises(UsageError, match="forgotten"):
        fadae.open(location.url).codes(gone)
