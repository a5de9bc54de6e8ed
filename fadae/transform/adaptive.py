"""The frequency-adaptive transform: frames, an FFT, and every band inverse-transformed alone.

`analyze` turns samples into coefficients whose time resolution follows their frequency;
`synthesize` is the canonical dual, which gives back whatever the bands heard.

**Which bytes are promised.** A frame's coefficients, and a hop's samples, are a pure function of
their own input: the same bits whatever frames are computed beside them, wherever a signal is cut
and however many threads there are. That holds on every processor. So shards computed apart fit
together, and work that was killed ends with the same bytes.

It takes two rules. Work goes in blocks of a fixed number of frames, short blocks padded with
zeros, so that FFTs and products always have the same shapes. And products take so few rows at a
time that the BLAS treats them all alike: its kernels cut rows into groups and may sum the groups
in another order, so a row's bits could depend on its place in the block. Which numbers of rows
are safe differs from kernel to kernel; `bands` tries them out once a process.

Different *kinds* of processor (AVX2 or AVX-512, x86 or ARM) may still round the last bit of a
float32 differently, because a BLAS has another kernel for each: one float16 in 1600 differs
between OpenBLAS' Haswell and SkylakeX. The workers of a cluster need not be alike: mixed shards
are as good as any. Only comparing bytes needs like machines (or one OPENBLAS_CORETYPE on all).
`verify` compares checksums of what was written, never with a new computation, so it takes no
other machine's rounding, or another version's, for damage. Memory beyond the result is one block's.
"""

from __future__ import annotations

import functools
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.fft

from fadae.arrays import Array, Float64, Int64
from fadae.errors import UsageError
from fadae.records import TransformConfig, canonical_json, sha256_hex
from fadae.transform import presets
from fadae.transform.bands import BandAnalyzer, Bands, BandSynthesizer, BandWindow, band_windows
from fadae.transform.framing import Framing, vorbis_window
from fadae.transform.rasterize import rasterize
from fadae.transform.scale import FrequencyScale, scale_from_config

# A floor for coefficients that a network made: errors grow at most 1/sqrt(0.2) = 2.2 fold, and
# of the bins that `seed` hears only the 8 topmost (3053-3064 Hz) are touched.
MODEL_FLOOR = 0.2


