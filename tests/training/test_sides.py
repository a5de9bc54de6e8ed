"""Copies lie on one side of a run's split, now and when the run takes in more recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fadae.config.job import TrainConfig
from fadae.data.rows import Split, split_rows
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.training.dataset import open_dataset
from fadae.training.launch import train
from fadae.training.run import Run
from fadae.training.runs import Role, Side, run_config, sides_of, split_of
from fadae.training.sides import Families, Sides
from tests.synthetic import music, write_features
from tests.training.small import small

IDS = [f"i/{number:03d}" for number in range(60)]


def divided(
    parts: list[tuple[list[int], Families]], holdout: float = 0.3, seed: int = 0
) -> dict[int, str]:
    """Return the side of each recording, all of 10 rows, added part by part."""
    sides = Sides(lambda row: IDS[row], holdout, seed)
    for recordings, families in parts:
        rows = np.array(recordings)
        sides.add(rows, rows * 10, np.full(len(rows), 10), 10 * len(rows), families)
    return {row: side_of(sides.split, row * 10) for rows, _ in parts for row in rows}


def side_of(split: Split, row: int) -> str:
    held, trained = len(split.holdout.within(row, row + 10)), len(split.train.within(row, row + 10))
    return "both" if held and trained else "held" if held else "trained" if trained else "neither"


@pytest.mark.parametrize("seed", range(8))
def test_a_family_lies_on_one_side(seed: int) -> None:
    drawn = np.random.default_rng(seed).permutation(60)
    families = [sorted(part.tolist()) for part in np.split(drawn[:40], [3, 5, 12, 20, 22, 31])]
    sides = divided([(list(range(60)), families)], seed=seed)
    assert all(len({sides[row] for row in members}) == 1 for members in families)
    assert set(sides.values()) == {"held", "trained"}
    held = sum(side == "held" for side in sides.values())
    assert abs(held - 18) <= 5  # near the share, as far as families of up to 9 allow


def test_without_families_it_is_the_split_of_before() -> None:
    rows, counts = np.arange(60) * 10, np.full(60, 10)
    before = split_rows(IDS, rows, counts, 600, 0.3, 0)
    now = divided([(list(range(60)), [])])
    assert now == {row: side_of(before, row * 10) for row in range(60)}


def test_what_comes_later_joins_its_family_and_moves_nobody() -> None:
    first = divided([(list(range(20)), [[0, 1]])])
    held = next(row for row, side in first.items() if side == "held")
    trained = next(row for row, side in first.items() if side == "trained")
    later = [[held, 20], [trained, 21, 22], [min(held, trained), max(held, trained), 23], [24, 25]]
    for bridge in (False, True):
        families = [later[2], later[3]] if bridge else [later[0], later[1], later[3]]
        now = divided([(list(range(20)), [[0, 1]]), (list(range(20, 40)), families)])
        assert {row: now[row] for row in first} == first
        assert now[24] == now[25]
        if bridge:  # a copy of recordings on both sides: on neither is it unseen
            assert now[23] == "neither"
        else:
            assert (now[20], now[21], now[22]) == ("held", "trained", "trained")


def test_copies_of_one_recording_that_is_cut_in_time_are_left_out() -> None:
    now = divided([([3], []), ([4, 5, 6], [[3, 4]])])
    assert (now[3], now[4]) == ("both", "neither")
    assert {now[5], now[6]} == {"held", "trained"}


def test_where_all_are_copies_they_are_divided_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert set(divided([([0, 1, 2, 3], [[0, 1, 2, 3]])]).values()) == {"held", "trained"}
    assert "all 4 recordings are copies" in caplog.text


def copies() -> dict[str, np.ndarray]:
    found = {f"a/{n}": music(12, seed=n) for n in range(5)}
    return found | {f"b/{n}": (found[f"a/{n}"] // 2).astype(np.int16) for n in range(5)}


def begin(location: Location, run: str = "default", **settings: object) -> None:
    config = TrainConfig(run=run, **settings)  # type: ignore[arg-type]
    Run(location, run).begin(config, Run(location, run).bind(config), {})


def roles(location: Location, run: str = "default") -> dict[str, Role]:
    split = split_of(FeatureSet.open(location), run_config(location, run))
    return dict(zip(split.ids, split.roles, strict=True))


def test_a_run_finds_families_when_it_begins_and_keeps_to_them(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, copies())
    begin(location)
    now = roles(location)
    assert all(now[f"a/{n}"] == now[f"b/{n}"] for n in range(5))
    assert set(now.values()) == {Role.TRAINED, Role.HELD_OUT}
    recorded = run_config(location, "default")
    assert recorded is not None and len(recorded["dataset"]["families"]) == 5
    # What is published later ties two of them together, and moves nobody.
    both = np.concatenate([music(12, seed=0), music(12, seed=1), music(12, seed=2)])
    write_features(location, {"c/medley": both})
    config = TrainConfig()
    assert Run(location, "default").bind(config).description == recorded["dataset"]
    assert {one: role for one, role in roles(location).items() if one != "c/medley"} == now


def test_without_a_run_the_sides_are_those_of_one_that_begins_now(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, copies())
    features = FeatureSet.open(location)
    before = sides_of(features, None)
    begin(location)
    after = sides_of(features, run_config(location, "default"))
    for side in Side:
        np.testing.assert_array_equal(before[side].starts, after[side].starts)
        np.testing.assert_array_equal(before[side].stops, after[side].stops)


def test_the_sides_do_not_depend_on_the_order_of_publication(tmp_path: Path) -> None:
    told = []
    for name, turn in (("x", 1), ("y", -1)):
        location = Location(str(tmp_path / name))
        write_features(location, dict(list(copies().items())[::turn]))
        begin(location)
        told.append(roles(location))
    assert told[0] == told[1]


def test_a_run_of_before_is_divided_as_it_was(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, copies())
    config = TrainConfig()
    dataset = open_dataset(location, config, None)  # as earlier versions of fadae recorded it
    Run(location, "default").begin(config, dataset, {})
    assert "families" not in json.loads(location.read_bytes("runs/default/config.json"))["dataset"]
    bound = Run(location, "default").bind(config)
    assert bound.split.holdout.starts.tolist() == dataset.split.holdout.starts.tolist()
    now = roles(location)
    assert any(now[f"a/{n}"] != now[f"b/{n}"] for n in range(5))


def test_a_run_that_grows_keeps_families_together(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, copies())
    growing = small(model="pca", widths=(4,), on_growth="continue", holdout=0.4)
    train(location, growing)
    before = roles(location)
    louder = {f"c/{n}": (music(12, seed=n) // 3).astype(np.int16) for n in range(5)}
    write_features(location, {**louder, "d/new": music(12, seed=7), "d/other": music(9, seed=8)})
    train(location, growing)
    now = roles(location)
    assert {one: now[one] for one in before} == before
    assert all(now[f"c/{n}"] == now[f"a/{n}"] for n in range(5))
    assert {now["d/new"], now["d/other"]} == {Role.TRAINED, Role.HELD_OUT}
