"""Preset `critical` at a rate of its own through extract, train, reconstruct, query and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fadae
from fadae.config import TrainConfig
from fadae.errors import UsageError
from fadae.report import report
from fadae.scores import snr_db
from fadae.stages.extract import extract
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from fadae.store.verify import verify
from fadae.training.launch import train
from fadae.transform import CriticalTransform
from fadae.web.session import WorkspaceSession, generate
from tests.store.staged import stage

RATE_HZ = 8000
NAMES = ["a/high.ogg", "a/low.ogg", "a/third.ogg", "a/tone.ogg"]


def sound(seed: int, seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return a few tones that come and go, and a little noise."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    x = 0.01 * random.standard_normal(len(time))
    for number in range(1, 5):
        x += 0.3 / number * np.sin(2 * np.pi * 220 * (seed + 1) * number * time)
    return np.rint(np.clip(x, -1, 1) * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("critical") / "workspace"))
    for seed, name in enumerate(NAMES):
        stage(location, name, sound(seed, 9.3 + seed), rate_hz=RATE_HZ)
    told = extract(location, preset="critical", sample_rate_hz=RATE_HZ)
    assert told["energy_kept"] == 1.0
    return location


@pytest.fixture(scope="module", params=["dense", "pca"])
def run(request: pytest.FixtureRequest, location: Location) -> str:
    model = str(request.param)
    options: dict[str, Any] = {"widths": (16, 8)} if model == "dense" else {}
    train(location, TrainConfig(run=model, model=model, epochs=2, ranks=1, **options))
    made = reconstruct(location, model)
    assert np.isfinite(made["audio_snr_db"])
    return model


def test_features_are_as_many_as_samples_and_sound_as_the_original(location: Location) -> None:
    workspace = fadae.open(location.url)
    assert workspace.transform == CriticalTransform(RATE_HZ)
    assert workspace.features["features"].shape[1] == workspace.features["audio"].shape[1] == 2880
    for number, name in enumerate(NAMES):
        original = workspace.audio(name)
        np.testing.assert_array_equal(original * 32768, sound(number, 9.3 + number))
        # float16 features: 11 bits, so about 70 dB
        assert snr_db(original, workspace.audio(name, source="transform")) > 65
    assert verify(location)["problems_found"] == 0


def test_a_wrong_rate_names_the_preset(location: Location) -> None:
    with pytest.raises(UsageError, match="--preset critical --sample-rate 8000"):
        extract(location, preset="critical", sample_rate_hz=11025)


def test_a_run_is_read_as_any_other(location: Location, run: str) -> None:
    workspace = fadae.open(location.url)
    name = NAMES[1]
    span = slice(1.25, 4.5)
    heard = workspace.audio(name, span, source=run)
    made = workspace.codec(run).reconstruct(workspace.coefficients(name))
    whole = workspace.transform.synthesize(made)[round(1.25 * RATE_HZ) :][: len(heard)]
    assert np.abs(heard - np.clip(whole, -1, 1)).max() <= 0.51 / 32768
    kept = workspace.select(name, span, slice(400, 900), source=run)
    assert kept["features"].shape[1] == 3 * kept["band_centre_hz"].shape[0]
    picture = workspace.rasterize(name, span, source=run, columns=8)
    assert picture.sizes == {"band": 960, "time": 8 * kept.sizes["frame"]}


def test_a_tone_is_drawn_where_it_sounds(location: Location) -> None:
    workspace = fadae.open(location.url)
    for seed, name in enumerate(NAMES):
        picture = workspace.rasterize(name, slice(2, 3), slice(100, 3000))
        loudest = int(picture.to_numpy().mean(axis=1).argmax())
        assert abs(float(picture["band_centre_hz"][loudest]) - 220 * (seed + 1)) < 5


def test_the_report_and_the_page_show_it(location: Location, run: str) -> None:
    made = report(fadae.open(location.url), run, seconds=2)
    text = Path(made["index"]).read_text("utf-8")
    assert "transform critical,\n960 bands, 2880 coefficients a frame of\n0.72 s at 8000 Hz" in text
    session = WorkspaceSession(location)
    about = session.about()["transform"]
    assert (about["name"], len(about["band_centre_hz"])) == ("critical", 960)
    new = generate(fadae.open(location.url), run, "walk", 0, 3.0, None)
    assert new.samples.shape == (3 * RATE_HZ,)
    assert new.picture.values.shape == (960, 8 * 9)
    assert new.picture.stop_seconds == pytest.approx(9 * 0.36)