class FrequencyAdaptiveTransform:
    """An analysis of sound in bands, each with its own time resolution, and its inverse.

    A value: equal configurations are equal, hash alike and pickle small.

    >>> t = FrequencyAdaptiveTransform.preset("seed")
    >>> c = t.analyze(np.zeros(11025, dtype=np.float32))
    >>> c.shape, c.dtype.name
    ((4, 8192), 'float32')
    >>> t.synthesize(c, length=11025).shape
    (11025,)
    """

    model_floor = MODEL_FLOOR

    def __init__(
        self,
        name: str,
        *,
        sample_rate_hz: int,
        framing: Framing,
        scale: FrequencyScale,
        slices: npt.ArrayLike,
        band_window: BandWindow = "hann",
        window_floor: float = 0.0,
    ) -> None:
        """Make a transform from its parts; the presets are made of nothing else.

        slices [B, 2]: the FFT bins [start, stop) of each band of `scale`. The sum of squared frame
        windows counts as at least `window_floor` in synthesis, where a frame's edge is seen once.
        """
        self.name = name
        self.sample_rate_hz = sample_rate_hz
        self.framing = framing
        self.scale = scale
        self.band_window = band_window
        self.window_floor = window_floor
        self.band_slices = np.array(slices, dtype=np.int64)
        bins = framing.frame_samples // 2 + 1
        _ensure_slices(self.band_slices, len(scale), bins)
        self._bands = Bands(bins, self.band_slices, band_windows(band_window, self.band_slices))
        self._window = vorbis_window(framing.frame_samples)
        self.coefficient_slices = self._bands.coefficient_slices
        self.size = self._bands.size
        self.band_low_hz = scale.low_hz
        self.band_centre_hz = scale.centre_hz
        self.band_high_hz = scale.high_hz
        widths = np.diff(self.coefficient_slices, axis=1)[:, 0]
        self.coefficient_band = np.repeat(np.arange(self.bands, dtype=np.int32), widths)
        # Matrices are made when first used, one set a precision and floor.
        self._analyzers: dict[np.dtype[Any], BandAnalyzer] = {}
        self._synthesizers: dict[tuple[np.dtype[Any], float], BandSynthesizer] = {}

    @classmethod
    def preset(cls, name: str, sample_rate_hz: int = 11025) -> Self:
        """Return the transform called `seed`, `zounds` or `full`.

        `seed` and `zounds` are the 2017 experiment's 300 bands at 11025 Hz; `full` covers DC to
        Nyquist at any rate. Raises UsageError for another name, or rate where it is fixed.
        """
        return cls.from_config(presets.preset_config(name, sample_rate_hz))

    @classmethod
    def from_config(cls, config: TransformConfig) -> Self:
        """Return the transform whose `config()` this is; raises UsageError where it is not one."""
        try:
            if config["frame_window"] != "vorbis":
                raise ValueError(f"frame_window {config['frame_window']!r} is not 'vorbis'")
            return cls(
                config["name"],
                sample_rate_hz=config["sample_rate_hz"],
                framing=Framing(
                    config["frame_samples"], config["hop_samples"], config["padding_samples"]
                ),
                scale=scale_from_config(config["scale"]),
                slices=config["band_slices"],
                band_window=config["band_window"],
                window_floor=config["window_floor"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"not a transform's configuration: {error!r}") from error

    def config(self) -> TransformConfig:
        """Return everything that defines the transform, JSON-able; `from_config` reads it."""
        return {
            "name": self.name,
            "sample_rate_hz": self.sample_rate_hz,
            "frame_samples": self.frame_samples,
            "hop_samples": self.hop_samples,
            "padding_samples": self.padding_samples,
            "frame_window": "vorbis",
            "window_floor": self.window_floor,
            "scale": self.scale.config(),
            "band_window": self.band_window,
            "band_slices": self.band_slices.tolist(),
        }

    @functools.cached_property
    def config_sha256(self) -> str:
        """SHA-256 of the canonical JSON of `config()`, 64 hex digits."""
        return sha256_hex(canonical_json(self.config()))

    @property
    def frame_samples(self) -> int:
        """N, the samples of a frame."""
        return self.framing.frame_samples

    @property
    def hop_samples(self) -> int:
        """H, the samples from one frame's start to the next one's."""
        return self.framing.hop_samples

    @property
    def padding_samples(self) -> int:
        """P, the zeros before the first sample."""
        return self.framing.padding_samples

    @property
    def bands(self) -> int:
        """B, the number of bands."""
        return len(self.band_slices)

    @functools.cached_property
    def band_power(self) -> Float64:
        """[N // 2 + 1] float64: S, the sum of squared band windows at each FFT bin."""
        return self._bands.power

    def frame_count(self, samples: int) -> int:
        """Return the frames `analyze` makes of so many samples; 0 of none."""
        return self.framing.frame_count(samples)

    def heard_samples(self, first: int, stop: int) -> tuple[int, int]:
        """Return the samples [a, b) that frames [first, stop) hear: a = first H - P."""
        before = self.padding_samples
        return (
            first * self.hop_samples - before,
            (stop - 1) * self.hop_samples - before + self.frame_samples,
        )

    def analyze(self, samples: Array) -> Array:
        """Return the coefficients [F, size] of a signal [n], in its precision.

        samples: float32 or float64, full scale +-1. A frame that holds a NaN or an infinity
        becomes NaN; its neighbours do not. Raises TypeError for other types (integers
        have no scale: divide int16 by 32768), ValueError for other shapes.
        """
        signal = _ensure_signal(samples)
        out = np.empty((self.frame_count(len(signal)), self.size), dtype=signal.dtype)
        self._analyze_into(self.framing, signal, out)
        return out

    def analyze_frames(self, samples: Array) -> Array:
        """Return the coefficients [F, size] of (F-1) H + N samples: frame f starts at f H.

        No padding. Frames [a, b) of a recording are those of its samples `heard_samples(a, b)`,
        zeros outside: bit for bit what `analyze` gives for them.
        """
        signal = _ensure_signal(samples)
        frames, rest = divmod(len(signal) - self.frame_samples, self.hop_samples)
        if frames < 0 or rest:
            raise ValueError(
                f"whole frames take {self.frame_samples} samples and {self.hop_samples} for each "
                f"further one; got {len(signal)}."
            )
        out = np.empty((frames + 1, self.size), dtype=signal.dtype)
        self._analyze_into(Framing(self.frame_samples, self.hop_samples, 0), signal, out)
        return out

    def synthesize(self, c: Array, length: int | None = None, *, floor: float = 0.0) -> Array:
        """Return the signal [length] of coefficients [F, size], in their precision.

        The canonical dual: coefficients of a signal give back what the bands heard of it. Of all
        signals, it is the one whose coefficients are nearest to `c`, so `c` may come from
        anywhere; for a network's output pass `floor=MODEL_FLOOR`, which keeps errors from being
        amplified at the outermost bins, where the bands hear little. float16 `c` is computed in
        float32. A NaN makes its frame's samples NaN. `length` defaults to all the frames cover.
        Raises TypeError and ValueError for other types and shapes, or too great a length.
        """
        c = self._ensure_coefficients(c)
        covered = self.framing.covered_samples(len(c))
        length = covered if length is None else length
        if not 0 <= length <= covered:
            raise ValueError(f"{len(c)} frames cover {covered} samples; length was {length}.")
        hops = self._synthesize_all_hops(c, floor)
        start = self.padding_samples
        return hops.reshape(-1)[start : start + length]

    def synthesize_hops(self, c: Array, *, floor: float = 0.0) -> Array:
        """Return samples [F H] of coefficients [F + 1, size]: hop j from frames j and j + 1.

        For sharded work with the presets padded by one hop: rows [a, b] of a recording give its
        samples [a H, b H), bit for bit what `synthesize` gives for them.
        """
        if self.padding_samples != self.hop_samples:
            raise UsageError(f"preset {self.name!r} is not padded by a hop: use synthesize.")
        c = self._ensure_coefficients(c)
        if len(c) == 0:
            raise ValueError("F hops take F + 1 frames; got none.")
        return self._synthesize_all_hops(c, floor)[1:-1].reshape(-1)

    def rasterize(self, c: Array, columns: int) -> Array:
        """Return the picture [F, columns, B] of coefficients [F, size]; see `rasterize`."""
        return rasterize(self._ensure_coefficients(c), self.coefficient_slices, columns)

    def rasterize_hops(self, c: Array, columns: int) -> Array:
        """Return magnitudes [T, B] over time, `columns` a hop, from the first frame's hop on.

        Of each frame the middle half is drawn, where the next frame is not yet heard louder; so
        T = F columns less the half hop before the first frame's centre. float16 is drawn in
        float32.
        """
        frames = self.rasterize(c, 2 * columns)
        # Frame j is centred on the start of hop j: its middle half starts half a hop earlier.
        middle = np.abs(frames[:, columns // 2 : columns // 2 + columns])
        return middle.reshape(-1, self.bands)[columns // 2 :]

    def heard_energy(self, frames: Array) -> tuple[float, float]:
        """Return (power in the FFT bins of the bands, power in all) of frames [F, N], windowed."""
        window = self._window.astype(frames.dtype)
        sides = np.full(self.frame_samples // 2 + 1, 2.0)  # of the spectrum: bin 0 has one,
        sides[0] = 1
        if self.frame_samples % 2 == 0:  # and bin N / 2
            sides[-1] = 1
        power = (np.abs(scipy.fft.rfft(frames * window)) ** 2).sum(axis=0) * sides
        return float(power[self.band_power > 0].sum()), float(power.sum())

    def __eq__(self, other: object) -> bool:
        """Two transforms are equal when their configurations are."""
        if not isinstance(other, FrequencyAdaptiveTransform):
            return NotImplemented
        return self.config_sha256 == other.config_sha256

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.config_sha256)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, never the matrices."""
        return (type(self).from_config, (self.config(),))

    def __repr__(self) -> str:
        """Say which transform this is."""
        return (
            f"FrequencyAdaptiveTransform({self.name!r}, {self.sample_rate_hz} Hz, "
            f"{self.bands} bands, {self.size} coefficients a frame)"
        )

    def _analyze_into(self, framing: Framing, signal: Array, out: Array) -> None:
        block = framing.block_frames
        analyzer = self._analyzer(out.dtype)
        window = self._window.astype(out.dtype)
        frames = np.empty((block, self.frame_samples), dtype=out.dtype)
        for first in range(0, len(out), block):
            framing.read_frames(signal, first, window, frames)
            spectra = scipy.fft.rfft(frames, norm="ortho", overwrite_x=True)
            rows = out[first : first + block]
            if len(rows) == block:
                analyzer(spectra, rows)
            else:
                whole = np.empty((block, self.size), dtype=out.dtype)
                analyzer(spectra, whole)
                rows[:] = whole[: len(rows)]

    def _synthesize_all_hops(self, c: Array, floor: float) -> Array:
        """Return [F + 1, H]: every hop that the F frames reach, counted from the padded start."""
        dtype = np.dtype(np.float32) if c.dtype == np.float16 else c.dtype
        if len(c) == 0:
            return np.zeros((0, self.hop_samples), dtype=dtype)
        block = self.framing.block_frames
        synthesizer = self._synthesizer(dtype, floor)
        window = self._window.astype(dtype)
        spectra = np.zeros((block, self.frame_samples // 2 + 1), dtype=np.result_type(dtype, 1j))
        carry = np.zeros(self.frame_samples - self.hop_samples, dtype=dtype)
        hops = np.zeros((len(c) + 1, self.hop_samples), dtype=dtype)
        for first in range(0, len(c), block):
            rows = c[first : first + block].astype(dtype, copy=False)
            whole = rows
            if len(rows) < block:
                whole = np.zeros((block, self.size), dtype=dtype)
                whole[: len(rows)] = rows
            synthesizer(whole, spectra)
            frames = scipy.fft.irfft(spectra, n=self.frame_samples, norm="ortho")
            target = hops[first : first + len(rows)]
            self.framing.add_frames(frames[: len(rows)], window, carry, target)
        hops[-1, : len(carry)] = carry
        self._divide_by_windows(hops)
        return hops

    def _divide_by_windows(self, hops: Array) -> None:
        weights = self.framing.hop_weights(self._window)
        if self.padding_samples and np.allclose(weights[1], 1, rtol=0, atol=1e-12):
            return  # inner hops need no division, and the first and last are cut off
        first, inner, last = np.maximum(weights, self.window_floor).astype(hops.dtype)
        hops[0] /= first
        hops[1:-1] /= inner
        # The last hop of a frame shorter than two hops ends in samples no frame reaches.
        hops[-1] /= np.where(last > 0, last, 1)

    def _analyzer(self, dtype: np.dtype[Any]) -> BandAnalyzer:
        if dtype not in self._analyzers:
            self._analyzers[dtype] = self._bands.analyzer(dtype)
        return self._analyzers[dtype]

    def _synthesizer(self, dtype: np.dtype[Any], floor: float) -> BandSynthesizer:
        if (dtype, floor) not in self._synthesizers:
            self._synthesizers[dtype, floor] = self._bands.synthesizer(dtype, floor)
        return self._synthesizers[dtype, floor]

    def _ensure_coefficients(self, c: Array) -> Array:
        c = np.asarray(c)
        if c.dtype not in (np.float16, np.float32, np.float64):
            raise TypeError(f"coefficients are float16, float32 or float64, not {c.dtype}.")
        if c.ndim != 2 or c.shape[1] != self.size:
            raise ValueError(
                f"coefficients of {self.name!r} have shape [frames, {self.size}], not {c.shape}."
            )
        return c


def _ensure_signal(samples: Array) -> Array:
    samples = np.asarray(samples)
    if samples.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"samples are float32 or float64 of full scale +-1, not {samples.dtype}; "
            "divide int16 by 32768."
        )
    if samples.ndim != 1:
        raise ValueError(f"samples have shape [n], one channel, not {samples.shape}.")
    return samples


def _ensure_slices(slices: Int64, bands: int, bins: int) -> None:
    if slices.shape != (bands, 2) or bands == 0:
        raise UsageError(f"{bands} bands need slices of shape ({bands}, 2), not {slices.shape}.")
    widths = slices[:, 1] - slices[:, 0]
    wrong = np.flatnonzero((slices[:, 0] < 0) | (slices[:, 1] > bins) | (widths < 3))
    if wrong.size:
        start, stop = slices[wrong[0]]
        raise UsageError(
            f"band {wrong[0]} owns bins [{start}, {stop}): a band needs at least 3 of the bins "
            f"0 to {bins - 1}; use wider bands, longer frames or a scale below Nyquist."
        )
