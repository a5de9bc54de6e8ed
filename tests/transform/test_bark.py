"""The Bark spectrogram: levels, places, lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.transform.bark import bark_spectrogram_db, bark_weights
from fadae.transform.scale import BarkScale


@given(hz=st.floats(100, 5300), level_db=st.floats(-60, 0))
@settings(max_examples=20, deadline=None)
def test_a_tone_reads_its_level_in_its_band(hz: float, level_db: float) -> None:
    t = np.arange(11025) / 11025
    levels = bark_spectrogram_db(10 ** (level_db / 20) * np.sin(2 * np.pi * hz * t), 11025)
    row = levels[10]
    power = 10 ** (row / 10)
    assert 10 * np.log10(power.sum()) == pytest.approx(level_db, abs=0.2)
    centre = BarkScale(0, 5512.5, 96).centre_hz[np.argmax(row)]
    assert abs(centre - hz) < 20 + 0.05 * hz


def test_rows_show_their_own_samples() -> None:
    x = np.zeros(11025 * 2)
    x[11025 + 200] = 1  # within [1.0, 1.05) s
    levels = bark_spectrogram_db(x, 11025, hop_seconds=0.05)
    assert levels.shape == (41, 96)  # the hop is 551 samples, so 40 of them leave a rest
    assert np.argmax(levels.max(axis=1)) == (11025 + 200) // 551
    assert levels[0].max() == -100


def test_pcm_reads_like_samples() -> None:
    pcm = (10000 * np.random.default_rng(0).standard_normal(30000)).clip(-32767, 32767)
    pcm = pcm.astype(np.int16)
    np.testing.assert_allclose(
        bark_spectrogram_db(pcm, 11025), bark_spectrogram_db(pcm / 32768, 11025), atol=1e-3
    )


def test_long_hops_lose_no_sound() -> None:
    x = np.zeros(11025 * 10)
    x[::5000] = 1
    levels = bark_spectrogram_db(x, 11025, hop_seconds=1.0)
    assert levels.shape == (10, 96)
    assert levels.max(axis=1).min() > -80


def test_weights_share_every_bin() -> None:
    weights = bark_weights(BarkScale(0, 22050, 60), 4410, 44100)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights.max(axis=0).min() > 0


@pytest.mark.parametrize("samples", [0, 1, 551, 552])
def test_short_signals(samples: int) -> None:
    levels = bark_spectrogram_db(np.zeros(samples, np.float32), 11025)
    assert levels.shape == (-(-samples // 551), 96)
    assert levels.dtype == np.float32


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="one channel"):
        bark_spectrogram_db(np.zeros((2, 5)), 11025)
    with pytest.raises(ValueError, match="hop_seconds"):
        bark_spectrogram_db(np.zeros(5), 11025, hop_seconds=0)
