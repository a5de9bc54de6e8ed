"""The critical transform by its properties: orthonormal, exact, each row by itself."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.errors import UsageError
from fadae.records import TransformConfig
from fadae.scores import snr_db
from fadae.transform.critical import BLOCKS, CriticalTransform, kbd_slope, preset_bands

CRITICAL = CriticalTransform(11025)
RATES_HZ = [8000, 11025, 16000, 22050, 44100, 48000]
precisions = pytest.mark.parametrize(("dtype", "least_db"), [(np.float64, 280), (np.float32, 128)])


def noise(samples: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(dtype)


class TestSynthesizeUndoesAnalyze:
    @pytest.mark.parametrize("rate_hz", RATES_HZ)
    @precisions
    def test_over_the_whole_signal_edges_included(
        self, rate_hz: int, dtype: Any, least_db: float
    ) -> None:
        t = CriticalTransform(rate_hz)
        for samples in (1, 2, 1000, t.hop_samples, 5 * t.hop_samples + 7):
            x = noise(samples, dtype=dtype)
            y = t.synthesize(t.analyze(x), length=samples)
            assert y.dtype == dtype
            assert snr_db(x, y) >= least_db
            assert snr_db(x[:100], y[:100]) >= least_db - 10
            assert snr_db(x[-100:], y[-100:]) >= least_db - 10

    @given(samples=st.integers(1, 40000), seed=st.integers(0, 2**31))
    @settings(max_examples=15, deadline=None)
    def test_of_any_length(self, samples: int, seed: int) -> None:
        x = noise(samples, seed)
        assert snr_db(x, CRITICAL.synthesize(CRITICAL.analyze(x), length=samples)) >= 280

    def test_nothing(self) -> None:
        c = CRITICAL.analyze(noise(0))
        assert c.shape == (0, 3750)
        assert CRITICAL.synthesize(c).shape == (0,)

    def test_float16_is_computed_in_float32(self) -> None:
        c = CRITICAL.analyze(noise(9000, dtype=np.float32)).astype(np.float16)
        np.testing.assert_array_equal(
            CRITICAL.synthesize(c), CRITICAL.synthesize(c.astype(np.float32))
        )


class TestOrthonormal:
    @pytest.mark.parametrize("rate_hz", [8000, 11025, 48000])
    def test_energies_agree(self, rate_hz: int) -> None:
        x = noise(50000)
        c = CriticalTransform(rate_hz).analyze(x)
        assert np.sum(c**2) == pytest.approx(np.sum(x**2), rel=1e-13)

    def test_synthesis_is_the_transpose_of_analysis(self) -> None:
        x, c = noise(30000, 1), noise(9 * 3750, 2).reshape(9, 3750)
        analyzed, synthesized = CRITICAL.analyze(x), CRITICAL.synthesize(c, length=len(x))
        assert np.sum(analyzed * c) == pytest.approx(np.sum(x * synthesized), rel=1e-11)

    def test_coefficients_within_rows_are_independent(self) -> None:
        c = np.zeros((6, 3750))
        c[2:4] = noise(2 * 3750, 3).reshape(2, 3750)
        back = CRITICAL.analyze(CRITICAL.synthesize(c))
        np.testing.assert_allclose(back, c, rtol=0, atol=1e-14)

    def test_window_is_power_complementary(self) -> None:
        for bins in (2, 960, 1250, 5760):
            w = kbd_slope(bins)
            np.testing.assert_allclose(w**2 + w[::-1] ** 2, 1, rtol=0, atol=1e-15)
            assert np.all(np.diff(w) >= 0)


class TestDefinition:
    def test_is_the_mdct_of_its_formula(self) -> None:
        t = CriticalTransform(100)
        M = t.bands
        x = noise(9 * M)
        padded = np.concatenate([np.zeros(M), x, np.zeros(4 * M)])
        window = np.concatenate([kbd_slope(M), kbd_slope(M)[::-1]])
        k, n = np.arange(M)[:, None] + 0.5, np.arange(2 * M) + 0.5 + M / 2
        basis = np.sqrt(2 / M) * np.cos(np.pi / M * n * k) * window
        c = t.analyze(x)
        for row in range(len(c)):
            for slot in range(BLOCKS):
                block = BLOCKS * row + slot
                expected = basis @ padded[block * M : (block + 2) * M]
                np.testing.assert_allclose(c[row, slot::BLOCKS], expected, rtol=0, atol=1e-14)

    @given(hz=st.floats(30, 5480), phase=st.floats(0, 6.28))
    @settings(max_examples=25, deadline=None)
    def test_a_tone_lands_in_its_bin(self, hz: float, phase: float) -> None:
        t = CRITICAL
        x = np.sin(2 * np.pi * hz * np.arange(6 * t.hop_samples) / t.sample_rate_hz + phase)
        energy = np.bincount(t.coefficient_band, (t.analyze(x)[2:4] ** 2).sum(axis=0), t.bands)
        loudest = int(np.argmax(energy))
        width_hz = t.sample_rate_hz / 2 / t.bands
        assert t.band_low_hz[loudest] - width_hz <= hz <= t.band_high_hz[loudest] + width_hz
        near = np.abs(t.band_centre_hz - hz) <= 4 * width_hz
        assert energy[near].sum() >= 0.999 * energy.sum()

    def test_a_click_sounds_only_where_its_blocks_reach(self) -> None:
        x = np.zeros(10 * 3750)
        x[4 * 3750 + 10] = 1
        c = CRITICAL.analyze(x)
        assert set(np.flatnonzero(np.any(c != 0, axis=1))) == {4}
        assert np.all(c[4].reshape(-1, BLOCKS)[:, 2] == 0)

    @pytest.mark.parametrize("rate_hz", RATES_HZ)
    def test_a_row_is_the_least_fast_third_of_a_second(self, rate_hz: int) -> None:
        t = CriticalTransform(rate_hz)
        assert t.bands % 2 == 0
        assert 0.34 <= t.hop_samples / rate_hz < 0.37
        assert t.size == t.hop_samples == BLOCKS * t.bands
        assert preset_bands(11025) == 1250

    def test_properties_agree(self) -> None:
        t = CRITICAL
        assert t.bands == len(t.band_centre_hz) == len(t.coefficient_slices)
        assert t.coefficient_slices[-1, 1] == t.size == len(t.coefficient_band)
        start, stop = t.coefficient_slices[7]
        assert np.all(t.coefficient_band[start:stop] == 7)
        assert t.band_high_hz[-1] == pytest.approx(t.sample_rate_hz / 2)


class TestRowsByThemselves:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_bytes_do_not_depend_on_the_rows_beside(self, dtype: Any) -> None:
        x = noise(150 * 3750, dtype=dtype)
        whole = CRITICAL.analyze(x)
        sounds = CRITICAL.synthesize(whole).reshape(-1, 3750)
        padded = np.concatenate([np.zeros(3750, dtype), x, np.zeros(3750, dtype)])
        for first, stop in [(0, 1), (1, 2), (7, 8), (62, 67), (3, 60), (150, 151), (90, 151)]:
            part = CRITICAL.analyze_frames(padded[first * 3750 : (stop + 1) * 3750])
            np.testing.assert_array_equal(part, whole[first:stop])
            if stop < len(whole):
                hops = CRITICAL.synthesize_hops(whole[first : stop + 1])
                np.testing.assert_array_equal(hops.reshape(-1, 3750), sounds[first:stop])

    def test_hops_are_what_synthesize_gives(self) -> None:
        c = CRITICAL.analyze(noise(20000))
        np.testing.assert_array_equal(CRITICAL.synthesize_hops(c), CRITICAL.synthesize(c))

    def test_bytes_do_not_depend_on_threads(self) -> None:
        code = (
            "import hashlib, numpy as np; from fadae.transform.critical import CriticalTransform\n"
            "x = np.random.default_rng(0).standard_normal(99999).astype(np.float32)\n"
            "t = CriticalTransform(11025); c = t.analyze(x)\n"
            "print(hashlib.sha256(c.tobytes() + t.synthesize(c).tobytes()).hexdigest())"
        )
        hashes = set()
        for settings_ in ({}, {"OMP_NUM_THREADS": "4"}, {"OPENBLAS_CORETYPE": "Prescott"}):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, **settings_},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            hashes.add(done.stdout)
        assert len(hashes) == 1


class TestValue:
    def test_configuration_makes_it_again(self) -> None:
        t = CriticalTransform(44100)
        again = CriticalTransform.from_config(t.config())
        assert again == t == pickle.loads(pickle.dumps(t))
        assert hash(again) == hash(t)
        assert again != CRITICAL
        assert len(t.config_sha256) == 64

    @pytest.mark.parametrize(
        "change", [{"window": "sine"}, {"blocks": 4}, {"bands": 3}, {"bands": "x"}, {"kind": "x"}]
    )
    def test_another_configuration_is_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            CriticalTransform.from_config(cast(TransformConfig, CRITICAL.config() | change))

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(UsageError):
            CriticalTransform(0)
        with pytest.raises(TypeError):
            CRITICAL.analyze(np.zeros(10, dtype=np.int16))
        with pytest.raises(ValueError):
            CRITICAL.analyze(np.zeros((10, 2)))
        with pytest.raises(ValueError):
            CRITICAL.analyze_frames(np.zeros(3751))
        with pytest.raises(ValueError):
            CRITICAL.synthesize(np.zeros((3, 100)))
        with pytest.raises(ValueError):
            CRITICAL.synthesize(np.zeros((3, 3750)), length=7501)
        with pytest.raises(ValueError):
            CRITICAL.synthesize_hops(np.zeros((0, 3750)))

    def test_a_picture_has_a_column_a_block(self) -> None:
        picture = CRITICAL.rasterize(CRITICAL.analyze(noise(9000)), columns=3)
        assert picture.shape == (4, 3, 1250)
