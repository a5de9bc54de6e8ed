"""Bands of an FFT spectrum, each inverse-transformed on its own; and the exact way back.

Band b owns bins [s, e), m = e - s of them, weighted by a window h. Its n = 2(m - 1) coefficients
are y = irfft(h X[s:e], n), so that rfft(y) = h X. The windows' power S[k] = sum_b h_b[k]^2 is
the diagonal of the frame operator, and X^[k] = sum_b h_b[k] rfft(y_b)[k] / S[k] is the canonical
dual. Sources: Balazs et al., "Theory, implementation and applications of nonstationary Gabor
frames" (2011); Holighaus, Doerfler, Velasco, Grill, arXiv 1210.0084.

Most bands are so short that a dense real matrix with the window folded in beats an FFT: 10 us a
frame for the 300 bands of `seed`, where 300 calls of irfft took 33-54.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.fft

from fadae.arrays import Array, Float64, Int64

BandWindow = Literal["hann", "crossfade"]

# OpenBLAS starts threads above 4 * 65536 multiplications (interface/gemm.c).
_SINGLE_THREAD_MULTIPLICATIONS = 2**18
# Rows tried, each in every place of a product, before its shape is trusted.
_ALIKE_TRIALS = 3
# What a product costs a row beside its multiplications, in multiplications: neighbours share one
# matrix where its zeros cost less than another call. Measured with OpenBLAS' kernels for Haswell,
# Zen and SkylakeX: 800 to 2000 differ little.
_CALL_MULTIPLICATIONS = 1500
# Synthesized bins are cut at multiples of so many, and so many neighbours at most share a matrix.
_CELL_BINS = 8
_MOST_NEIGHBOURS = 32


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


class _MatrixStep(NamedTuple):
    """`matrix` takes columns `source` of one array to columns `target` of the other."""

    source: slice
    target: slice
    matrix: Array

    def multiply(self, x: Array, out: Array) -> None:
        """Write x[:, source] @ matrix to out[:, target], as many rows at a time as are alike."""
        rows = _rows_at_a_time(len(x), *self.matrix.shape, self.matrix.dtype)
        x, out = (a.reshape(-1, rows, a.shape[1]) for a in (x, out))
        np.matmul(x[..., self.source], self.matrix, out=out[..., self.target])


@functools.lru_cache(maxsize=4096)
def _rows_at_a_time(rows: int, inner: int, columns: int, dtype: np.dtype[Any]) -> int:
    """Return how many of `rows` rows to multiply by a matrix [inner, columns] in one product.

    The most that divide `rows`, that start no threads (OpenBLAS would cut the rows where the
    number of cores says, and round differently beside the cut), and that are treated alike.
    """
    most = _SINGLE_THREAD_MULTIPLICATIONS // (inner * columns)
    fitting = (n for n in range(min(rows, most), 1, -1) if rows % n == 0)
    return next((n for n in fitting if _rows_alike(n, inner, columns, dtype)), 1)


def _rows_alike(rows: int, inner: int, columns: int, dtype: np.dtype[Any]) -> bool:
    """Try whether this machine's BLAS rounds every row of such a product alike.

    Kernels cut the rows into groups, and may sum the groups, or the rows within one, in another
    order: OpenBLAS' float32 kernel for Haswell and Zen takes twelve rows as six and six that
    differ, its float64 one for AVX-512 the rows beyond the last 24. Which rows differ is a
    property of the shape, not of the numbers, and shows in many of them. A single row passes
    on any BLAS.
    """
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((inner, columns)).astype(dtype)
    for _ in range(_ALIKE_TRIALS):
        row = rng.standard_normal(inner).astype(dtype)
        product = np.tile(row, (rows, 1)) @ matrix
        if not np.array_equal(product, np.broadcast_to(product[0], product.shape)):
            return False
    return True


class _FftStep(NamedTuple):
    """One long band: its bins, its coefficients, and what weighs its bins.

    `weights` [2m] are real and doubled, for real and imaginary parts: a product of reals rounds
    the same everywhere, while numpy's complex product uses fused operations or not depending on
    where an array happens to lie in memory, and coefficients must not depend on that.
    """

    bins: slice
    coefficients: slice
    weights: Array

    @classmethod
    def of(
        cls, bins: Sequence[int], coefficients: Sequence[int], weights: Array, dtype: np.dtype[Any]
    ) -> Self:
        """Return the step for bins [start, stop) and coefficients [start, stop)."""
        return cls(slice(*bins), slice(*coefficients), np.repeat(weights, 2).astype(dtype))


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

    def _dense(self, band: int) -> bool:
        start, stop = self.slices[band]
        return _dense_is_faster(2 * (int(stop) - int(start) - 1))


def _dense_is_faster(n: int) -> bool:
    """Say whether a matrix beats the FFT for bands of n coefficients.

    Measured in float32, nanoseconds a frame: a matrix 0.02 n^2; scipy's FFT with weighting and
    copying n (1.6 + 0.045 p), p the largest prime factor of n, and about 9 n where p is so large
    that it takes Bluestein's way. A rule and no timing, so that every machine chooses alike.
    """
    largest, rest = 1, n
    for factor in range(2, n + 1):
        while rest % factor == 0:
            largest, rest = factor, rest // factor
    return n <= min(80 + 2.25 * largest, 450)


class BandAnalyzer:
    """Turns spectra [F, bins] complex into coefficients [F, size] real, band by band."""

    def __init__(self, bands: Bands, dtype: np.dtype[Any]) -> None:
        self._dense = _group_matrices(bands, dtype)
        self._long: list[_FftStep] = []
        layout = zip(bands.slices, bands.coefficient_slices, bands.windows, strict=True)
        for band, (bins, target, window) in enumerate(layout):
            if not bands._dense(band):
                self._long.append(_FftStep.of(bins, target, window, dtype))

    def __call__(self, spectra: Array, out: Array) -> None:
        """Write the coefficients of `spectra` [F, bins], C-contiguous, into `out` [F, size]."""
        parts = spectra.view(out.dtype)
        for step in self._dense:
            step.multiply(parts, out)
        for bins, target, weights in self._long:
            weighted = parts[:, 2 * bins.start : 2 * bins.stop] * weights
            out[:, target] = scipy.fft.irfft(
                weighted.view(spectra.dtype), n=target.stop - target.start, norm="ortho"
            )


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
        self._long: list[_FftStep] = []
        layout = zip(bands.slices, bands.coefficient_slices, bands.windows, strict=True)
        for band, ((start, stop), source, window) in enumerate(layout):
            if not bands._dense(band):
                weights = window * gain[start:stop]
                self._long.append(_FftStep.of((start, stop), source, weights, dtype))

    def __call__(self, coefficients: Array, out: Array) -> None:
        """Write the spectra of `coefficients` [F, size] into `out` [F, bins], C-contiguous."""
        out.fill(0)
        parts = out.view(coefficients.dtype)
        for step in self._dense:
            step.multiply(coefficients, parts)
        for bins, source, weights in self._long:
            spectra = scipy.fft.rfft(coefficients[:, source], norm="ortho")
            weighted = spectra.view(coefficients.dtype)
            weighted *= weights
            parts[:, 2 * bins.start : 2 * bins.stop] += weighted


def _irfft_matrix(window: Float64) -> Float64:
    """Return [2m, n]: real and imaginary parts of m bins, interleaved -> n coefficients."""
    m = len(window)
    impulses = np.zeros((2 * m, m), dtype=np.complex128)
    impulses[0::2][np.diag_indices(m)] = window
    impulses[1::2][np.diag_indices(m)] = 1j * window
    matrix: Float64 = scipy.fft.irfft(impulses, n=2 * (m - 1), norm="ortho")
    return matrix


def _rfft_matrix(weights: Float64) -> Float64:
    """Return [n, 2m]: n coefficients -> real and imaginary parts of m weighted bins."""
    spectra = scipy.fft.rfft(np.eye(2 * (len(weights) - 1)), norm="ortho") * weights
    return np.ascontiguousarray(spectra).view(np.float64)


def _group_matrices(bands: Bands, dtype: np.dtype[Any]) -> list[_MatrixStep]:
    """Return one matrix a group of neighbouring dense bands: all their bins -> coefficients."""
    heard = [start + np.flatnonzero(w)[[0, -1]] for (start, _), w in zip(bands.slices, bands.windows)]
    lows, highs = (np.array(heard).T + [[0], [1]]).tolist()
    targets = bands.coefficient_slices
    sizes = np.diff(targets, axis=1)[:, 0].tolist()
    dense = [bands._dense(band) for band in range(len(bands.slices))]

    def multiplications(first: int, end: int) -> float:
        if end > first + 1 and not all(dense[first:end]):
            return np.inf  # a long band between keeps its coefficients to itself
        return 2 * (max(highs[first:end]) - min(lows[first:end])) * sum(sizes[first:end])

    steps = []
    for first, end in _cheapest_groups(len(bands.slices), multiplications):
        if dense[first]:
            low, high = min(lows[first:end]), max(highs[first:end])
            target = slice(int(targets[first, 0]), int(targets[end - 1, 1]))
            matrix = np.zeros((2 * (high - low), target.stop - target.start))
            for band in range(first, end):
                whole = _irfft_matrix(bands.windows[band])
                skipped = lows[band] - bands.slices[band, 0]
                rows = slice(2 * (lows[band] - low), 2 * (highs[band] - low))
                columns = slice(*(targets[band] - target.start))
                matrix[rows, columns] = whole[2 * skipped :][: rows.stop - rows.start]
            steps.append(_MatrixStep(slice(2 * low, 2 * high), target, matrix.astype(dtype)))
    return steps


def _run_matrices(bands: Bands, gain: Float64, dtype: np.dtype[Any]) -> list[_MatrixStep]:
    """Return one matrix a run of bins: all the dense bands' coefficients that reach it.

    So every bin is written once, by one product, and overlapping bands need no accumulation.
    """
    dense = [band for band in range(len(bands.slices)) if bands._dense(band)]
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
        matrices.append(_rfft_matrix(bands.windows[band] * gain[start:stop]))
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
        steps.append(_MatrixStep(slice(low, high), slice(2 * first, 2 * end), matrix.astype(dtype)))
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
