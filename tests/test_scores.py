"""Scores against their definitions, pooled and at the edges."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fadae.scores import (
    ErrorSums,
    audio_sums,
    log_spectral_distance_db,
    multi_resolution_stft_distance,
    nmse_db,
    si_sdr_db,
    snr_db,
)


def pair(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(3000)
    return x, x + noise * rng.standard_normal(3000)


@given(st.integers(0, 1000), st.floats(1e-6, 2))
def test_scores_are_their_formulas(seed: int, noise: float) -> None:
    x, y = pair(seed, noise)
    nmse = 10 * np.log10(np.sum((x - y) ** 2) / np.sum(x**2))
    assert nmse_db(x, y) == pytest.approx(nmse, abs=1e-9)
    assert snr_db(x, y) == -nmse_db(x, y)
    target = (x @ y) / (x @ x) * x
    si_sdr = 10 * np.log10(np.sum(target**2) / np.sum((target - y) ** 2))
    assert si_sdr_db(x, y) == pytest.approx(si_sdr, abs=1e-6)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_si_sdr_is_blind_to_gain(seed: int, gain: float) -> None:
    x, y = pair(seed, 0.3)
    assert si_sdr_db(x, gain * y) == pytest.approx(si_sdr_db(x, y), abs=1e-6)


@given(st.lists(st.integers(0, 3000), max_size=4))
def test_sums_pool(cuts: list[int]) -> None:
    x, y = pair(0, 0.5)
    total = ErrorSums()
    edges = [0, *sorted(cuts), 3000]
    for start, stop in itertools.pairwise(edges):
        total = total + ErrorSums.of(x[start:stop], y[start:stop])
    assert total.nmse_db == pytest.approx(nmse_db(x, y), abs=1e-9)
    assert total.si_sdr_db == pytest.approx(si_sdr_db(x, y), abs=1e-9)


def test_float32_and_half_are_summed_in_float64() -> None:
    x = np.full(2**20, 0.1, np.float32)
    assert nmse_db(x, np.zeros_like(x)) == pytest.approx(0, abs=1e-12)
    assert ErrorSums.of(x.astype(np.float16), x).reference == pytest.approx(2**20 * 0.01, rel=1e-3)


def test_perfect_and_undefined_scores() -> None:
    x, zero = np.ones(5), np.zeros(5)
    assert nmse_db(x, x) == -math.inf
    assert snr_db(x, x) == si_sdr_db(x, x) == math.inf
    for undefined in (nmse_db(zero, x), snr_db(zero, zero), si_sdr_db(zero, x), si_sdr_db(x, zero)):
        assert math.isnan(undefined)
    assert math.isnan(nmse_db(np.array([1.0, np.nan]), np.ones(2)))
    assert math.isnan(nmse_db(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match="shape"):
        nmse_db(x, np.ones(4))


class TestLogSpectralDistance:
    def test_a_gain_is_its_decibels(self) -> None:
        x = np.random.default_rng(0).standard_normal(20000) * 0.1
        assert log_spectral_distance_db(x, x) == 0
        assert log_spectral_distance_db(x, 0.5 * x) == pytest.approx(6.02, abs=0.05)

    def test_below_the_floor_all_is_silence(self) -> None:
        x = np.random.default_rng(0).standard_normal(20000) * 1e-8
        assert log_spectral_distance_db(x, np.zeros_like(x)) == 0

    def test_every_sample_counts(self) -> None:
        """A click's spectrum is flat: its level is the window's where it stands in a frame."""
        window = np.hanning(2048)
        for place in (100, 700, 2047, 2048, 3071, 4990, 4999):
            x, y = np.zeros((2, 5000))
            y[place] = 1
            offsets = place - 512 * np.arange(7)  # of the click in each of the frames
            seen = window[offsets[(offsets >= 0) & (offsets < 2048)]]
            levels = 20 * np.log10(np.maximum(2 * seen / window.sum(), 1e-5))
            expected = (levels + 100).sum() / 7
            assert log_spectral_distance_db(x, y) == pytest.approx(expected, rel=1e-5), (
                place
            )  # the kernel works in float32
            assert expected > 0

    def test_that_of_a_hop_is_that_of_the_samples_in_its_middle(self) -> None:
        x, y = np.random.default_rng(2).standard_normal((2, 130, 3750)).astype(np.float32) * 0.1
        distances = audio_sums(x, y)[:, 3]
        for row in (0, 63, 64, 129):
            middle = slice(row * 3750 + 851, row * 3750 + 851 + 2048)
            alone = log_spectral_distance_db(x.reshape(-1)[middle], y.reshape(-1)[middle])
            assert distances[row] == alone

    def test_edges(self) -> None:
        assert math.isnan(log_spectral_distance_db(np.zeros(0), np.zeros(0)))
        assert log_spectral_distance_db(np.ones(1), np.ones(1)) == 0
        with pytest.raises(ValueError, match="shape"):
            log_spectral_distance_db(np.zeros(3), np.zeros(4))


class TestMultiResolutionStftDistance:
    def test_it_is_its_definition_by_torch(self) -> None:
        samples = 2048 + 512 * 70  # a whole number of frames of every window, more than one part
        random = np.random.default_rng(0)
        x = (0.1 * random.standard_normal(samples)).astype(np.float32)
        y = (x + 0.02 * random.standard_normal(samples)).astype(np.float32)
        expected = []
        for width in (512, 1024, 2048):
            a, b = (
                torch.stft(
                    torch.from_numpy(signal),
                    width,
                    width // 4,
                    window=torch.hann_window(width),
                    center=False,
                    return_complex=True,
                )
                .abs()
                .clamp(min=1e-4)
                for signal in (x, y)
            )
            convergence = torch.linalg.norm(a - b) / torch.linalg.norm(a)
            expected.append(float(convergence + (a.log() - b.log()).abs().mean()))
        found = multi_resolution_stft_distance(x, y)
        assert found == pytest.approx(np.mean(expected), rel=1e-4)

    def test_it_hears_phase_as_little_as_magnitudes_do(self) -> None:
        x = 0.1 * np.random.default_rng(1).standard_normal(5000)
        assert multi_resolution_stft_distance(x, x) == 0
        assert multi_resolution_stft_distance(x, -x) == 0
        halved = multi_resolution_stft_distance(x, 0.5 * x)
        assert halved == pytest.approx(0.5 + math.log(2), abs=0.01)

    def test_edges(self) -> None:
        assert math.isnan(multi_resolution_stft_distance(np.zeros(0), np.zeros(0)))
        assert math.isnan(multi_resolution_stft_distance(np.zeros(9), np.ones(9)))
        assert multi_resolution_stft_distance(np.ones(1), np.ones(1)) == 0
        with pytest.raises(ValueError, match="shape"):
            multi_resolution_stft_distance(np.zeros(3), np.zeros(4))
