"""Models `bytes` and `tables` through train, reconstruct, query, report and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import xarray as xr
from typer.testing import CliRunner

import fadae
from fadae.audio.write import encode as encode_audio
from fadae.cli.app import app
from fadae.coding import decompress, identify
from fadae.config import TrainConfig
from fadae.errors import CodeError, UsageError
from fadae.model.byte_codes import BytesModel
from fadae.model.config import ModelConfig
from fadae.model.contract import FrameShape
from fadae.report import report
from fadae.scores import snr_db
from fadae.stages.extract import extract
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from fadae.summaries import TrainSummary
from fadae.training.launch import train
from fadae.transform import preset
from fadae.web.session import WorkspaceSession
from tests.coding import models
from tests.forks import train_forked
from tests.stages.test_critical import NAMES, RATE_HZ, sound
from tests.store.staged import stage

ASKED: dict[str, dict[str, Any]] = {
    "bytes": {"code_bytes": 256},
    "tables": {"code_bytes": 128, "rate": "constant"},
}


def config(model: str, **others: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "run": model,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "ranks": 1,
        "reduction": "exact",
        "options": ASKED[model],
    }
    return TrainConfig(model=model, **(settings | others))


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("bytes") / "workspace"))
    for seed, name in enumerate(NAMES):
        stage(location, name, sound(seed, 9.3 + seed), rate_hz=RATE_HZ)
    extract(location, preset="critical", sample_rate_hz=RATE_HZ)
    return location


@pytest.fixture(scope="module", params=list(ASKED))
def trained(request: pytest.FixtureRequest, location: Location) -> tuple[str, TrainSummary]:
    model = str(request.param)
    return model, train(location, config(model))


def test_two_ranks_learn_the_same_bytes(
    trained: tuple[str, TrainSummary], location: Location
) -> None:
    model, told = trained
    again = train_forked(location, config(model, run=f"{model}-2", ranks=2))
    assert again["model_sha256"] == told["model_sha256"]
    assert told["holdout_code_bytes"] <= (128 if model == "tables" else 280)
    assert np.isfinite(told["holdout_frame_snr_db"])
    assert told["bytes_a_row"] == told["holdout_code_bytes"]
    assert told["pca_components"] == round(told["bytes_a_row"] / 4), "as many bytes, as float32"


def test_a_run_that_was_stopped_ends_with_the_same_bytes(location: Location) -> None:
    whole = train(location, config("bytes", run="whole"))
    asked = config("bytes", run="cut", checkpoint_steps=1)
    first = TrainConfig.from_dict({**asked.to_dict(), "max_steps": 2})
    train(location, first)
    assert train(location, asked)["model_sha256"] == whole["model_sha256"]


def test_centroids_and_side_information_are_counted(location: Location) -> None:
    train(location, config("bytes", run="counted", max_steps=1))
    counted = fadae.open(location.url).codec("counted").entropy
    assert 0 < np.abs(counted.centroids).max() < 1024  # of a step
    bandwidth = counted.bandwidth.astype(int)
    assert bandwidth.max() > 4 * bandwidth.mean()  # guesses know of no likelier ones


def test_what_was_learned_is_what_codes(location: Location) -> None:
    asked = config("bytes", run="learned", max_steps=3)
    train(location, asked)
    model = fadae.open(location.url).codec("learned").model
    assert isinstance(model, BytesModel)
    published, drawn = model.entropy.tensors(), BytesModel.made(2880, 256, "average").entropy
    learned = model.network.learned()
    for name, array in learned.items():
        np.testing.assert_array_equal(published[name], array)
    assert np.any(learned["distributions"] != drawn.distributions)


def test_a_run_is_reconstructed_and_read(
    trained: tuple[str, TrainSummary], location: Location
) -> None:
    model, _ = trained
    made = reconstruct(location, model)
    assert np.isfinite(made["audio_snr_db"]) and made["audio_snr_db"] > 3
    written = xr.open_zarr(Path(location.url) / "reconstructions" / f"{model}.zarr")
    assert written.encoded.dtype == np.uint8
    assert int(written.code_bytes.max()) <= written.encoded.shape[1]
    workspace = fadae.open(location.url)
    size = workspace.code_size(model)
    assert size is not None and size.bytes_a_row == made["bytes_a_row"]
    assert made["bytes_a_row"] == pytest.approx(
        written.code_bytes.to_numpy().sum() / made["frames"]
    )
    assert made["kbps"] == pytest.approx(made["bytes_a_row"] * 8 / 1000 / 0.36)
    assert workspace.info()["codes"][model] == str(size)
    name = NAMES[2]
    heard = workspace.audio(name, slice(1, 4), source=model)
    assert snr_db(workspace.audio(name, slice(1, 4)), heard) > 3
    codes = workspace.codes(name, run=model)
    assert codes.values.dtype == np.uint8
    np.testing.assert_array_equal(
        workspace.codec(model).decode(codes)[3:5], workspace.codec(model).decode(codes[3:5])
    )
    for method in ("random", "walk"):
        new = workspace.generate(model, method=method, seconds=2.0, seed=1)
        assert len(new) == 2 * RATE_HZ and np.abs(new).max() > 0
        again = workspace.generate(model, method=method, seconds=2.0, seed=1)
        np.testing.assert_array_equal(new, again)
    page = Path(report(workspace, model, seconds=2)["index"]).read_text("utf-8")
    assert f"The code takes {size}." in page
    assert WorkspaceSession(location).about()


def test_a_run_compresses_files(trained: tuple[str, TrainSummary], location: Location) -> None:
    model, _ = trained
    codec = fadae.open(location.url).codec(model)
    pcm = sound(7, 20)
    code = codec.compress(pcm)
    assert len(code) <= ASKED[model]["code_bytes"] * codec_rows(len(pcm))
    heard = codec.decompress(code)
    assert len(heard) == len(pcm) and snr_db(pcm / 32768, heard) > 3
    np.testing.assert_array_equal(codec.decompress(code, 1.5, 3.0), heard[12000:24000])
    with pytest.raises(CodeError, match="made with model"):
        decompress(code, model=models.tables())


def test_a_run_codes_files_from_the_command_line(
    trained: tuple[str, TrainSummary], location: Location, tmp_path: Path
) -> None:
    model, _ = trained
    song, code, heard = (str(tmp_path / name) for name in ("song.wav", "song.fadae", "back.wav"))
    Path(song).write_bytes(encode_audio(sound(7, 8) / 32768, RATE_HZ, "wav"))
    run = ("--run", model, "-w", location.url, "--json")
    told = typed("encode", song, "--to", code, "--code-bytes", "200", *run)
    assert told["rate_hz"] == RATE_HZ and told["bytes_a_row"] <= 200
    assert told["model"] == identify(fadae.open(location.url).codec(model).entropy).hex()
    assert typed("decode", code, "--to", heard, *run)["samples"] == len(sound(7, 8))
    whole = decompress(Path(code).read_bytes(), model=fadae.open(location.url).codec(model).entropy)
    assert snr_db(soundfile.read(heard)[0], whole[0]) > 60  # but for its 16 bits

    done = CliRunner().invoke(app, ["decode", code, "--to", heard])
    assert done.exit_code == 65
    assert done.stderr.count("\n") == 1 and "made with model" in done.stderr


def typed(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def codec_rows(samples: int) -> int:
    return -(-samples // 2880) + 1


@pytest.mark.parametrize("model", list(ASKED))
@pytest.mark.parametrize("name", ["seed", "zounds", "full"])
def test_frames_that_hold_the_sound_more_than_once_are_refused(model: str, name: str) -> None:
    about = preset(name, 11025)
    shape = FrameShape(
        about.size, tuple(int(stop - start) for start, stop in about.coefficient_slices)
    )
    with pytest.raises(UsageError, match="extract with --preset critical") as refused:
        ModelConfig(model, {}).create(shape, 10)
    assert refused.value.exit_code == 2


def test_a_redundant_preset_is_refused(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage(location, NAMES[0], sound(0, 9), rate_hz=RATE_HZ)
    extract(location, preset="full", sample_rate_hz=RATE_HZ)
    for model in ASKED:
        with pytest.raises(UsageError, match="extract with --preset critical"):
            train(location, config(model, holdout=0.0))
