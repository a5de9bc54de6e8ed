"""A Bark-band spectrogram: a whole recording at a glance, as the ear groups its frequencies."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from fadae.arrays import Array, Float32, Float64
from fadae.transform.framing import zero_extended
from fadae.transform.scale import BarkScale, hertz_to_bark

_SHORTEST_WINDOW_SECONDS = 0.1  # FFT bins 10 Hz apart, so that the lowest bands hold some
_BLOCK_ROWS = 64


def bark_spectrogram_db(
    samples: Array,
    rate_hz: int,
    *,
    bands: int = 96,
    hop_seconds: float = 0.05,
    floor_db: float = -100.0,
) -> Float32:
    """Return the level [T, bands] float32, dB, of every Bark band over time.

    samples: [n] float, full scale +-1, or int16 PCM (taken as / 32768, read block by block, so a
    memory map of a long recording may be given). Row t shows samples [t hop, (t + 1) hop), with
    hop = round(hop_seconds rate_hz), through a Hann window centred on it; T = ceil(n / hop).
    Windows last 0.1 s or two hops, whichever is more: none of the sound falls between rows.
    Bands are triangles of equal width on the Bark scale from 0 Hz to Nyquist (`BarkScale`), low
    to high, and share the power: a full-scale sine reads 0 dB where it fills a band, -3 dB in
    both neighbours where it lies between them. Nothing reads below `floor_db`.
    Raises ValueError for other shapes and for settings without meaning.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ValueError(f"samples have shape [n], one channel, not {samples.shape}.")
    hop = round(hop_seconds * rate_hz)
    if hop < 1 or bands < 1:
        raise ValueError(f"hop_seconds {hop_seconds} and bands {bands} leave nothing to show.")
    length = scipy.fft.next_fast_len(max(2 * hop, round(_SHORTEST_WINDOW_SECONDS * rate_hz)))
    window = np.hanning(length + 2)[1:-1].astype(np.float32)
    # The half spectrum of a sine of amplitude 1 holds N sum(w^2) / 4.
    weights = bark_weights(BarkScale(0.0, rate_hz / 2, bands), length, rate_hz)
    weights *= 4 / (length * np.sum(window.astype(np.float64) ** 2))
    unit = 1 / 32768 if samples.dtype == np.int16 else 1.0
    rows = math.ceil(len(samples) / hop)
    levels = np.empty((rows, bands), dtype=np.float32)
    for first in range(0, rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, rows - first)
        start = first * hop + hop // 2 - length // 2
        stretch = zero_extended(samples, start, start + (count - 1) * hop + length)
        stretch = stretch.astype(np.float32) * np.float32(unit)
        frames = np.lib.stride_tricks.sliding_window_view(stretch, length)[::hop] * window
        power = np.abs(scipy.fft.rfft(frames, overwrite_x=True)) ** 2
        heard = np.maximum(power @ weights.astype(np.float32), np.float32(1e-30))
        levels[first : first + count] = np.maximum(10 * np.log10(heard), floor_db)
    return levels


def bark_weights(scale: BarkScale, frame_samples: int, rate_hz: int) -> Float64:
    """Return [bins, B] float64: how much of each FFT bin's power each band hears, 0 to 1.

    Triangles over the Bark number of a bin, 1 at a band's centre and 0 at its neighbours'
    centres; below the first centre and above the last the outer bands hear everything.
    """
    bins_bark = hertz_to_bark(scipy.fft.rfftfreq(frame_samples, 1 / rate_hz))
    centres = hertz_to_bark(scale.centre_hz)
    position = np.interp(bins_bark, centres, np.arange(len(scale)))
    distance = np.abs(position[:, None] - np.arange(len(scale)))
    return np.asarray(np.maximum(1 - distance, 0))
