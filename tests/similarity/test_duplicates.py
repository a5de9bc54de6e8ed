"""Copies of recordings are found, as families that depend on nothing but the recordings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from fadae.cli.app import app
from fadae.forget import forget
from fadae.similarity import SEGMENTS, duplicates, every_pack, families_of, join, prints
from fadae.similarity.join import PRINTS, pairs_of
from fadae.similarity.packs import make_packs, pack_rows, read_slices
from fadae.similarity.prints import PRINT, hashes_of, prints_of_rows, tick_samples
from fadae.stages.extract import extract
from fadae.store import NO_SAMPLE, DamagedError, FeatureSet, Location, paths
from tests.store.staged import stage
from tests.synthetic import RATE_HZ, music, write_features

HOP = 3750


def noisy(pcm: NDArray[np.int16], decibels: float = 30.0) -> NDArray[np.int16]:
    values = pcm.astype(np.float64)
    noise = np.random.default_rng(5).normal(size=len(pcm)) * values.std() / 10 ** (decibels / 20)
    return np.asarray(np.clip(np.rint(values + noise), -32767, 32767), np.int16)


ONE, TWO = music(40, seed=1), music(30, seed=2)
RECORDINGS = {
    "a/one": ONE,
    "a/two": TWO,
    "b/one softer": (ONE // 2).astype(np.int16),
    "b/one, half a hop later": np.concatenate([np.zeros(HOP // 2, np.int16), ONE]),
    "b/one, a part": ONE[9 * RATE_HZ + 1234 : 29 * RATE_HZ],
    "b/two with noise": noisy(TWO),
    "c/other": music(30, seed=3),
    "c/silence": np.zeros(8 * RATE_HZ, np.int16),
    "c/hum": np.full(8 * RATE_HZ, 400, np.int16),
}
SAME = [
    {"a/one", "b/one softer", "b/one, half a hop later", "b/one, a part"},
    {"a/two", "b/two with noise"},
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("duplicates") / "w"))
    write_features(location, RECORDINGS)
    return location


def families(location: Location) -> list[list[str]]:
    features = FeatureSet.open(location)
    ids = features.recordings.id
    return [[str(ids[row]) for row in one] for one in families_of(features, duplicates(features))]


def test_copies_are_found_and_nothing_else(written: Location) -> None:
    found = families(written)
    assert [set(one) for one in found] == SAME
    assert [one[0] for one in found] == ["a/one", "a/two"]  # the smallest id first


def test_families_do_not_depend_on_the_order_of_publication(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "w"))
    backwards = dict(reversed(RECORDINGS.items()))
    some = dict(list(backwards.items())[:4])
    write_features(location, some)
    assert families(location) == []
    write_features(location, {name: backwards[name] for name in backwards if name not in some})
    found = families(location)
    assert sorted(map(sorted, found)) == sorted(map(sorted, SAME))
    assert sorted(one[0] for one in found) == ["a/one", "a/two"]
    assert location.names(paths.DUPLICATES) == ["000000009"]  # that of before is gone


def test_recordings_with_the_same_samples_are_a_family(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "w"))
    short = music(1.5, seed=4)  # too short for a fingerprint
    write_features(location, {"b/x": short, "a/x": short}, same_as={"a/x": "b/x"})
    assert families(location) == [["a/x", "b/x"]]


def test_what_a_part_tells_is_what_the_whole_tells() -> None:
    """So a recording may be cut into blocks anywhere: ticks count from its start."""
    sound = music(60, seed=6)
    hashes, ticks = hashes_of(sound.astype(np.float32) / np.float32(32768), RATE_HZ)
    whole = set(zip(hashes.tolist(), ticks.tolist(), strict=True))
    first, frames = 37, 90
    audio = np.full((frames + 10, HOP), NO_SAMPLE, np.int16)
    audio[:frames].reshape(-1)[:] = sound[first * HOP : (first + frames) * HOP]
    rows: dict[str, NDArray[Any]] = {
        "audio": audio,
        "frame_recording": np.array([7] * frames + [-1] * 10, np.int32),
        "frame_time": np.array(
            [*(np.arange(first, first + frames) * HOP / RATE_HZ), *[np.nan] * 10]
        ),
    }
    part = prints_of_rows(rows, RATE_HZ)
    assert set(part["recording"].tolist()) == {7}
    told = set(zip(part["hash"].tolist(), part["tick"].tolist(), strict=True))
    assert told <= whole
    inside = [one for one in ticks.tolist() if first * HOP <= one * tick_samples(RATE_HZ)]
    assert len(told) > 0.7 * len(
        [one for one in inside if one < (first + frames) * HOP / 1024 - 40]
    )


@pytest.mark.parametrize("rate_hz", [100, 1000, 4000, 44100])
def test_any_rate_has_fingerprints_or_none(rate_hz: int) -> None:
    sound = np.random.default_rng(0).normal(size=8 * rate_hz).astype(np.float32) * np.float32(0.1)
    hashes, ticks = hashes_of(sound, rate_hz)
    assert len(hashes) == len(ticks) and bool(len(hashes)) == (rate_hz >= 1000)
    assert not len(hashes_of(np.zeros(8 * rate_hz, np.float32), rate_hz)[0])
    assert not len(hashes_of(sound[: 3 * rate_hz], rate_hz)[0])


def test_slices_of_a_pack_are_the_pack(written: Location) -> None:
    features = FeatureSet.open(written)
    make_packs(features, PRINTS)
    whole = pack_rows(features, PRINTS, 0)
    assert len(whole) and (np.diff(whole["hash"].astype(object)) >= 0).all()
    borders = [0, 1, 20, 64]
    parts = [
        read_slices(features, PRINTS, 0, low, high) for low, high in itertools.pairwise(borders)
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    (name,) = [name for name in written.names(PRINTS.folder) if name != "blocks"]
    data = bytearray(written.read_bytes(f"{PRINTS.folder}/{name}"))
    data[-1] ^= 1
    try:
        written.write_bytes(f"{PRINTS.folder}/{name}", bytes(data))
        assert len(read_slices(features, PRINTS, 0, 0, 1)) == int((whole["hash"] >> 58 == 0).sum())
        with pytest.raises(DamagedError):
            read_slices(features, PRINTS, 0, 60, 64)
    finally:
        written.delete(PRINTS.folder)


def test_many_small_tasks_find_what_one_does(
    written: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = FeatureSet.open(written)
    whole = join.join(features)
    monkeypatch.setattr(join, "_PACKS_A_TASK", 8)  # slices a task, of this one pack
    assert len(whole) and join.join(features).tobytes() == whole.tobytes()
    assert written.names(f"{paths.DUPLICATES}/parts") == []


def test_extraction_keeps_the_fingerprints_of_its_blocks(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "w"))
    stage(location, "a/1", music(20, seed=1))
    stage(location, "a/2", music(12, seed=2))
    extract(location)
    features = FeatureSet.open(location)
    kept = location.read_bytes(paths.print_path(0))
    assert len(prints.prints_of(features, 0))
    assert prints.prints_kept(features, 0).tobytes() == prints.prints_of(features, 0).tobytes()
    location.write_bytes(paths.print_path(0), kept[:-3])  # damaged: made of the sound again
    assert prints.prints_kept(features, 0).tobytes() == prints.prints_of(features, 0).tobytes()


def test_a_hash_that_everybody_has_costs_little() -> None:
    count = 4000
    prints = np.zeros(count, PRINT)
    prints["recording"] = np.arange(count)
    assert not len(pairs_of(prints))  # it says nothing
    prints = prints[:500]
    assert len(pairs_of(prints)) < 16 * 500
    prints["recording"] = 3
    assert not len(pairs_of(prints))  # a recording is no copy of itself


def test_the_command_tells_families(written: Location) -> None:
    done = CliRunner().invoke(app, ["duplicates", "-w", written.url, "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert [{copy["id"] for copy in one["members"]} for one in told["families"]] == SAME
    part = next(c for c in told["families"][0]["members"] if c["id"] == "b/one, a part")
    assert 15 < part["overlap_seconds"] <= 20 and 0 < part["score"] <= 1
    assert part["shares_with"] in SAME[0] - {part["id"]}
    shown = CliRunner().invoke(app, ["duplicates", "-w", written.url]).stdout
    assert "6 of 9 recordings in 2 families" in shown


def test_nothing_derived_of_what_is_erased_stays(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    names = ("a/one", "b/one softer", "a/two", "b/two with noise")
    for name in names:
        stage(location, name, RECORDINGS[name])
    extract(location)
    features = FeatureSet.open(location)
    assert families(location) == [["a/one", "b/one softer"], ["a/two", "b/two with noise"]]
    row = features.recordings.id.tolist().index("b/one softer")
    assert any(row in pack["recording"] for pack in every_pack(features))
    location.write_bytes(f"{paths.SEGMENT_INDEX}/00000", b"made of them")
    location.write_bytes(paths.print_path(0), b"damaged: it may be of it")

    forget(location, ["b/one softer"], "asked", erase_bytes=True)
    derived = (paths.PRINTS, paths.SEGMENTS, paths.SEGMENT_INDEX, paths.DUPLICATES)
    assert [path for one in derived for path in location.found_below(one)] == []
    assert families(location) == [["a/two", "b/two with noise"]]
    features = FeatureSet.open(location)
    for kind in (SEGMENTS, PRINTS):
        made = pack_rows(features, kind, 0)
        assert len(made) and row not in made["recording"]
    before = {path: location.read_bytes(path) for path in location.found_below("")}
    forget(location, ["b/one softer"], "asked", erase_bytes=True)
    assert {path: location.read_bytes(path) for path in location.found_below("")} == before
    location.delete(paths.SEGMENTS)
    location.write_bytes(f"{paths.SEGMENT_INDEX}/00000", b"made of vectors that are gone")
    forget(location, ["b/one softer"], "asked", erase_bytes=True)
    assert location.names(paths.SEGMENT_INDEX) == []
