"""Scales as values: formulas, overlap, bins; the seed's table from its formula."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadae.errors import UsageError
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from fadae.transform.presets import SEED_SCALE
from fadae.transform.scale import (
    BarkScale,
    FrequencyScale,
    GeometricScale,
    KnotScale,
    LinearScale,
    band_slices,
    bark_to_hertz,
    hertz_to_bark,
    scale_from_config,
)
from tests.transform.zounds import vectors

SCALES = [
    SEED_SCALE,
    LinearScale(0, 5000, 40),
    BarkScale(20, 5000, 60),
    KnotScale(7500, 11025),
]


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.kind)
class TestEveryScale:
    """The contract of a scale; a new one is one more line in SCALES."""

    def test_bands_ascend_and_hold_their_centres(self, scale: FrequencyScale) -> None:
        assert len(scale) == len(scale.low_hz) == len(scale.high_hz)
        assert np.all(np.diff(scale.centre_hz) > 0)
        assert np.all(scale.low_hz <= scale.centre_hz)
        assert np.all(scale.centre_hz <= scale.high_hz)
        np.testing.assert_allclose(scale.bandwidth_hz, scale.high_hz - scale.low_hz, rtol=1e-9)

    def test_survives_json(self, scale: FrequencyScale) -> None:
        again = scale_from_config(json.loads(json.dumps(scale.config())))
        assert again == scale
        np.testing.assert_array_equal(again.centre_hz, scale.centre_hz)

    def test_neighbours_overlap(self, scale: FrequencyScale) -> None:
        # Of the knots' first bands, 30 Hz wide, the next ones are narrow.
        scale.ensure_overlap_ratio(0.05 if scale.kind == "knots" else 0.4)


def test_seed_slices_follow_from_the_geometric_scale() -> None:
    t, table = FrequencyAdaptiveTransform.preset("seed"), vectors()
    np.testing.assert_array_equal(t.band_slices, table["band_slices"])
    np.testing.assert_array_equal(t.coefficient_slices, table["coefficient_slices"])
    np.testing.assert_allclose(t.band_centre_hz, table["centre_hz"], rtol=1e-14)
    np.testing.assert_allclose(SEED_SCALE.bandwidth_hz, table["bandwidth_hz"], rtol=1e-13)


def test_too_little_overlap_names_the_band() -> None:
    with pytest.raises(UsageError, match=r"band 0 \(95-105 Hz\) shares 0 "):
        GeometricScale(100, 1000, bandwidth_ratio=0.1, bands=3).ensure_overlap_ratio(0.1)


def test_a_scale_of_ones_own_makes_a_transform_that_survives_json() -> None:
    @dataclass(frozen=True)
    class Octaves(FrequencyScale):
        @property
        def centre_hz(self) -> np.ndarray:
            return 200.0 * 2.0 ** np.arange(4)

        @property
        def bandwidth_hz(self) -> np.ndarray:
            return 1.5 * self.centre_hz

    config = FrequencyAdaptiveTransform.preset("seed").config()
    scale = Octaves()
    config |= {"name": "octaves", "scale": scale.config()}
    config["band_slices"] = band_slices(scale, 11025 / 7500).tolist()
    t = FrequencyAdaptiveTransform.from_config(json.loads(json.dumps(config)))
    assert t.bands == 4
    np.testing.assert_array_equal(t.band_high_hz, scale.high_hz)
    assert FrequencyAdaptiveTransform.from_config(t.config()) == t


@pytest.mark.parametrize(
    "make",
    [
        lambda: GeometricScale(0, 100, 0.1, 3),
        lambda: GeometricScale(100, 50, 0.1, 3),
        lambda: LinearScale(0, 100, 0),
        lambda: BarkScale(-1, 100, 3),
        lambda: scale_from_config({"kind": "mel"}),
    ],
)
def test_scales_without_meaning_are_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


@given(st.floats(0, 20000))
def test_bark_undoes_itself(hz: float) -> None:
    assert bark_to_hertz(hertz_to_bark(hz)) == pytest.approx(hz, abs=1e-6)


@given(st.integers(500, 60000), st.integers(4000, 192000), st.integers(3, 48))
def test_knots_end_at_nyquist_and_keep_their_distance(
    half_frame: int, rate_hz: int, per_octave: int
) -> None:
    knots = KnotScale(2 * half_frame, rate_hz, bands_per_octave=per_octave).knots
    assert knots[0] == 0
    assert knots[-1] == half_frame
    assert np.diff(knots).min() >= 2
