"""Alignment in time: how much later an estimate comes than its reference, and to undo it.

Codecs delay: by a window, a filter, a whole frame of padding. An estimate is compared where it
fits best, to a fraction of a sample; its gain is left as it is.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from fadae.arrays import Float32

LONGEST_SECONDS = 0.3  # that a codec may delay; its filters are a tenth of a second at most
_STRETCH_SAMPLES = 2**20  # that the delay is found in
_COARSE, _PARTS = 8, 64  # of a sample; nearer to a whole one than that is a whole one
_HALF_TAPS = 48  # of the filter that delays by a fraction
_KAISER = 10.0  # its window's beta: 100 dB


def find_delay(reference: Float32, estimate: Float32, rate_hz: int) -> float:
    """Return by how many samples the estimate is late, to a 64th; below 0 where it is early.

    Where the cross-correlation of [n] and [m] samples, band-limited between them, is greatest.
    """
    start = max(0, (min(len(reference), len(estimate)) - _STRETCH_SAMPLES) // 2)
    x, y = (one[start : start + _STRETCH_SAMPLES] for one in (reference, estimate))
    most = math.ceil(LONGEST_SECONDS * rate_hz)
    size = scipy.fft.next_fast_len(max(len(x), len(y)) + most + 1, real=True)
    spectrum = scipy.fft.rfft(y, size) * np.conj(scipy.fft.rfft(x, size))
    correlation = scipy.fft.irfft(spectrum, size)
    lags = np.arange(-most, most + 1)
    whole = int(lags[np.argmax(correlation[lags])])
    if not correlation[whole] > 0:  # silence, or nothing of the reference in it
        return 0.0
    turn = 2j * np.pi / size * np.arange(len(spectrum))
    delay, width = float(whole), 1.0
    for step in (_COARSE, _PARTS):  # it has one maximum so near to its greatest sample
        tried = delay + np.arange(-width, width + 0.5 / step, 1 / step)
        between = [float((spectrum * np.exp(turn * lag)).real.sum()) for lag in tried]
        delay, width = float(tried[np.argmax(between)]), 1 / step
    return delay


def undo_delay(estimate: Float32, delay_samples: float, samples: int) -> Float32:
    """Return `samples` of an estimate [m] as they would be without their delay; zeros outside."""
    whole = math.floor(delay_samples + 1 / 2)
    part = delay_samples - whole
    if abs(part) > 1 / _PARTS:
        taps = np.arange(-_HALF_TAPS, _HALF_TAPS + 1)
        # y[t + whole + part] of samples between which y is band-limited.
        kernel = np.sinc(taps + part) * np.kaiser(len(taps), _KAISER)
        estimate = np.convolve(estimate, kernel / kernel.sum(), "same").astype(np.float32)
    aligned = np.zeros(samples, dtype=np.float32)
    begin, stop = max(0, whole), min(len(estimate), whole + samples)
    if stop > begin:
        aligned[begin - whole : stop - whole] = estimate[begin:stop]
    return aligned
