"""The critically sampled transform: an orthonormal MDCT, three blocks a row.

Preset `critical`. A signal of L samples becomes about L coefficients, and the transform is a
rotation: analysis and synthesis are each other's transpose, energies agree, and an error in the
coefficients is the same error in the samples. It is made for coding.

An MDCT block of M bins hears 2 M samples under a Kaiser-Bessel-derived window w, alpha 4, with
w[t]^2 + w[t + M]^2 = 1. Block i is centred at sample i M:

    X_i[k] = sqrt(2 / M) sum_t w[t] x[(i - 1) M + t] cos(pi / M (t + 1/2 + M / 2) (k + 1/2))

It is computed by folding 2 M samples (a, b, c, d) into the M values (-c_r - d, a - b_r), where _r
reverses, and a DCT-IV. Row j holds blocks 3j, 3j + 1 and 3j + 2, so rows advance by H = 3 M
samples and hop j sounds from rows j and j + 1, as in the other presets. Coefficients are ordered
by frequency, then block: coefficient 3 k + s of a row is bin k of its block s.

Sources: Princen, Johnson, Bradley, ICASSP 1987 (the MDCT, there called TDAC); Vorbis and AAC for
the window; Malvar, "Signal Processing with Lapped Transforms", 1992 (folding).
"""

from __future__ import annotations

import functools
import operator
from typing import Any, Self

import numpy as np
import scipy.fft

from fadae.arrays import Array, Float64
from fadae.errors import UsageError
from fadae.records import TransformConfig, canonical_json, sha256_hex
from fadae.transform.framing import zero_extended
from fadae.transform.rasterize import rasterize

BLOCKS = 3  # blocks a row
KIND = "mdct"
_KBD_ALPHA = 4.0
# Rows computed together are a multiple of this, missing ones being silent. pocketfft transforms
# 4, 8 or 16 vectors at once and the rest one by one; with 48 blocks there is no rest, so that a
# row's bytes cannot depend on the rows beside it, whatever a compiler made of the two ways.
_ROWS_MULTIPLE = 16
_MOST_ROWS = 64  # at a time: 1 MB of float32 samples, which stays in the caches


