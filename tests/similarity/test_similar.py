"""More like this, and the map: what is found, and that what is kept of it is pure and whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import fadae
from fadae.cli.app import app
from fadae.errors import NoInputError, UsageError
from fadae.forget import forget
from fadae.query import families
from fadae.similarity import SEGMENTS, duplicates, make_packs, windows_of
from fadae.similarity.packs import pack_rows
from fadae.store import DamagedError, FeatureSet, Location
from tests.synthetic import RATE_HZ, music, write_features


def tone(hz: float, seconds: float = 20.0) -> NDArray[np.int16]:
    """Return a trembling chord over a little noise, int16."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    random = np.random.default_rng(round(hz))
    chord = sum(np.sin(2 * np.pi * hz * step * time) for step in (1, 1.26, 1.5))
    wave = 0.15 * chord * (1.2 + np.sin(2 * np.pi * 2 * time)) + 0.002 * random.normal(
        size=len(time)
    )
    return np.asarray(np.rint(wave * 20000), np.int16)


RECORDINGS = {
    "a/notes": music(30, seed=1),
    "a/quiet notes": (music(30, seed=1) // 3).astype(np.int16),
    "b/low": tone(330),
    "b/high": tone(1200),
    "b/silence": np.zeros(10 * RATE_HZ, np.int16),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("similar") / "w"))
    write_features(location, RECORDINGS)
    return location


def test_a_softer_copy_is_the_nearest_and_at_the_same_time(written: Location) -> None:
    first = fadae.open(written.url).similar("a/notes", slice(10, 16), k=1)[0]
    assert first.id == "a/quiet notes"
    assert first.score > 0.8
    assert 8 < first.start_seconds < first.stop_seconds < 18


def test_each_recording_comes_once_and_the_part_itself_not_at_all(written: Location) -> None:
    found = fadae.open(written.url).similar("b/low", (5, 8), k=10)
    assert sorted(one.id for one in found) == ["a/notes", "a/quiet notes", "b/high", "b/low"]
    assert found[0].id == "b/low"  # the same chord, before or after
    assert found[0].stop_seconds <= 5 or found[0].start_seconds >= 8
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_whole_recording_and_less_than_a_stretch_can_be_asked_for(written: Location) -> None:
    opened = fadae.open(written.url)
    assert opened.similar("a/notes", k=1)[0].id == "a/quiet notes"
    assert opened.similar("b/high", (3.1, 3.2), k=1)[0].id == "b/high"


def test_a_short_neighbour_is_found_though_its_rows_lie_beside_the_part(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {"a/one": tone(330, 3), "b/same chord": tone(330, 3)})
    found = fadae.open(location.url).similar("a/one", (0, 3))
    assert [one.id for one in found] == ["b/same chord"]


def test_what_cannot_be_found_is_refused_in_words(written: Location) -> None:
    opened = fadae.open(written.url)
    with pytest.raises(UsageError, match="nearest: 'a/notes'"):
        opened.similar("a/note")
    with pytest.raises(UsageError, match="nothing is there"):
        opened.similar("a/notes", (100, 110))
    with pytest.raises(UsageError, match="k must be"):
        opened.similar("a/notes", k=0)
    with pytest.raises(NoInputError, match="silent"):
        opened.similar("b/silence")


def test_a_map_shows_copies_together_and_a_sample_of_many(written: Location) -> None:
    opened = fadae.open(written.url)
    made = opened.corpus_map()
    places = {point.id: np.array([point.x, point.y]) for point in made.points}
    assert sorted(places) == ["a/notes", "a/quiet notes", "b/high", "b/low"]
    together = float(np.linalg.norm(places["a/notes"] - places["a/quiet notes"]))
    apart = float(np.linalg.norm(places["a/notes"] - places["b/high"]))
    assert together < apart / 3
    assert 0.5 < sum(made.explained) <= 1.0001
    assert all(max(abs(point.x), abs(point.y)) <= 1 for point in made.points)
    assert opened.corpus_map() == made
    few = opened.corpus_map(most=2)
    assert (len(few.points), few.recordings) == (2, 5)


