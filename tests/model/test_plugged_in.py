"""A model of another package, whose codes are bytes, goes all the way: train to the page."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fadae as library
from fadae.errors import CodeError, UsageError
from fadae.model.codec import Codec
from fadae.stages.extract import extract
from fadae.stages.reconstruct import prepare_recordings, reconstruct, reconstruct_shard
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.reconstruction import PREPARED
from fadae.training.dataset import open_dataset
from fadae.training.launch import train
from tests.command import fadae, summary
from tests.forks import train_forked
from tests.stages.test_reconstruct import killed_after, objects
from tests.store.staged import stage
from tests.synthetic import RATE_HZ, music, write_features
from tests.training.small import metrics_of, model_hash, small
from tests.web.conftest import serving

LONG, SHORT, AGAIN = "a/long one.ogg", "a/short.ogg", "b/again.ogg"
OPTIONS = {"keep": 9}
SETTINGS = {"model": "toy", "widths": (1024, 512, 256), "options": OPTIONS, "learning_rate": 0.02}

pytestmark = pytest.mark.usefixtures("toy_installed")


def prepare(folder: Path) -> Location:
    """Two blocks: `LONG`, loud, crosses their border; `SHORT` is quiet, `AGAIN` the same."""
    location = Location(str(folder))
    short = music(9.3, seed=1) // 50
    write_features(
        location, {SHORT: short, LONG: music(360, seed=2), AGAIN: short}, same_as={AGAIN: SHORT}
    )
    return location


@pytest.fixture(scope="module")
def done(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workspace trained and reconstructed, and the summaries of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(toy_folder))
        location = prepare(tmp_path_factory.mktemp("toy"))
        return location, train(location, small(**SETTINGS)), reconstruct(location)


def command(*arguments: str) -> dict[str, Any]:
    ended = fadae(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return summary(ended)


def test_the_command_line_finds_it(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(9.3, seed=1), LONG: music(20, seed=2)})
    there = ("-w", location.url)
    toy = ("--model", "toy", "--model-option", "keep=9")
    short = ("--max-steps", "3", "--batch-size", "8", "--ranks", "1")
    trained = command("train", *there, *toy, *short)
    assert trained["model"] == "toy"
    assert command("reconstruct", *there, "--workers", "1")["shards_written"] == 1
    npy = tmp_path / "part.npy"
    asked = command(
        "query", SHORT, *there, "--seconds", "1:3", "--source", "default", "--to", str(npy)
    )
    assert asked["frames"] == len(np.load(npy)) == 7
    assert Path(command("report", *there, "--seconds", "1")["index"]).exists()


def test_training_reports_its_loss_and_figures(done: Any) -> None:
    location, trained, _ = done
    assert trained["holdout_bits"] == 8 * trained["holdout_code_bytes"] > 0
    lines = metrics_of(location)
    assert lines[0]["train_loss"] > lines[-1]["train_loss"]
    evaluated = [line for line in lines if "holdout_bits" in line]
    assert evaluated[-1]["holdout_loss"] == trained["holdout_loss"]
    # As many float32 numbers as take the bytes of a code, on average, are what PCA may use.
    assert trained["pca_components"] == round(trained["holdout_code_bytes"] / 4) == 7
    # Learned, not by the mean squared error: a cell's share above its level.
    assert 0.1 < float(Codec.load(location).model.state_dict()["inside"]) < 1


def test_its_scores_are_those_of_its_stored_codes(done: Any) -> None:
    location, trained, _ = done
    workspace = library.open(location.url)
    held_out = open_dataset(location, small(**SETTINGS), None).split.holdout.within(0, 2048)
    lengths = workspace.reconstruction("default")["code_bytes"].to_numpy()[held_out]
    loud = (workspace.features["features"].to_numpy()[held_out] != 0).any(axis=1)
    assert trained["holdout_code_bytes"] == pytest.approx(lengths[loud].mean())


def test_two_ranks_and_exact_sums_learn_the_same(done: Any) -> None:
    location, _, _ = done
    exact = {**SETTINGS, "reduction": "exact", "max_steps": 4, "epochs": 1}
    one = train(location, small(run="one", **exact))
    two = train_forked(location, small(run="two", **{**exact, "ranks": 2}))
    assert model_hash(location, "one") == model_hash(location, "two")
    assert one["holdout_loss"] == two["holdout_loss"]


def test_early_stopping_goes_by_its_loss(done: Any) -> None:
    location, _, _ = done
    chosen = {**SETTINGS, "epochs": 6, "evaluate_epochs": 1, "early_stopping": 1}
    summary = train(location, small(run="stopped", **{**chosen, "learning_rate": 0.3}))
    evaluated = [line for line in metrics_of(location, "stopped") if "holdout_loss" in line]
    best = min(evaluated, key=lambda line: line["holdout_loss"])
    assert summary["best_step"] == best["step"]
    assert summary["best_holdout_nmse_db"] == best["holdout_nmse_db"]
    assert best["holdout_nmse_db"] != min(line["holdout_nmse_db"] for line in evaluated)


def test_the_store_holds_bytes_their_number_and_what_a_recording_was_prepared_with(
    done: Any,
) -> None:
    location, _, summary = done
    workspace = library.open(location.url)
    made = workspace.reconstruction("default")
    assert "scale" not in made
    assert made["encoded"].dtype == np.uint8 and made["encoded"].shape == (2048, 28)
    assert made["encoded"].attrs["long_name"] == "positions and levels"
    lengths = made["code_bytes"].to_numpy()
    assert lengths.dtype == np.int32 and lengths.max() == 28
    padding = workspace.features["frame_recording"].to_numpy() < 0
    assert summary["bytes_a_row"] == pytest.approx(lengths[~padding].mean())
    assert not lengths[padding].any() and not made["encoded"].to_numpy()[padding].any()
    numbers = FrameStore.open(location, "reconstructions/default.zarr").read(PREPARED)
    short, long, again = (workspace.recording(name).row for name in (SHORT, LONG, AGAIN))
    assert numbers[short] == numbers[again] < numbers[long]
    # On either side of the blocks' border one recording's frames have its one number.
    first = workspace.select(LONG, source="default")["encoded"].to_numpy()[:, 0]
    assert set(first.tolist()) <= {0, int(numbers[long])}
    assert summary["audio_snr_db"] > 1


def test_codes_written_and_codes_computed_are_the_same(done: Any, tmp_path: Path) -> None:
    location, _, _ = done
    written = library.open(location.url)
    fresh = prepare(tmp_path)
    for name in ("config.json", "model.safetensors"):
        fresh.write_bytes(f"runs/default/{name}", location.read_bytes(f"runs/default/{name}"))
    computed = library.open(fresh.url)
    for name, seconds in ((LONG, (100.0, 110.0)), (AGAIN, (2.0, 5.0)), (SHORT, None)):
        a, b = written.codes(name, seconds), computed.codes(name, seconds)
        assert a.scale is None and a.code_bytes is not None
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.code_bytes, b.code_bytes)
        made = computed.coefficients(name, seconds, source="default")
        np.testing.assert_allclose(made, computed.codec().decode(b), rtol=1e-6)
        heard = computed.audio(name, seconds, source="default")
        stored = written.audio(name, seconds, source="default")
        assert np.abs(stored - heard).max() <= 0.51 / 32768
    part = written.select(LONG, (100, 110), source="default")
    decoded = written.decode(part)
    np.testing.assert_allclose(part["features"], decoded, rtol=2e-3, atol=1e-6)
    whole = written.codec().encode(written.select(SHORT)["features"].to_numpy())
    np.testing.assert_array_equal(whole.values, written.codes(SHORT).values)


def test_an_interrupted_run_ends_with_the_same_bytes(done: Any, tmp_path: Path) -> None:
    location = prepare(tmp_path)
    train(location, small(**SETTINGS))
    for count in (0, 1):  # while recordings are prepared; after the first block
        with pytest.raises(KeyboardInterrupt):
            reconstruct(location, mapper=functools.partial(killed_after, count))
    reconstruct(location)
    assert objects(location) == objects(done[0])


def test_growth_prepares_new_recordings_only(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    short = music(9.3, seed=1)
    for name, pcm in {SHORT: short, LONG: music(20, seed=2)}.items():
        stage(location, name, pcm)
    extract(location)
    train(location, small(**SETTINGS, max_steps=1))
    reconstruct(location)
    before = FrameStore.open(location, "reconstructions/default.zarr").read(PREPARED)
    stage(location, "c/more.ogg", music(12, seed=5) // 20)
    stage(location, "d/again.ogg", short)  # in a plan of its own, after the one it repeats
    extract(location)
    asked = []

    def mapper(function: Any, values: Any, **options: Any) -> Iterator[Any]:
        for value in values:
            asked.append((function, len(value.spans)))
            yield function(value)

    grown = reconstruct(location, mapper=mapper)
    made = library.open(location.url).reconstruction("default")["code_bytes"].to_numpy()
    assert grown["bytes_a_row"] == pytest.approx(made.sum() / grown["frames"])
    assert asked == [(prepare_recordings, 1), (reconstruct_shard, 1)]
    after = FrameStore.open(location, "reconstructions/default.zarr").read(PREPARED)
    np.testing.assert_array_equal(after[:2], before)
    rows = library.open(location.url)
    assert after[rows.recording("d/again.ogg").row] == after[rows.recording(SHORT).row]
    assert after[2] < before.max()


def test_damaged_codes_are_refused(done: Any) -> None:
    workspace = library.open(done[0].url)
    codec, codes = workspace.codec(), workspace.codes(LONG, (0, 3))
    assert codes.code_bytes is not None
    lengths = codes.code_bytes.copy()
    lengths[2] -= 3
    with pytest.raises(CodeError, match="code of frame 2 does not end after 25 of 28") as told:
        codec.decode(replace(codes, code_bytes=lengths))
    assert told.value.exit_code == 65
    values = codes.values.copy()
    values[1, 1] = 255
    with pytest.raises(CodeError, match="of 8192 coefficients"):
        codec.decode(replace(codes, values=values))
    with pytest.raises(UsageError, match="number of bytes"):
        codec.decode(replace(codes, code_bytes=None))
    with pytest.raises(UsageError, match="codes of uint8, got float32"):
        codec.decode(replace(codes, values=codes.values.astype(np.float32)))


def test_it_generates_by_its_own_methods_only(done: Any) -> None:
    workspace = library.open(done[0].url)
    sound = workspace.generate(method="rows", seconds=2, seed=3)
    assert sound.shape == (2 * RATE_HZ,) and sound.std() > 0
    np.testing.assert_array_equal(sound, workspace.generate(method="rows", seconds=2, seed=3))
    for method in ("walk", "normal"):
        with pytest.raises(UsageError, match=r"is not a code; available: rows"):
            workspace.generate(method=method)
    with pytest.raises(UsageError, match=r"is not a code; available: rows"):
        workspace.generate(method="interpolate", between=(LONG, SHORT))


def test_the_page_shows_and_plays_it(done: Any) -> None:
    place = f"recording={LONG}&run=default&start=0&stop=8"
    with serving(done[0]) as room:
        picture = room.get(f"/api/codes?{place}")
        assert picture.status == 200
        points = np.frombuffer(picture.data[-28 * 24 :], np.uint8)
        assert points.min() >= 127 and points.max() > 200  # bytes have no sign
        heard = room.get(f"/api/audio?recording={LONG}&source=default&start=0&stop=2")
        assert heard.status == 200 and len(heard.data) > 2 * 2 * RATE_HZ
        assert room.get("/api/generated?run=default&method=rows&seconds=1").status == 200
        offered = json.loads(room.get("/api/methods?run=default").data)
        assert offered == {"methods": [{"name": "rows", "own": True}]}
        refused = room.get("/api/generated?run=default&method=walk&seconds=1")
        assert refused.status == 400 and b"available: rows" in refused.data
