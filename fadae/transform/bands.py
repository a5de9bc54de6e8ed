"""Bands of an FFT spectrum, each inverse-transformed on its own; and the exact way back.

Band b owns bins [s, e), m = e - s of them, weighted by a window h. Its n = 2(m - 1) coefficients
are y = irfft(h X[s:e], n), so that rfft(y) = h X. The windows' power S[k] = sum_b h_b[k]^2 is
the diagonal of the frame operator, and X^[k] = sum_b h_b[k] rfft(y_b)[k] / S[k] is the canonical
dual. Sources: Balazs et al., "Theory, implementation and applications of nonstationary Gabor
frames" (2011); Holighaus, Doerfler, Velasco, Grill, arXiv 1210.0084.

Most bands are so short that a dense real matrix with the window folded in beats an FFT, and so
narrow that neighbours share one: 8 us a frame for the 300 bands of `seed` with AVX-512, 16 with
AVX2, where 300 calls of irfft took 33-54.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fadae.arrays import Array, Float64, Int64
from fadae.transform.band_steps import FftStep, HalvedStep, MatrixStep, irfft_matrix, rfft_matrix

BandWindow = Literal["hann", "crossfade"]
Way = Literal["whole", "halved", "fft"]

# What a product costs a row beside its multiplications, in multiplications: neighbours share one
# matrix where its zeros cost less than another call. Measured with OpenBLAS' kernels for Haswell
# and SkylakeX: 800 to 2000 differ little.
_CALL_MULTIPLICATIONS = 1500
# Runs of synthesized bins consist of cells of so many.
_CELL_BINS = 8
# The most bands, or cells, that share a matrix.
_MOST_NEIGHBOURS = 32
# Bands of at most so many coefficients are products with one matrix.
_MOST_WHOLE = 96


def band_windows(kind: BandWindow, slices: Int64) -> list[Float64]:
    """Return one window [m_b] float64 a band.

    `hann` is symmetric with end points 0. `crossfade` is for slices whose edges are the
    neighbours' knots (KnotScale): from knot to knot, sin and cos of pi/2 sin^2, so that the power
    of two neighbours sums to 1; the first and the last band start and end at 1.
    """
    if kind == "hann":
        return [np.hanning(stop - start) for start, stop in slices]
    if kind != "crossfade":
        raise ValueError(f"band_window must be 'hann' or 'crossfade', not {kind!r}")
    knots = [*slices[1:, 0].tolist(), int(slices[-1, 1]) - 1]
    windows = []
    for (start, stop), knot in zip(slices.tolist(), knots, strict=True):
        rising = np.arange(knot - start) / max(knot - start, 1)
        falling = np.arange(stop - knot) / max(stop - 1 - knot, 1)
        windows.append(
            np.concatenate(
                [
                    np.sin(np.pi / 2 * np.sin(np.pi / 2 * rising) ** 2),
                    # The cosine of pi/2 is 6e-17; an edge is 0, as irfft's dropping of its
                    # imaginary part requires.
                    np.where(falling < 1, np.cos(np.pi / 2 * np.sin(np.pi / 2 * falling) ** 2), 0),
                ]
            )
        )
    return windows


@dataclass(frozen=True, eq=False)
class Bands:
    """The bands of spectra of `bins` FFT bins; makes analyzers and synthesizers for a precision.

    slices [B, 2] int64; windows one [m_b] float64 a band.
    """

    bins: int
    slices: Int64
    windows: Sequence[Float64]

    @property
    def coefficient_slices(self) -> Int64:
        """[B, 2] int64: where each band's coefficients start and stop within a frame's."""
        stops = np.cumsum(2 * (self.slices[:, 1] - self.slices[:, 0] - 1))
        return np.stack([np.concatenate([[0], stops[:-1]]), stops], axis=1)

    @property
    def size(self) -> int:
        """Coefficients a frame."""
        return int(self.coefficient_slices[-1, 1])

    @property
    def power(self) -> Float64:
        """[bins] float64: S, the sum of squared windows; 0 at bins no band hears."""
        power = np.zeros(self.bins)
        for (start, stop), window in zip(self.slices, self.windows, strict=True):
            power[start:stop] += window**2
        return power

    def analyzer(self, dtype: npt.DTypeLike) -> BandAnalyzer:
        """Return what turns spectra into coefficients at precision float32 or float64."""
        return BandAnalyzer(self, np.dtype(dtype))

    def synthesizer(self, dtype: npt.DTypeLike, floor: float) -> BandSynthesizer:
        """Return what turns coefficients into spectra; see `BandSynthesizer`."""
        return BandSynthesizer(self, np.dtype(dtype), floor)

    def ways(self) -> list[Way]:
        """Return how each band is best computed."""
        return [_fastest_way(2 * (stop - start - 1)) for start, stop in self.slices.tolist()]


def _fastest_way(n: int) -> Way:
    """Return what is fastest for bands of n coefficients: a matrix, two halved ones or the FFT.

    Measured in float32, nanoseconds a coefficient with OpenBLAS' kernels for Haswell and for
    SkylakeX: a matrix of 96 takes 2.8 and 1.0; halved ones of 100 2.5 and 1.5, of 200 3.5 and
    1.6, of 390 7.5 and 2.9; scipy's FFT with weighting and copying 1.5 + 0.02 p, p the largest
    prime factor of n, and 7.6 where p is so large that it takes Bluestein's way. A rule and no
    timing, so that every machine chooses alike.
    """
    if n <= _MOST_WHOLE:
        return "whole"
    largest, rest = 1, n
    for factor in range(2, n + 1):
        while rest % factor == 0:
            largest, rest = factor, rest // factor
    return "halved" if n <= min(16 + 3.2 * largest, 450) else "fft"


class BandAnalyzer:
    """Turns spectra [F, bins] complex into coefficients [F, size] real, band by band."""

    def __init__(self, bands: Bands, dtype: np.dtype[Any]) -> None:
        self._dense = _group_matrices(bands, dtype)
        self._alone: list[HalvedStep | FftStep] = []
        layout = zip(bands.slices, bands.coefficient_slices, bands.windows, strict=True)
        for way, (bins, target, window) in zip(bands.ways(), layout, strict=True):
            if way == "halved":
                self._alone.append(HalvedStep.analysis(bins, target, window).astype(dtype))
            elif way == "fft":
                self._alone.append(FftStep.of(bins, target, window, dtype))

    def __call__(self, spectra: Array, out: Array) -> None:
        """Write the coefficients of `spectra` [F, bins], C-contiguous, into `out` [F, size]."""
        parts = spectra.view(out.dtype)
        for step in self._dense:
            step.multiply(parts, out)
        for alone in self._alone:
            alone.analyze(spectra, out)


class BandSynthesizer:
    """Turns coefficients [F, size] real into spectra [F, bins] complex: the canonical dual.

    Windows' power S below `floor` counts as `floor`. With floor 0 the inverse is exact wherever
    S > 0. Where S is small, every error of a coefficient is divided by sqrt(S): coefficients that
    did not come from a signal want a floor (0.2 bounds the gain at 2.2).
    """

    def __init__(self, bands: Bands, dtype: np.dtype[Any], floor: float) -> None:
        power = bands.power
        gain = np.zeros_like(power)
        np.divide(1.0, np.maximum(power, floor), out=gain, where=power > 0)
        self._dense = _run_matrices(bands, gain, dtype)
        self._alone: list[HalvedStep | FftStep] = []
        layout = zip(bands.slices, bands.coefficient_slices, bands.windows, strict=True)
        for way, (bins, source, window) in zip(bands.ways(), layout, strict=True):
            weights = window * gain[slice(*bins)]
            if way == "halved":
                self._alone.append(HalvedStep.synthesis(bins, source, weights).astype(dtype))
            elif way == "fft":
                self._alone.append(FftStep.of(bins, source, weights, dtype))
        # These bins are sums; the others are written once.
        self._added_to = slice(
            min((step.bins.start for step in self._alone), default=0),
            max((step.bins.stop for step in self._alone), default=0),
        )

    def __call__(self, coefficients: Array, out: Array) -> None:
        """Write the spectra of `coefficients` [F, size] into `out` [F, bins], C-contiguous.

        Bins that no band hears are left as they are: zeros, at first.
        """
        out[:, self._added_to] = 0
        parts = out.view(coefficients.dtype)
        for step in self._dense:
            step.multiply(coefficients, parts)
        for alone in self._alone:
            alone.synthesize(coefficients, out)


def _group_matrices(bands: Bands, dtype: np.dtype[Any]) -> list[MatrixStep]:
    """Return one matrix a group of neighbouring dense bands: all their bins -> coefficients."""
    heard = [np.flatnonzero(window)[[0, -1]] for window in bands.windows]
    lows, highs = (np.array(heard).T + bands.slices[:, 0]).tolist()
    targets = bands.coefficient_slices
    sizes = np.diff(targets, axis=1)[:, 0].tolist()
    dense = [way == "whole" for way in bands.ways()]

    def multiplications(first: int, end: int) -> float:
        if end > first + 1 and not all(dense[first:end]):
            return math.inf  # a long band between keeps its coefficients to itself
        heard_bins = max(highs[first:end]) + 1 - min(lows[first:end])
        return float(2 * heard_bins * sum(sizes[first:end]))

    steps = []
    for first, end in _cheapest_groups(len(bands.slices), multiplications):
        if dense[first]:
            low, high = min(lows[first:end]), max(highs[first:end]) + 1
            target = slice(int(targets[first, 0]), int(targets[end - 1, 1]))
            matrix = np.zeros((2 * (high - low), target.stop - target.start))
            for band in range(first, end):
                whole = irfft_matrix(bands.windows[band])
                skipped = lows[band] - bands.slices[band, 0]
                rows = slice(2 * (lows[band] - low), 2 * (highs[band] + 1 - low))
                columns = slice(*(targets[band] - target.start))
                matrix[rows, columns] = whole[2 * skipped :][: rows.stop - rows.start]
            steps.append(MatrixStep(slice(2 * low, 2 * high), target, matrix.astype(dtype)))
    return steps


def _run_matrices(bands: Bands, gain: Float64, dtype: np.dtype[Any]) -> list[MatrixStep]:
    """Return one matrix a run of bins: all the dense bands' coefficients that reach it.

    So every bin is written once, by one product, and overlapping bands need no accumulation.
    """
    dense = [band for band, way in enumerate(bands.ways()) if way == "whole"]
    if not dense:
        return []
    starts, stops = bands.slices[dense].T
    sources = bands.coefficient_slices[dense]
    edges = [*range(int(starts.min()), int(stops.max()), _CELL_BINS), int(stops.max())]

    def reaching(first: int, end: int) -> Int64:
        return np.flatnonzero((starts < edges[end]) & (stops > edges[first]))

    def multiplications(first: int, end: int) -> float:
        reach = reaching(first, end)
        if not reach.size:
            return 0
        inner = sources[reach[-1], 1] - sources[reach[0], 0]
        return float(inner * 2 * (edges[end] - edges[first]))

    matrices = []
    for band in dense:
        start, stop = bands.slices[band]
        matrices.append(rfft_matrix(bands.windows[band] * gain[start:stop]))
    steps = []
    for cell, end_cell in _cheapest_groups(len(edges) - 1, multiplications):
        reach = reaching(cell, end_cell)
        if not reach.size:
            continue
        first, end = edges[cell], edges[end_cell]
        low, high = sources[reach[0], 0], sources[reach[-1], 1]
        matrix = np.zeros((high - low, 2 * (end - first)))
        for i in reach:
            begin, finish = max(first, starts[i]), min(end, stops[i])
            rows = slice(sources[i, 0] - low, sources[i, 1] - low)
            matrix[rows, 2 * (begin - first) : 2 * (finish - first)] = matrices[i][
                :, 2 * (begin - starts[i]) : 2 * (finish - starts[i])
            ]
        steps.append(MatrixStep(slice(low, high), slice(2 * first, 2 * end), matrix.astype(dtype)))
    return steps


def _cheapest_groups(
    count: int, multiplications: Callable[[int, int], float]
) -> list[tuple[int, int]]:
    """Return the groups [first, end) that cut 0..count - 1 into products of least cost.

    multiplications(first, end): those of one product for a group, a row. A rule and no timing,
    so that every machine chooses alike.
    """
    costs, firsts = [0.0], [0]
    for end in range(1, count + 1):
        choices = range(max(0, end - _MOST_NEIGHBOURS), end)
        cost, first = min(
            (costs[i] + _CALL_MULTIPLICATIONS + multiplications(i, end), i) for i in choices
        )
        costs.append(cost)
        firsts.append(first)
    groups, end = [], count
    while end:
        groups.append((firsts[end], end))
        end = firsts[end]
    return groups[::-1]