def test_what_is_kept_is_a_function_of_the_features_and_grows_with_them(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "w"))
    write_features(location, {"a/1": music(12, seed=2), "a/2": tone(500, 6)})
    first = FeatureSet.open(location)
    assert make_packs(first, SEGMENTS) == 1
    assert make_packs(first, SEGMENTS) == 0
    (name,) = location.names(SEGMENTS.folder)
    kept = location.read_bytes(f"{SEGMENTS.folder}/{name}")
    location.delete(SEGMENTS.folder)
    before = pack_rows(first, SEGMENTS, 0)
    assert location.read_bytes(f"{SEGMENTS.folder}/{name}") == kept

    write_features(location, {"b/1": tone(700, 6)})
    assert make_packs(FeatureSet.open(location), SEGMENTS) == 1
    assert location.names(SEGMENTS.folder) == ["00000-02"]
    assert pack_rows(first, SEGMENTS, 0).tobytes() == before.tobytes()  # who opened it before
    assert set(pack_rows(FeatureSet.open(location), SEGMENTS, 0)["recording"]) == {0, 1, 2}


def test_a_damaged_pack_is_told(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "w"))
    write_features(location, {"a/1": music(6, seed=3)})
    features = FeatureSet.open(location)
    make_packs(features, SEGMENTS)
    path = f"{SEGMENTS.folder}/00000-01"
    data = bytearray(location.read_bytes(path))
    data[5] ^= 1
    location.write_bytes(path, bytes(data))
    with pytest.raises(DamagedError, match="made anew"):
        pack_rows(features, SEGMENTS, 0)


@pytest.mark.parametrize("preset", ["seed", "full"])
def test_a_vector_does_not_tell_the_level(preset: str) -> None:
    from fadae.transform import preset as preset_transform

    transform = preset_transform(preset, RATE_HZ)
    sound = music(6, seed=4).astype(np.float32) / 32768
    loud, soft = (windows_of(transform, transform.analyze(gain * sound)) for gain in (1, 0.1))
    np.testing.assert_allclose(loud, soft, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(loud, axis=1), 1, rtol=1e-5)


def test_the_command_prints_what_the_library_finds(written: Location, tmp_path: Path) -> None:
    run, here = CliRunner(), ["-w", written.url]
    done = run.invoke(app, ["similar", "a/notes", *here, "--seconds", "10:16", "-k", "2", "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    found = fadae.open(written.url).similar("a/notes", (10, 16), k=2)
    assert [one["id"] for one in told["similar"]] == [one.id for one in found]
    done = run.invoke(app, ["similar", *here, "--map", str(tmp_path / "map.json"), "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["points"] == 4
    assert len(json.loads((tmp_path / "map.json").read_text())["points"]) == 4
    assert run.invoke(app, ["similar", *here, "--map", str(tmp_path / "m.png")]).exit_code == 0
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    for wrong in ([], ["a/notes", "--map", "m.json"], ["--map", "m.svg"], ["a/note"]):
        assert run.invoke(app, ["similar", *here, *wrong]).exit_code == 2


def test_what_is_forgotten_is_not_shown_and_what_is_erased_never_was(tmp_path: Path) -> None:
    location, other = Location(str(tmp_path / "w")), Location(str(tmp_path / "never"))
    gone, twin, left = "a/notes", "d/notes again", dict(RECORDINGS)
    pcm = left.pop(gone)  # it comes last: stretches lie where rows do
    write_features(location, {**left, gone: pcm, twin: pcm}, same_as={twin: gone})
    opened = fadae.open(location.url)
    names = {one.id for one in opened.corpus_map().points}
    assert gone in names and twin not in names

    def shown() -> tuple[list[str], set[str], list[list[str]]]:
        again = fadae.open(location.url)
        features = FeatureSet.open(location)
        copies = families(features, again.recordings, duplicates(features))
        return (
            [one.id for one in again.similar("b/low", (5, 8))],
            {one.id for one in again.corpus_map().points},
            [[copy.id for copy in family.members] for family in copies],
        )

    forget(location, [gone], "asked")
    near, points, copies = shown()
    assert gone not in near and twin in near, "its sound is still somebody's"
    assert points == names - {gone} | {twin}
    assert copies == [["a/quiet notes", twin]]
    (family,) = families(
        FeatureSet.open(location),
        fadae.open(location.url).recordings,
        duplicates(FeatureSet.open(location)),
    )
    assert family.members[1].shares_with == "a/quiet notes" and not family.members[1].same_samples

    forget(location, [twin], "asked")
    near, points, copies = shown()
    assert points == names - {gone} and twin not in near and copies == []
    forget(location, [gone], "asked", erase_bytes=True)
    assert shown() == (near, points, copies)
    write_features(other, left)
    never, now = fadae.open(other.url), fadae.open(location.url)
    for name in ("a/quiet notes", "b/low"):
        expected = [dataclasses.astuple(one) for one in never.similar(name, (5, 8))]
        assert [dataclasses.astuple(one) for one in now.similar(name, (5, 8))] == expected
