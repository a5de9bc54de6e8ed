"""Signals that the transform's tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft


def band_limited(
    signal: npt.NDArray[Any], rate_hz: int, low_hz: float = 360.0, high_hz: float = 2980.0
) -> npt.NDArray[np.float64]:
    """Return `signal` without what lies outside [low_hz, high_hz], by one FFT of all of it."""
    spectrum = scipy.fft.rfft(signal.astype(np.float64))
    hz = scipy.fft.rfftfreq(len(signal), 1 / rate_hz)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    limited: npt.NDArray[np.float64] = scipy.fft.irfft(spectrum, len(signal))
    return limited


def music_like(samples: int, rate_hz: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return decaying harmonic notes over faint noise, peaks about 0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate_hz
    signal = 1e-4 * rng.standard_normal(samples)
    for start in np.arange(0, samples / rate_hz, 0.4):
        pitch_hz = 55 * 2 ** rng.uniform(0, 4)
        envelope = np.where(t >= start, np.exp(-3 * np.maximum(t - start, 0)), 0)
        for harmonic in range(1, 9):
            phase = rng.uniform(0, 2 * np.pi)
            if harmonic * pitch_hz < rate_hz / 2:
                tone = np.sin(2 * np.pi * harmonic * pitch_hz * t + phase)
                signal += 0.2 / harmonic * envelope * tone
    return signal
