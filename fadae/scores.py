"""How far one signal is from another, in decibels; sums that pool over frames and recordings.

Every score compares an estimate with a reference of the same shape. Sums are taken in float64,
piece by piece. A score of a silent reference is undefined: NaN. No error at all is -inf dB NMSE,
+inf dB SNR. NaNs in the input come out as NaN: leave padding rows out first.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from fadae.arrays import Array, Float32

_PIECE_VALUES = 2**18
_LSD_FRAME_SAMPLES = 2048
_LSD_HOP_SAMPLES = 512
_FRAMES_AT_A_TIME = 64
# Power below 100 dB under full scale is silence: rounding noise must not count like music.
_SILENCE = 1e-10
_STFT_SAMPLES = (512, 1024, 2048)  # windows of the multi-resolution STFT distance
_STFT_LEAST = 1e-8  # power of a bin, of unnormalised FFTs, in auraloss


@dataclass(frozen=True)
class ErrorSums:
    """Sums from which NMSE, SNR and SI-SDR follow; `+` pools them over parts of a whole.

    >>> half = ErrorSums.of(np.array([1.0]), np.array([0.9]))
    >>> round((half + half).nmse_db, 9)
    -20.0
    """

    reference: float = 0.0  # sum x^2
    error: float = 0.0  # sum e^2, e = x - y
    correlation: float = 0.0  # sum x e

    @classmethod
    def of(cls, reference: Array, estimate: Array) -> Self:
        """Return the sums of two arrays of one shape; raises ValueError where shapes differ."""
        x, y = np.asarray(reference), np.asarray(estimate)
        if x.shape != y.shape:
            raise ValueError(f"reference has shape {x.shape}, estimate {y.shape}.")
        x, y = x.reshape(-1), y.reshape(-1)
        sums = np.zeros(3)
        for first in range(0, x.size, _PIECE_VALUES):
            piece = x[first : first + _PIECE_VALUES].astype(np.float64)
            error = piece - y[first : first + _PIECE_VALUES]
            sums += (piece @ piece, error @ error, piece @ error)
        return cls(*sums.tolist())

    def __add__(self, other: ErrorSums) -> ErrorSums:
        """Return the sums over both."""
        return ErrorSums(
            self.reference + other.reference,
            self.error + other.error,
            self.correlation + other.correlation,
        )

    @property
    def nmse_db(self) -> float:
        """Normalised mean squared error, 10 log10(sum e^2 / sum x^2); lower is better."""
        return _decibels(self.error, self.reference)

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio, 10 log10(sum x^2 / sum e^2): minus the NMSE."""
        return -self.nmse_db

    @property
    def si_sdr_db(self) -> float:
        """Scale-invariant signal-to-distortion ratio; blind to the estimate's gain.

        10 log10(sum (a x)^2 / sum (a x - y)^2) with the a that makes the denominator least.
        Source: Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?" (2019).
        With y = x - e both follow from the sums: a = 1 - sum xe / sum x^2, and the residual is
        sum e^2 - (sum xe)^2 / sum x^2, which loses no digits where e is small.
        """
        if not self.reference > 0:
            return math.nan
        gain = 1 - self.correlation / self.reference
        residual = self.error - self.correlation**2 / self.reference
        return -_decibels(max(residual, 0.0), gain**2 * self.reference)


def nmse_db(reference: Array, estimate: Array) -> float:
    """Return 10 log10(sum (x - y)^2 / sum x^2) over arrays of one shape.

    >>> round(nmse_db(np.array([1.0, -1.0]), np.array([0.9, -0.9])), 9)
    -20.0
    """
    return ErrorSums.of(reference, estimate).nmse_db


def snr_db(reference: Array, estimate: Array) -> float:
    """Return 10 log10(sum x^2 / sum (x - y)^2) over arrays of one shape."""
    return ErrorSums.of(reference, estimate).snr_db


def si_sdr_db(reference: Array, estimate: Array) -> float:
    """Return the scale-invariant signal-to-distortion ratio; see `ErrorSums.si_sdr_db`."""
    return ErrorSums.of(reference, estimate).si_sdr_db


def log_spectral_distance_db(reference: Array, estimate: Array) -> float:
    """Return the mean over frames of the RMS over FFT bins of the difference in level, dB.

    Signals [n], full scale +-1; frames of 2048 Hann-windowed samples every 512, the last padded
    with zeros; power is floored 100 dB below a full-scale sine. 0 for equal signals, NaN for
    empty ones; raises ValueError where shapes differ or are not [n].
    """
    x, y = _signals(reference, estimate)
    if x.size == 0:
        return math.nan
    width, hop = _LSD_FRAME_SAMPLES, _LSD_HOP_SAMPLES
    frames = _frame_count(x.size, width, hop)
    total = 0.0
    for first in range(0, frames, _FRAMES_AT_A_TIME):
        part = range(first, min(first + _FRAMES_AT_A_TIME, frames))
        pair = (_frames(signal, part, width, hop) for signal in (x, y))
        total += float(_level_distances_db(*pair).sum())
    return total / frames


