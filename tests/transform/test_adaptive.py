"""The transform against zounds' own vectors, and by its properties."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.errors import UsageError
from fadae.records import TransformConfig
from fadae.scores import snr_db
from fadae.transform.adaptive import MODEL_FLOOR, FrequencyAdaptiveTransform
from tests.transform import zounds
from tests.transform.signals import band_limited, music_like

SEED = FrequencyAdaptiveTransform.preset("seed")
ZOUNDS = FrequencyAdaptiveTransform.preset("zounds")
FULL = FrequencyAdaptiveTransform.preset("full")
PRESETS = [SEED, ZOUNDS, FULL]
every_preset = pytest.mark.parametrize("t", PRESETS, ids=lambda t: t.name)
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def noise(samples: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


class TestParityWithZounds:
    def test_slices_and_coefficients(self) -> None:
        table = zounds.vectors()
        np.testing.assert_array_equal(ZOUNDS.band_slices, table["band_slices"])
        np.testing.assert_array_equal(ZOUNDS.coefficient_slices, table["coefficient_slices"])
        zounds.assert_zounds("freq_adaptive", ZOUNDS.analyze(zounds.signal()))

    def test_rasterize(self) -> None:
        c = ZOUNDS.analyze(zounds.signal())
        zounds.assert_zounds("rasterize64_window3", ZOUNDS.rasterize(c[3:4], 64)[0])

    def test_band_windows_power(self) -> None:
        np.testing.assert_array_equal(np.packbits(ZOUNDS.band_power > 0), zounds.vectors()["heard"])


class TestSynthesizeUndoesAnalyze:
    # Measured: 139 dB float64, 132 dB float32 on noise; the promise leaves room for music that is
    # louder outside the scored part.
    @pytest.mark.parametrize(("dtype", "least_db"), [(np.float64, 117), (np.float32, 112)])
    @pytest.mark.parametrize("t", [SEED, ZOUNDS], ids=["seed", "zounds"])
    @pytest.mark.parametrize("signal", [noise, lambda n: music_like(n, 11025)])
    def test_seed_inverts_what_its_bands_hear(
        self, t: FrequencyAdaptiveTransform, dtype: Any, least_db: float, signal: Any
    ) -> None:
        x = band_limited(signal(20 * 11025), 11025).astype(dtype)
        y = t.synthesize(t.analyze(x), length=len(x))
        assert y.dtype == dtype
        inner = slice(t.frame_samples, -t.frame_samples)
        assert snr_db(x[inner], y[inner]) >= least_db

    @pytest.mark.parametrize(("dtype", "least_db"), [(np.float64, 117), (np.float32, 112)])
    def test_seed_inverts_real_music(self, recordings: Path, dtype: Any, least_db: float) -> None:
        soundfile = pytest.importorskip("soundfile")
        soxr = pytest.importorskip("soxr")
        scored = 0
        for path in sorted(recordings.glob("*.ogg"))[:4]:
            music, rate_hz = soundfile.read(path, frames=30 * 44100, always_2d=True)
            x = band_limited(soxr.resample(music.mean(axis=1), rate_hz, 11025), 11025)
            x = x.astype(dtype)
            inner = slice(SEED.frame_samples, -SEED.frame_samples)
            if len(x) > 3 * SEED.frame_samples and np.abs(x[inner]).max() > 1e-3:
                y = SEED.synthesize(SEED.analyze(x), length=len(x))
                assert snr_db(x[inner], y[inner]) >= least_db, path.name
                scored += 1
        assert scored

    @pytest.mark.parametrize("rate_hz", [8000, 11025, 44100])
    @pytest.mark.parametrize(("dtype", "least_db"), [(np.float64, 270), (np.float32, 125)])
    def test_full_inverts_any_signal_edges_included(
        self, rate_hz: int, dtype: Any, least_db: float
    ) -> None:
        t = FrequencyAdaptiveTransform.preset("full", rate_hz)
        assert t.size == 4 * t.hop_samples
        np.testing.assert_allclose(t.band_power, 1, rtol=0, atol=1e-14)
        for samples in (1, 2, 1000, t.hop_samples, 5 * t.hop_samples + 7):
            x = noise(samples).astype(dtype)
            y = t.synthesize(t.analyze(x), length=samples)
            assert snr_db(x, y) >= least_db
            assert snr_db(x[:100], y[:100]) >= least_db - 15
            assert snr_db(x[-100:], y[-100:]) >= least_db - 15

    @given(samples=st.integers(1, 40000), seed=st.integers(0, 2**31))
    @settings(max_examples=15, deadline=None)
    def test_full_inverts_signals_of_any_length(self, samples: int, seed: int) -> None:
        x = noise(samples, seed)
        assert snr_db(x, FULL.synthesize(FULL.analyze(x), length=samples)) >= 270

    def test_full_preserves_energy(self) -> None:
        x = noise(50000)
        assert np.sum(FULL.analyze(x) ** 2) == pytest.approx(np.sum(x**2), rel=1e-12)


class TestBands:
    @given(hz=st.floats(310, 3000), phase=st.floats(0, 6.28))
    @settings(max_examples=25, deadline=None)
    def test_a_tone_lands_in_its_band(self, hz: float, phase: float) -> None:
        self._check_tone(SEED, hz, phase)

    @given(hz=st.floats(60, 5400), phase=st.floats(0, 6.28))
    @settings(max_examples=25, deadline=None)
    def test_a_tone_lands_in_its_band_of_full(self, hz: float, phase: float) -> None:
        self._check_tone(FULL, hz, phase)

    @staticmethod
    def _check_tone(t: FrequencyAdaptiveTransform, hz: float, phase: float) -> None:
        n = 4 * t.hop_samples
        x = np.sin(2 * np.pi * hz * np.arange(n) / t.sample_rate_hz + phase)
        energy = np.bincount(t.coefficient_band, t.analyze(x)[2] ** 2, minlength=t.bands)
        loudest = int(np.argmax(energy))
        assert t.band_low_hz[loudest] - 2 <= hz <= t.band_high_hz[loudest] + 2
        # Five bins to each side hold the Vorbis window's main lobe.
        reach_hz = 5 * t.sample_rate_hz / t.frame_samples
        near = (t.band_low_hz - reach_hz <= hz) & (hz <= t.band_high_hz + reach_hz)
        assert energy[near].sum() >= 0.999 * energy.sum()

    @every_preset
    def test_properties_agree(self, t: FrequencyAdaptiveTransform) -> None:
        assert t.bands == len(t.band_centre_hz) == len(t.coefficient_slices)
        assert t.coefficient_slices[-1, 1] == t.size == len(t.coefficient_band)
        start, stop = t.coefficient_slices[7]
        assert np.all(t.coefficient_band[start:stop] == 7)


class TestLinearity:
    @every_preset
    @given(a=st.floats(-2, 2), b=st.floats(-2, 2), seed=st.integers(0, 2**31))
    @settings(max_examples=5, deadline=None)
    def test_analyze(self, t: FrequencyAdaptiveTransform, a: float, b: float, seed: int) -> None:
        x, y = noise(20000, seed), noise(20000, seed + 1)
        both = t.analyze(a * x + b * y)
        np.testing.assert_allclose(both, a * t.analyze(x) + b * t.analyze(y), atol=1e-12)

    @every_preset
    def test_synthesize(self, t: FrequencyAdaptiveTransform) -> None:
        c, d = noise(3 * t.size).reshape(3, -1), noise(3 * t.size, 1).reshape(3, -1)
        both = t.synthesize(2 * c - d)
        np.testing.assert_allclose(both, 2 * t.synthesize(c) - t.synthesize(d), atol=1e-9)


class TestShardedWork:
    """Whatever the split, the same bits: shards are pure functions of their inputs."""

    @both_precisions
    @pytest.mark.parametrize("t", [SEED, FULL], ids=["seed", "full"])
    def test_analyze_frames(self, t: FrequencyAdaptiveTransform, dtype: Any) -> None:
        N, H, P = t.frame_samples, t.hop_samples, t.padding_samples
        x = noise(150 * H + 11).astype(dtype)
        whole = t.analyze(x)
        padded = np.pad(x, (P, N))
        rng = np.random.default_rng(5)
        cuts = [0, 1, *sorted(rng.integers(2, len(whole), 3).tolist()), len(whole)]
        for a, b in itertools.pairwise(cuts):
            if a < b:
                part = t.analyze_frames(padded[a * H : (b - 1) * H + N])
                np.testing.assert_array_equal(part, whole[a:b])

    @both_precisions
    @pytest.mark.parametrize("t", [SEED, FULL], ids=["seed", "full"])
    @pytest.mark.parametrize("floor", [0.0, MODEL_FLOOR])
    def test_synthesize_hops(self, t: FrequencyAdaptiveTransform, dtype: Any, floor: float) -> None:
        H = t.hop_samples
        c = noise(150 * t.size).reshape(150, -1).astype(dtype)
        whole = t.synthesize(c, floor=floor)
        for a, b in ((0, 1), (1, 3), (3, 60), (60, 149)):
            part = t.synthesize_hops(c[a : b + 1], floor=floor)
            np.testing.assert_array_equal(part, whole[a * H : b * H])

    def test_hops_need_the_padding(self) -> None:
        with pytest.raises(UsageError, match="zounds"):
            ZOUNDS.synthesize_hops(np.zeros((3, 8192)))

    def test_hops_need_a_frame(self) -> None:
        with pytest.raises(ValueError, match="F \\+ 1"):
            SEED.synthesize_hops(np.zeros((0, 8192)))

    @pytest.mark.parametrize("samples", [7499, 7501, 0])
    def test_frames_must_be_whole(self, samples: int) -> None:
        with pytest.raises(ValueError, match="whole frames"):
            SEED.analyze_frames(np.zeros(samples))

    def test_a_strided_signal_is_a_signal(self) -> None:
        stereo = noise(40000).reshape(-1, 2)
        left = np.ascontiguousarray(stereo[:, 0])
        np.testing.assert_array_equal(SEED.analyze(stereo[:, 0]), SEED.analyze(left))


class TestMemory:
    def test_beyond_the_result_one_block_is_held(self) -> None:
        x = noise(2000 * SEED.hop_samples).astype(np.float32)
        c = SEED.analyze(x)  # makes the matrices
        y = SEED.synthesize(c)
        works: list[tuple[Callable[[], object], np.ndarray]] = [
            (lambda: SEED.analyze(x), c),
            (lambda: SEED.synthesize(c), y),
        ]
        for work, result in works:
            tracemalloc.start()
            work()
            _, peak_bytes = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak_bytes - result.nbytes < 24 * 2**20


class TestEdges:
    @every_preset
    @both_precisions
    def test_no_samples_make_no_frames(self, t: FrequencyAdaptiveTransform, dtype: Any) -> None:
        c = t.analyze(np.zeros(0, dtype))
        assert c.shape == (0, t.size)
        assert c.dtype == dtype
        assert t.synthesize(c).shape == t.synthesize(c, length=0).shape == (0,)

    @every_preset
    def test_one_sample(self, t: FrequencyAdaptiveTransform) -> None:
        c = t.analyze(np.ones(1))
        assert len(c) == t.frame_count(1)
        assert t.synthesize(c, length=1).shape == (1,)

    @every_preset
    def test_silence_is_zero_both_ways(self, t: FrequencyAdaptiveTransform) -> None:
        c = t.analyze(np.zeros(20000, np.float32))
        assert not c.any()
        assert not t.synthesize(c).any()

    def test_frame_counts(self) -> None:
        assert [SEED.frame_count(n) for n in (0, 1, 3750, 3751, 7500)] == [0, 2, 2, 3, 3]
        assert [ZOUNDS.frame_count(n) for n in (0, 1, 7497, 7498, 55125)] == [0, 1, 1, 2, 14]

    @every_preset
    def test_a_nan_stays_in_its_frames(self, t: FrequencyAdaptiveTransform) -> None:
        H = t.hop_samples
        x = noise(6 * H)
        clean = t.analyze(x)
        x[3 * H + 5] = np.nan
        broken = np.isnan(t.analyze(x)).any(axis=1)
        assert broken.sum() == 2
        np.testing.assert_array_equal(t.analyze(x)[~broken], clean[~broken])
        c = clean.copy()
        c[2, 100] = np.nan
        silenced = np.isnan(t.synthesize(c)).reshape(-1)
        assert 0 < silenced.sum() <= t.frame_samples

    @every_preset
    def test_the_default_length_is_what_the_frames_cover(
        self, t: FrequencyAdaptiveTransform
    ) -> None:
        c = t.analyze(noise(5 * t.hop_samples))
        y = t.synthesize(c)
        assert len(y) >= 5 * t.hop_samples
        np.testing.assert_array_equal(t.synthesize(c, length=1234), y[:1234])
        with pytest.raises(ValueError, match="cover"):
            t.synthesize(c, length=len(y) + 1)
        with pytest.raises(ValueError, match="cover"):
            t.synthesize(c, length=-1)

    @pytest.mark.parametrize("dtype", [np.int16, np.float16, np.complex128, object])
    def test_other_types_are_refused(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match="float32 or float64"):
            SEED.analyze(np.zeros(100, dtype))

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(2, 100\)"):
            SEED.analyze(np.zeros((2, 100)))
        with pytest.raises(ValueError, match=r"\[frames, 8192\]"):
            SEED.synthesize(np.zeros((2, 100)))
        with pytest.raises(ValueError, match=r"\[frames, 8192\]"):
            SEED.synthesize(np.zeros(8192))
        with pytest.raises(TypeError, match="int64"):
            SEED.synthesize(np.zeros((2, 8192), np.int64))

    def test_stored_half_precision_is_synthesized_in_float32(self) -> None:
        c = SEED.analyze(noise(20000).astype(np.float32)).astype(np.float16)
        y = SEED.synthesize(c)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, SEED.synthesize(c.astype(np.float32)))


class TestFloorForModels:
    def test_exact_by_default_and_untouched_inside_the_bands(self) -> None:
        x = band_limited(noise(10 * 11025), 11025)
        c = SEED.analyze(x)
        inner = slice(7500, -7500)
        floored = SEED.synthesize(c, length=len(x), floor=MODEL_FLOOR)
        assert snr_db(x[inner], floored[inner]) >= 117

    def test_bounds_what_errors_become(self) -> None:
        errors = np.random.default_rng(0).standard_normal((20, SEED.size))
        exact, bounded = SEED.synthesize(errors), SEED.synthesize(errors, floor=MODEL_FLOOR)
        assert np.std(bounded) < np.std(exact) / 2
        # The 8 topmost bins are all the floor changes: take them away and both agree.
        power = SEED.band_power
        assert np.sum((power > 0) & (power < MODEL_FLOOR)) == 8
        low, high = (band_limited(y, 11025, 360, 3000) for y in (exact, bounded))
        assert snr_db(low, high) > 20


class TestRasterize:
    @every_preset
    def test_every_band_keeps_its_maximum(self, t: FrequencyAdaptiveTransform) -> None:
        c = np.abs(noise(2 * t.size).reshape(2, -1)) + 0.1
        picture = t.rasterize(c, 64)
        assert picture.shape == (2, 64, t.bands)
        for band in (0, t.bands // 2, t.bands - 1):
            start, stop = t.coefficient_slices[band]
            np.testing.assert_allclose(
                picture[:, :, band].max(axis=1), c[:, start:stop].max(axis=1), rtol=1e-5
            )

    def test_stored_half_precision_is_drawn_in_float32(self) -> None:
        c = noise(SEED.size).reshape(1, -1).astype(np.float16)
        picture = SEED.rasterize(c, 16)
        np.testing.assert_array_equal(picture, SEED.rasterize(c.astype(np.float32), 16))

    def test_silence_and_nothing(self) -> None:
        assert not SEED.rasterize(np.zeros((1, 8192), np.float32), 16).any()
        assert SEED.rasterize(np.zeros((0, 8192), np.float32), 16).shape == (0, 16, 300)
        with pytest.raises(ValueError, match="columns"):
            SEED.rasterize(np.zeros((1, 8192)), 0)


class TestConfiguration:
    @every_preset
    def test_survives_json_and_pickle(self, t: FrequencyAdaptiveTransform) -> None:
        assert FrequencyAdaptiveTransform.from_config(t.config()) == t
        t.analyze(noise(10))  # fills the caches, which are not to travel
        copy = pickle.loads(pickle.dumps(t))
        assert copy == t
        assert hash(copy) == hash(t)
        assert len(pickle.dumps(t)) < 10_000

    def test_presets_differ(self) -> None:
        others = [FrequencyAdaptiveTransform.preset("full", rate) for rate in (8000, 44100)]
        assert len({t.config_sha256 for t in [*PRESETS, *others]}) == 5

    def test_full_takes_the_fast_even_length(self) -> None:
        lengths = {
            rate: FrequencyAdaptiveTransform.preset("full", rate).frame_samples
            for rate in (8000, 11025, 22050, 44100, 48000, 96000)
        }
        assert lengths[11025] == 7500
        assert lengths[44100] == 30000
        assert all(n % 2 == 0 and 17 * rate <= 25 * n <= 18 * rate for rate, n in lengths.items())

    @pytest.mark.parametrize(
        ("name", "rate_hz", "said"),
        [
            ("sead", 11025, "seed, zounds, full"),
            ("seed", 44100, "full"),
            ("full", 7, "100 or more"),
            ("full", 8000.5, "whole"),
        ],
    )
    def test_what_there_is_not_is_said(self, name: str, rate_hz: int, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            FrequencyAdaptiveTransform.preset(name, rate_hz)

    @pytest.mark.parametrize(
        "change",
        [
            {"hop_samples": 3000},
            {"hop_samples": 0},
            {"padding_samples": 5},
            {"band_slices": [[0, 3]]},
            {"band_window": "kaiser"},
            {"frame_window": "hann"},
            {"scale": {"kind": "mel"}},
            {"scale": {"kind": "geometric"}},
        ],
    )
    def test_a_broken_configuration_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            FrequencyAdaptiveTransform.from_config(cast(TransformConfig, SEED.config() | change))

    def test_a_band_past_nyquist_is_refused(self) -> None:
        slices = SEED.band_slices.tolist()
        slices[-1] = [3740, 3752]
        with pytest.raises(UsageError, match="band 299"):
            FrequencyAdaptiveTransform.from_config(SEED.config() | {"band_slices": slices})
