"""A known delay is found and undone, and nothing else is changed."""

from __future__ import annotations

import numpy as np
import pytest

from fadae.arrays import Float32
from fadae.audio import codecs, from_pcm
from fadae.compare.alignment import find_delay, undo_delay
from fadae.scores import snr_db
from tests.synthetic import music

RATE_HZ = 11025


def delayed(sound: Float32, samples: float) -> Float32:
    """Return a sound later by any number of samples: exact, by its spectrum."""
    size = 2 * len(sound)
    turn = np.exp(-2j * np.pi * np.arange(len(sound) + 1) / size * samples)
    return np.fft.irfft(np.fft.rfft(sound, size) * turn, size).astype(np.float32)


@pytest.mark.parametrize("samples", [0, 1, 576, 1105, 2112, -3])
def test_whole_samples_are_undone_exactly(samples: int) -> None:
    sound = from_pcm(music(4))
    late = np.concatenate([np.zeros(max(samples, 0), np.float32), sound[max(-samples, 0) :]])
    assert find_delay(sound, late, RATE_HZ) == samples
    aligned = undo_delay(late, samples, len(sound))
    assert np.array_equal(aligned[max(-samples, 0) :], sound[max(-samples, 0) :])


@pytest.mark.parametrize("samples", [0.25, 0.5, -0.5, 3.4, 1024.7, -7.75])
def test_fractions_are_undone(samples: float) -> None:
    sound = from_pcm(music(4))
    late = delayed(sound, samples)
    found = find_delay(sound, late, RATE_HZ)
    assert found == pytest.approx(samples, abs=1 / 64)
    aligned = undo_delay(late, found, len(sound))
    assert snr_db(sound[100:-100], aligned[100:-100]) > 40


def test_the_gain_stays_as_it_is() -> None:
    sound = from_pcm(music(2))
    late = np.float32(0.25) * np.concatenate([np.zeros(100, np.float32), sound])
    delay = find_delay(sound, late, RATE_HZ)
    assert np.array_equal(undo_delay(late, delay, len(sound)), np.float32(0.25) * sound)


def test_a_codec_is_in_step_once_its_delay_is_undone() -> None:
    sound = from_pcm(music(4, seed=3))
    made = codecs.decode(
        codecs.encode(codecs.CodecSetting("MP3", 24), sound, RATE_HZ).file, RATE_HZ
    )
    delay = find_delay(sound, made, RATE_HZ)
    errors = {
        shift: snr_db(sound, undo_delay(made, delay + shift, len(sound)))
        for shift in (-1, -0.25, 0, 0.25, 1)
    }
    assert delay == 1105  # LAME's 576 and the decoder's 529
    assert max(errors, key=lambda shift: errors[shift]) == 0


def test_silence_has_no_delay() -> None:
    silence = np.zeros(5000, np.float32)
    assert find_delay(silence, silence, RATE_HZ) == 0
    assert undo_delay(silence[:10], 400.5, 20).tolist() == [0] * 20
