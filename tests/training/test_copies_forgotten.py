"""Copies, splits and what is forgotten: who was on which side stays there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fadae
from fadae.forget import forget
from fadae.store import FeatureSet, Location
from fadae.training.run import Run
from fadae.training.runs import RunSplit, owners, run_config, split_of
from tests.synthetic import music, write_features
from tests.training.small import small

ONE = music(30, seed=1)
PCM = {
    "f/a": ONE,
    "f/b": (ONE // 2).astype(np.int16),
    "f/c": ONE[3 * 11025 + 77 :],
    **{f"o/{n}": music(6, seed=10 + n) for n in range(6)},
    "t/own": music(6, seed=30),
    "t/twin": music(6, seed=30),
}


def begun(location: Location, name: str) -> RunSplit:
    """The split of a run that has begun now, as its config.json says."""
    run, config = Run(location, name), small(run=name, holdout=0.3)
    run.begin(config, run.bind(config), {})
    return read(location, name)


def read(location: Location, name: str) -> RunSplit:
    return split_of(FeatureSet.open(location), run_config(location, name))


def sides(split: RunSplit) -> dict[str, bool]:
    """Whether each recording that is shown is held out."""
    return {**dict.fromkeys(split.trained, False), **dict.fromkeys(split.held_out, True)}


@pytest.mark.parametrize("erase_bytes", [False, True])
def test_forgetting_moves_nobody_to_another_side(tmp_path: Path, erase_bytes: bool) -> None:
    location = Location(str(tmp_path))
    write_features(location, PCM, same_as={"t/twin": "t/own"})
    before = begun(location, "before")
    kept = sides(before)
    assert set(kept) == set(PCM) and set(kept.values()) == {False, True}
    assert kept["f/a"] == kept["f/b"] == kept["f/c"] and kept["t/own"] == kept["t/twin"]

    for gone in ("f/a", "t/own"):  # whose id names the family's side; who has a twin
        forget(location, [gone], "asked", erase_bytes=erase_bytes)
        del kept[gone]
    older = read(location, "before")
    assert older.roles == before.roles and sides(older) == kept
    now = sides(begun(location, "now"))
    assert set(now) == set(kept) and now["f/b"] == now["f/c"]
    if not erase_bytes:  # an erased copy can name no side
        assert now == kept
    assert now["t/twin"] == kept["t/twin"]
    features = FeatureSet.open(location)
    starts, rows = owners(features)
    twin = fadae.open(location.url).recording("t/twin")
    assert rows[starts.tolist().index(twin.frame_start)] == twin.row
    split = read(location, "now")
    spans = {*split.trained_rows.starts.tolist(), *split.held_out_rows.starts.tolist()}
    assert spans == set(starts.tolist()), "all that can be heard is on a side, and nothing else"