class CriticalTransform:
    """An orthonormal MDCT with three blocks a row, at any sample rate.

    A value: equal configurations are equal, hash alike and pickle small.

    >>> t = CriticalTransform(11025)
    >>> t.hop_samples, t.size, t.bands
    (3750, 3750, 1250)
    >>> c = t.analyze(np.zeros(11025, dtype=np.float32))
    >>> c.shape, c.dtype.name
    ((4, 3750), 'float32')
    >>> t.synthesize(c, length=11025).shape
    (11025,)
    """

    model_floor = 0.0  # nothing is amplified in synthesis, so there is nothing to bound

    def __init__(self, sample_rate_hz: int = 11025, *, bands: int | None = None) -> None:
        """Make the transform of a rate; `bands` (M) defaults to what the preset says.

        The preset's M is the smallest even fast length with 3 M of at least 0.34 s. Raises
        UsageError for a rate that is none or an M that is odd.
        """
        rate_hz = _ensure_rate(sample_rate_hz)
        self.name = "critical"
        self.sample_rate_hz = rate_hz
        self.bands = preset_bands(rate_hz) if bands is None else operator.index(bands)
        if self.bands < 2 or self.bands % 2:
            raise UsageError(f"an MDCT has an even number of bins, 2 or more, not {self.bands}")
        self.size = self.hop_samples = BLOCKS * self.bands
        edges = np.arange(self.bands + 1, dtype=np.float64) * (rate_hz / 2 / self.bands)
        self.band_low_hz = edges[:-1]
        self.band_high_hz = edges[1:]
        self.band_centre_hz = (edges[:-1] + edges[1:]) / 2
        starts = BLOCKS * np.arange(self.bands, dtype=np.int64)
        self.coefficient_slices = np.stack([starts, starts + BLOCKS], axis=1)
        self.coefficient_band = np.repeat(np.arange(self.bands, dtype=np.int32), BLOCKS)
        self._slopes = {
            np.dtype(dtype): kbd_slope(self.bands).astype(dtype).reshape(2, -1)
            for dtype in (np.float32, np.float64)
        }

    @classmethod
    def from_config(cls, config: TransformConfig) -> Self:
        """Return the transform whose `config()` this is; raises UsageError where it is not one."""
        try:
            made = cls(config["sample_rate_hz"], bands=config["bands"])
        except (KeyError, TypeError) as error:
            raise UsageError(f"not a transform's configuration: {error!r}") from error
        if made.config() != dict(config):
            raise UsageError(f"not a configuration of preset 'critical': {dict(config)!r}")
        return made

    def config(self) -> TransformConfig:
        """Return everything that defines the transform, JSON-able; `from_config` reads it."""
        return {
            "kind": KIND,
            "name": self.name,
            "sample_rate_hz": self.sample_rate_hz,
            "bands": self.bands,
            "blocks": BLOCKS,
            "hop_samples": self.hop_samples,
            "window": "kbd",
            "window_alpha": _KBD_ALPHA,
        }

    @functools.cached_property
    def config_sha256(self) -> str:
        """SHA-256 of the canonical JSON of `config()`, 64 hex digits."""
        return sha256_hex(canonical_json(self.config()))

    @property
    def frame_samples(self) -> int:
        """The samples of the frame that holds what a row hears: two hops (4 M of them count)."""
        return 2 * self.hop_samples

    @property
    def padding_samples(self) -> int:
        """The zeros before the first sample: one hop."""
        return self.hop_samples

    def frame_count(self, samples: int) -> int:
        """Return the rows `analyze` makes of so many samples; 0 of none."""
        if samples < 0:
            raise ValueError(f"a signal has 0 or more samples, not {samples}")
        return -(-samples // self.hop_samples) + 1 if samples else 0

    def heard_samples(self, first: int, stop: int) -> tuple[int, int]:
        """Return the samples [a, b) that rows [first, stop) hear: those of two hops a row."""
        return (first - 1) * self.hop_samples, stop * self.hop_samples

    def analyze(self, samples: Array) -> Array:
        """Return the coefficients [F, size] of a signal [n], in its precision.

        samples: float32 or float64, full scale +-1. A NaN or an infinity spoils only the blocks
        that hear it. Raises TypeError for other types (integers have no scale: divide int16 by
        32768), ValueError for other shapes.
        """
        signal = _ensure_signal(samples)
        out = np.empty((self.frame_count(len(signal)), self.size), dtype=signal.dtype)
        self._analyze_into(signal, -self.bands, out)
        return out

    def analyze_frames(self, samples: Array) -> Array:
        """Return the coefficients [F, size] of (F + 1) H samples: row f's frame starts at f H.

        Rows [a, b) of a recording are those of its samples `heard_samples(a, b)`, zeros outside:
        bit for bit what `analyze` gives for them.
        """
        signal = _ensure_signal(samples)
        hops, rest = divmod(len(signal), self.hop_samples)
        if hops < 2 or rest:
            raise ValueError(
                f"whole frames take {self.frame_samples} samples and {self.hop_samples} for each "
                f"further one; got {len(signal)}."
            )
        out = np.empty((hops - 1, self.size), dtype=signal.dtype)
        self._analyze_into(signal, self.hop_samples - self.bands, out)
        return out

    def synthesize(self, c: Array, length: int | None = None, *, floor: float = 0.0) -> Array:
        """Return the signal [length] of coefficients [F, size], in their precision.

        float16 `c` is computed in float32. `length` defaults to all the rows cover. `floor` is
        for other presets; here no error is amplified. Raises TypeError and ValueError for other
        types and shapes, or too great a length.
        """
        c = self._ensure_coefficients(c)
        covered = max(len(c) - 1, 0) * self.hop_samples
        length = covered if length is None else length
        if not 0 <= length <= covered:
            raise ValueError(f"{len(c)} frames cover {covered} samples; length was {length}.")
        if covered == 0:
            return np.zeros(0, dtype=_computed_in(c.dtype))
        return self.synthesize_hops(c)[:length]

    def synthesize_hops(self, c: Array, *, floor: float = 0.0) -> Array:
        """Return samples [F H] of coefficients [F + 1, size]: hop j from rows j and j + 1.

        Rows [a, b] of a recording give its samples [a H, b H), bit for bit what `synthesize`
        gives for them.
        """
        c = self._ensure_coefficients(c)
        if len(c) == 0:
            raise ValueError("F hops take F + 1 frames; got none.")
        out = np.empty((len(c) - 1) * self.hop_samples, dtype=_computed_in(c.dtype))
        for first in range(0, len(c) - 1, _MOST_ROWS):
            rows = c[first : first + _MOST_ROWS + 1]
            start = first * self.hop_samples
            self._unfold(self._inverse(rows, out.dtype), out[start:], len(rows) - 1)
        return out

    def rasterize(self, c: Array, columns: int) -> Array:
        """Return the picture [F, columns, B] of coefficients [F, size]; see `rasterize`."""
        return rasterize(self._ensure_coefficients(c), self.coefficient_slices, columns)

    def rasterize_hops(self, c: Array, columns: int) -> Array:
        """Return magnitudes [T, B] over time, `columns` a hop, from the first row's hop on.

        A column shows the block that is centred nearest; T = F columns less those past the last
        row's last block, a sixth of a hop. float16 is drawn in float32.
        """
        if columns < 1:
            raise ValueError(f"a hop has 1 or more columns, not {columns}.")
        c = self._ensure_coefficients(c)
        grid = c.astype(_computed_in(c.dtype)).reshape(len(c), self.bands, BLOCKS)
        blocks: Array = np.abs(grid.transpose(0, 2, 1).reshape(-1, self.bands))
        column = np.arange(len(c) * columns)
        nearest = (BLOCKS * (2 * column + 1) + columns) // (2 * columns)
        picture: Array = blocks[nearest[nearest < len(blocks)]]
        return picture

    def heard_energy(self, frames: Array) -> tuple[float, float]:
        """Return the energy of frames [F, 2 H] twice: an orthonormal transform keeps all."""
        energy = float(np.sum(np.square(frames, dtype=np.float64)))
        return energy, energy

    def __eq__(self, other: object) -> bool:
        """Two transforms are equal when their configurations are."""
        if not isinstance(other, CriticalTransform):
            return NotImplemented
        return self.config_sha256 == other.config_sha256

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.config_sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, nothing computed."""
        return (type(self).from_config, (self.config(),))

    def __repr__(self) -> str:
        """Say which transform this is."""
        return f"CriticalTransform({self.sample_rate_hz} Hz, {self.size} coefficients a frame)"

    def _analyze_into(self, signal: Array, start: int, out: Array) -> None:
        """Write the rows whose first block begins at sample `start` of a signal to `out`."""
        M, H = self.bands, self.hop_samples
        for first in range(0, len(out), _MOST_ROWS):
            rows = out[first : first + _MOST_ROWS]
            blocks = BLOCKS * _padded(len(rows))
            heard = start + first * H
            # Samples past the last row, which a neighbour may hear, fill up no missing row.
            stretch = zero_extended(signal, heard, heard + len(rows) * H + M)
            folded = np.zeros((blocks, M), dtype=out.dtype)
            self._fold(stretch, folded[: BLOCKS * len(rows)])
            spectra = scipy.fft.dct(folded, type=4, norm="ortho", overwrite_x=True)
            grid = spectra.reshape(-1, BLOCKS, M)[: len(rows)]
            rows.reshape(len(rows), M, BLOCKS)[:] = grid.transpose(0, 2, 1)

    def _fold(self, stretch: Array, out: Array) -> None:
        """Fold chunks of M samples [(B + 1) M] into blocks [B, M] for the DCT-IV."""
        half = self.bands // 2
        low, high = self._slopes[out.dtype]
        chunks = stretch.reshape(-1, 2, half)
        (a, b), (c, d) = chunks[:-1].swapaxes(0, 1), chunks[1:].swapaxes(0, 1)
        # The window rises over a block's first chunk (a, b) and falls, mirrored, over its second.
        work = np.empty((len(out), half), dtype=out.dtype)
        np.multiply(a, low, out=out[:, half:])
        np.multiply(b, high, out=work)
        out[:, half:] -= work[:, ::-1]
        np.multiply(c, high[::-1], out=work)
        np.multiply(d, np.negative(low[::-1]), out=out[:, :half])
        out[:, :half] -= work[:, ::-1]

    def _inverse(self, rows: Array, dtype: np.dtype[Any]) -> Array:
        """Return the folded blocks [B, M] of rows [F, size]."""
        M = self.bands
        grid = np.zeros((_padded(len(rows)), BLOCKS, M), dtype=dtype)
        grid[: len(rows)] = rows.reshape(len(rows), M, BLOCKS).transpose(0, 2, 1)
        blocks: Array = scipy.fft.dct(grid.reshape(-1, M), type=4, norm="ortho", overwrite_x=True)
        return blocks

    def _unfold(self, blocks: Array, out: Array, hops: int) -> None:
        """Write `hops` hops of samples to `out` from their folded blocks: the fold transposed."""
        half, count = self.bands // 2, BLOCKS * hops
        low, high = self._slopes[out.dtype]
        chunks = out[: 2 * half * count].reshape(count, 2, half)
        p, q = blocks[:count, :half], blocks[1 : count + 1, half:]
        work = np.empty((count, half), dtype=out.dtype)
        np.multiply(q, low, out=chunks[:, 0])
        np.multiply(p, high, out=work)
        chunks[:, 0] -= work[:, ::-1]
        np.multiply(p, np.negative(low[::-1]), out=chunks[:, 1])
        np.multiply(q, high[::-1], out=work)
        chunks[:, 1] -= work[:, ::-1]

    def _ensure_coefficients(self, c: Array) -> Array:
        c = np.asarray(c)
        if c.dtype not in (np.float16, np.float32, np.float64):
            raise TypeError(f"coefficients are float16, float32 or float64, not {c.dtype}.")
        if c.ndim != 2 or c.shape[1] != self.size:
            raise ValueError(f"coefficients are [frames, {self.size}], not {list(c.shape)}.")
        return c


def preset_bands(sample_rate_hz: int) -> int:
    """Return M at a rate: the smallest even fast length with 3 M of at least 0.34 s.

    >>> [preset_bands(rate_hz) for rate_hz in (8000, 11025, 44100, 48000)]
    [960, 1250, 5000, 5760]
    """
    return 2 * int(scipy.fft.next_fast_len(-(-sample_rate_hz * 17 // 300), real=True))


def kbd_slope(bins: int) -> Float64:
    """Return the rising half [M] of the Kaiser-Bessel-derived window, alpha 4.

    w[t] = sqrt(sum_{u <= t} k[u] / sum k), k the Kaiser window of M + 1 points, beta = pi alpha.

    >>> w = kbd_slope(8)
    >>> bool(np.allclose(w**2 + w[::-1] ** 2, 1, rtol=0, atol=1e-15))
    True
    """
    kaiser = np.kaiser(bins + 1, np.pi * _KBD_ALPHA)
    rising = np.sqrt(np.cumsum(kaiser[:-1]) / kaiser.sum())
    # Sums accumulate rounding: make the power complementarity exact to the last bit or so.
    return np.asarray(rising / np.sqrt(rising**2 + rising[::-1] ** 2))


def _padded(rows: int) -> int:
    return -(-rows // _ROWS_MULTIPLE) * _ROWS_MULTIPLE


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _ensure_signal(samples: Array) -> Array:
    signal = np.asarray(samples)
    if signal.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"samples are float32 or float64 of full scale +-1, not {signal.dtype}; "
            "divide int16 by 32768."
        )
    if signal.ndim != 1:
        raise ValueError(f"samples have shape [n], one channel, not {signal.shape}.")
    return signal


def _ensure_rate(sample_rate_hz: int) -> int:
    try:
        rate_hz = operator.index(sample_rate_hz)
    except TypeError:
        rate_hz = 0
    if rate_hz < 100:
        raise UsageError("a sample rate is a whole number of hertz, 100 or more.")
    return rate_hz