def multi_resolution_stft_distance(reference: Array, estimate: Array) -> float:
    """Return the mean, over three windows, of spectral convergence plus log-magnitude distance.

    Signals [n], full scale +-1. For STFT magnitudes X and Y the two are ||X - Y|| / ||X|| (over
    all frames and bins) and the mean of |ln X - ln Y|; power is floored at 1e-8. Hann windows of
    512, 1024 and 2048 samples every quarter of them, the last frame padded with zeros. 0 for
    equal signals, NaN for silent or empty references; ValueError where shapes differ or are not
    [n]. Sources: Arik, Jun, Diamos, "Fast spectrogram inversion using multi-head convolutional
    neural networks" (2018); Yamamoto, Song, Kim, "Parallel WaveGAN" (2020); Steinmetz, Reiss,
    "auraloss" (2020).
    """
    x, y = _signals(reference, estimate)
    if not np.any(x):
        return math.nan
    return sum(_stft_distance(x, y, width) for width in _STFT_SAMPLES) / len(_STFT_SAMPLES)


def _stft_distance(x: Array, y: Array, width: int) -> float:
    """Return spectral convergence plus the mean distance of log magnitudes, with one window."""
    hop, window = width // 4, np.hanning(width + 1)[:-1].astype(np.float32)  # periodic
    frames = _frame_count(x.size, width, hop)
    difference = energy = logarithms = 0.0
    for first in range(0, frames, _FRAMES_AT_A_TIME):
        part = range(first, min(first + _FRAMES_AT_A_TIME, frames))
        a, b = (
            np.sqrt(np.maximum(_power(_frames(signal, part, width, hop) * window), _STFT_LEAST))
            for signal in (x, y)
        )
        difference += float(np.square(a - b, dtype=np.float64).sum())
        energy += float(np.square(a, dtype=np.float64).sum())
        logarithms += float(np.abs(np.log(a / b)).sum(dtype=np.float64))
    return math.sqrt(difference / energy) + logarithms / (frames * (width // 2 + 1))


def _signals(reference: Array, estimate: Array) -> tuple[Array, Array]:
    """Return two signals of one shape [n]; raises ValueError for others."""
    x, y = np.asarray(reference), np.asarray(estimate)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"signals have one shape [n]; got {x.shape} and {y.shape}.")
    return x, y


def _frame_count(samples: int, width: int, hop: int) -> int:
    """Return how many frames cover so many samples."""
    return max(1, math.ceil((samples - width) / hop) + 1)


def _frames(signal: Array, frames: range, width: int, hop: int) -> Float32:
    """Return some frames [count, width] of a signal, zeros beyond its end."""
    start = frames.start * hop
    stretch = np.zeros((len(frames) - 1) * hop + width, np.float32)
    inside = signal[start : start + len(stretch)]
    stretch[: len(inside)] = inside
    return np.lib.stride_tricks.sliding_window_view(stretch, width)[::hop]


def _level_distances_db(x: Float32, y: Float32) -> Float32:
    """Return [rows]: the RMS over FFT bins of the difference in level, dB, of rows [rows, width].

    Hann-windowed. The one kernel of the log-spectral distance.
    """
    window = _level_window(x.shape[1])
    difference = _levels_db(x * window) - _levels_db(y * window)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", difference, difference) / difference.shape[1]))


@functools.lru_cache(maxsize=8)
def _level_window(width: int) -> Float32:
    window = np.hanning(width).astype(np.float32)
    window *= 2 / window.sum()  # a full-scale sine on a bin has the power 1
    return window


def _power(windowed: Float32) -> Float32:
    """Return the power of the FFT bins of windowed rows [rows, width]."""
    import scipy.fft  # a tenth of a second, which commands that only read scores can do without

    spectrum = scipy.fft.rfft(windowed)
    power: Float32 = spectrum.real**2
    power += spectrum.imag**2
    return power


def _levels_db(windowed: Float32) -> Float32:
    power = _power(windowed)
    np.maximum(power, np.float32(_SILENCE), out=power)
    np.log10(power, out=power)
    power *= 10
    return power


def _decibels(numerator: float, denominator: float) -> float:
    if math.isnan(numerator) or not denominator > 0:
        return math.nan
    return 10 * math.log10(numerator / denominator) if numerator > 0 else -math.inf


def audio_sums(reference: Float32, estimate: Float32) -> Array:
    """Return [rows, 4]: sum x^2, sum (x-y)^2, sum x(x-y) and the log-spectral distance, by hop.

    The distance of a hop is the RMS over FFT bins of the difference in level, dB, of the 2048
    samples in its middle, Hann-windowed: `scores.log_spectral_distance_db` with one frame a hop.
    """
    sums = np.empty((len(reference), 4))
    error = reference - estimate
    pairs = ((reference, reference), (error, error), (reference, error))
    for column, (a, b) in enumerate(pairs):
        sums[:, column] = np.einsum("ij,ij->i", a, b)
    hop = reference.shape[1]
    width = min(hop, _LSD_FRAME_SAMPLES)
    middle = slice((hop - width) // 2, (hop - width) // 2 + width)
    x, y = reference[:, middle], estimate[:, middle]
    for first in range(0, len(reference), _FRAMES_AT_A_TIME):
        part = slice(first, first + _FRAMES_AT_A_TIME)
        sums[part, 3] = _level_distances_db(x[part], y[part])
    return sums
