"""What the rest of the house takes for granted of a transform, of every kind that there is."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from fadae.errors import UsageError
from fadae.transform import MODEL_FLOOR, Transform, preset, transform_from_config

TRANSFORMS = [
    preset("seed"),
    preset("full"),
    preset("full", 44100),
    preset("critical"),
    preset("critical", 48000),
]
every_transform = pytest.mark.parametrize(
    "t", TRANSFORMS, ids=lambda t: f"{t.name}-{t.sample_rate_hz}"
)


def noise(samples: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return (0.1 * np.random.default_rng(1).standard_normal(samples)).astype(dtype)


def snr(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2)))


def analyzed_alone(t: Transform, x: np.ndarray[Any, Any], first: int, stop: int) -> Any:
    """Return rows [first, stop) of a signal from the samples that they hear, as extract does."""
    start, end = t.heard_samples(first, stop)
    signal = np.zeros(end - start, x.dtype)
    inside = x[max(start, 0) : max(end, 0)]
    signal[max(-start, 0) :][: len(inside)] = inside
    return t.analyze_frames(signal)


@every_transform
class TestEveryTransform:
    def test_is_one(self, t: Transform) -> None:
        assert isinstance(t, Transform)

    def test_synthesize_undoes_analyze(self, t: Transform) -> None:
        x = noise(5 * t.hop_samples + 7, np.float64)
        heard = t.synthesize(t.analyze(x), length=len(x))  # all that its bands hear of the noise
        again = t.synthesize(t.analyze(heard), length=len(x))
        assert again.shape == x.shape
        # `seed` leaks a little at the edges of its bands; the others give everything back.
        assert snr(heard, again) >= (15 if t.name == "seed" else 270)
        if t.name != "seed":
            assert snr(x, heard) >= 270

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_rows_at_any_start_are_the_same_bytes(self, t: Transform, dtype: Any) -> None:
        x = noise(19 * t.hop_samples + 5, dtype)
        whole = t.analyze(x)
        assert whole.shape == (t.frame_count(len(x)), t.size) == (21, t.size)
        assert whole.dtype == dtype
        for first, stop in [(0, 1), (0, 21), (3, 4), (5, 17), (20, 21)]:
            np.testing.assert_array_equal(analyzed_alone(t, x, first, stop), whole[first:stop])

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("floor", [0.0, None])
    def test_hop_j_sounds_from_rows_j_and_the_next(
        self, t: Transform, dtype: Any, floor: float | None
    ) -> None:
        c = t.analyze(noise(19 * t.hop_samples)).astype(dtype)
        floor = t.model_floor if floor is None else floor
        whole = t.synthesize_hops(c, floor=floor)
        assert whole.dtype == (np.float32 if dtype == np.float16 else dtype)
        np.testing.assert_array_equal(whole, t.synthesize(c, floor=floor))
        hops = whole.reshape(len(c) - 1, t.hop_samples)
        for first, stop in [(0, 1), (3, 4), (5, 16), (18, 19)]:
            alone = t.synthesize_hops(c[first : stop + 1], floor=floor)
            np.testing.assert_array_equal(alone.reshape(-1, t.hop_samples), hops[first:stop])

    def test_a_row_is_heard_in_its_own_two_hops_alone(self, t: Transform) -> None:
        c = np.zeros((8, t.size))
        c[4] = noise(t.size, np.float64)
        hops = t.synthesize(c).reshape(-1, t.hop_samples)
        assert set(np.flatnonzero(np.abs(hops).max(axis=1) > 0)) == {3, 4}

    def test_a_row_hears_its_two_hops_alone(self, t: Transform) -> None:
        start, stop = t.heard_samples(4, 5)
        assert 3 * t.hop_samples <= start < stop <= 5 * t.hop_samples
        x = np.zeros(8 * t.hop_samples)
        x[[3 * t.hop_samples - 1, 5 * t.hop_samples]] = 1
        assert not t.analyze(x)[4].any()

    def test_its_configuration_makes_it_again(self, t: Transform) -> None:
        stored = json.loads(json.dumps(t.config()))
        for again in (transform_from_config(stored), pickle.loads(pickle.dumps(t))):
            assert again == t
            assert hash(again) == hash(t)
            assert again.config() == t.config()
            assert again.config_sha256 == t.config_sha256
        assert transform_from_config(stored) is transform_from_config(t.config())
        assert [other == t for other in TRANSFORMS].count(True) == 1

    def test_bands_share_out_the_coefficients(self, t: Transform) -> None:
        slices = t.coefficient_slices
        assert slices.shape == (t.bands, 2)
        assert slices[0, 0] == 0 and slices[-1, 1] == t.size
        np.testing.assert_array_equal(slices[1:, 0], slices[:-1, 1])
        np.testing.assert_array_equal(
            t.coefficient_band, np.repeat(np.arange(t.bands), np.diff(slices)[:, 0])
        )
        for edges in (t.band_low_hz, t.band_centre_hz, t.band_high_hz):
            assert edges.shape == (t.bands,) and edges.dtype == np.float64
            assert np.all(np.diff(edges) >= 0)
        assert np.all(t.band_low_hz <= t.band_centre_hz)
        assert np.all(t.band_centre_hz <= t.band_high_hz)

    @pytest.mark.parametrize("columns", [1, 3, 8])
    def test_its_picture_shows_a_sound_when_and_where_it_is(
        self, t: Transform, columns: int
    ) -> None:
        H, rate = t.hop_samples, t.sample_rate_hz
        time = np.arange(10 * H)
        x = 0.5 * np.sin(2 * np.pi * 1000 * time / rate)
        x[: 4 * H] = x[7 * H :] = 0  # it sounds in hops 4, 5 and 6
        c = t.analyze(x)
        assert t.rasterize(c, columns).shape == (len(c), columns, t.bands)
        picture = t.rasterize_hops(c, columns)
        assert len(picture) >= (len(c) - 1) * columns
        assert picture.shape[1] == t.bands and picture.min() >= 0
        hops = (picture[: 10 * columns] ** 2).sum(axis=1).reshape(10, columns).sum(axis=1)
        assert hops[5] > hops[3] and not hops[[0, 1, 2, 8, 9]].any()
        loudest = int(np.argmax((picture**2).sum(axis=0)))
        spread_hz = t.band_high_hz[loudest] - t.band_low_hz[loudest]
        assert abs(t.band_centre_hz[loudest] - 1000) <= spread_hz
        # Rows that begin later are drawn the same.
        np.testing.assert_array_equal(
            t.rasterize_hops(c[3:], columns)[: 6 * columns], picture[3 * columns : 9 * columns]
        )

    def test_energy_that_is_heard(self, t: Transform) -> None:
        frames = noise(6 * t.hop_samples).reshape(3, -1)
        heard, total = t.heard_energy(frames)
        assert 0 < heard <= total
        assert (heard == pytest.approx(total)) == (t.name != "seed")
        assert t.heard_energy(np.zeros_like(frames)) == (0, 0)

    def test_nothing_is_no_rows(self, t: Transform) -> None:
        assert t.frame_count(0) == 0
        assert t.analyze(np.zeros(0, np.float32)).shape == (0, t.size)
        assert t.synthesize(np.zeros((0, t.size))).shape == (0,)

    def test_wrong_shapes_are_refused(self, t: Transform) -> None:
        with pytest.raises(TypeError, match="32768"):
            t.analyze(np.zeros(10, np.int16))
        with pytest.raises(ValueError, match="one channel"):
            t.analyze(np.zeros((10, 2)))
        with pytest.raises(ValueError, match="coefficients"):
            t.synthesize_hops(np.zeros((3, t.size + 1)))
        with pytest.raises(ValueError, match="frames"):
            t.synthesize_hops(np.zeros((0, t.size)))
        with pytest.raises(ValueError, match="columns"):
            t.rasterize_hops(np.zeros((2, t.size)), 0)


@pytest.mark.parametrize(
    "config",
    [{}, {"kind": "wavelet"}, {"kind": ["mdct"]}, {"kind": "mdct"}, {"name": 3.5}, []],
    ids=str,
)
def test_what_is_no_configuration_is_refused(config: Any) -> None:
    with pytest.raises(UsageError, match="transform"):
        transform_from_config(config)


def test_an_orthonormal_transform_needs_no_floor() -> None:
    assert [t.model_floor for t in (preset("seed"), preset("critical"))] == [MODEL_FLOOR, 0]
