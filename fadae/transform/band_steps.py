"""What takes a block of spectra to the coefficients of a band, or back: a matrix, two, or an FFT.

Every product takes so few rows at a time that the BLAS treats them all alike, so that a row's
bits do not depend on its place in the block (see `adaptive`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.fft

from fadae.arrays import Array, Float64

# OpenBLAS starts threads above 4 * 65536 multiplications (interface/gemm.c).
_SINGLE_THREAD_MULTIPLICATIONS = 2**18
# Rows tried, each in every place of a product, before its shape is trusted.
_ALIKE_TRIALS = 3


class MatrixStep(NamedTuple):
    """`matrix` takes columns `source` of one array to columns `target` of the other."""

    source: slice
    target: slice
    matrix: Array

    def multiply(self, x: Array, out: Array) -> None:
        """Write x[:, source] @ matrix to out[:, target]."""
        _multiply(x[:, self.source], self.matrix, out[:, self.target])


def _multiply(x: Array, matrix: Array, out: Array) -> None:
    """Write x @ matrix to `out`, as many rows at a time as are alike."""
    rows = _rows_at_a_time(len(x), *matrix.shape, matrix.dtype)
    # Views: only the first axis is split, whatever the strides.
    np.matmul(x.reshape(-1, rows, x.shape[1]), matrix, out=out.reshape(-1, rows, out.shape[1]))


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


class HalvedStep(NamedTuple):
    """One band of middling length by two matrices of a quarter each: half the multiplications.

    Harmonics of even number repeat after half a period of n coefficients, those of odd number
    change their sign: the halves of a band's coefficients are the sum and the difference of what
    the even bins and the odd bins give.
    """

    bins: slice
    coefficients: slice
    even: Array
    odd: Array

    @classmethod
    def analysis(cls, bins: Sequence[int], coefficients: Sequence[int], window: Float64) -> Self:
        """Return the step that takes a band's bins to coefficients."""
        matrix = irfft_matrix(window)[:, : len(window) - 1]
        pairs = matrix.reshape(len(window), 2, -1)
        even, odd = (np.concatenate(pairs[parity::2]) for parity in (0, 1))
        return cls(slice(*bins), slice(*coefficients), even, odd)

    @classmethod
    def synthesis(cls, bins: Sequence[int], coefficients: Sequence[int], weights: Float64) -> Self:
        """Return the step that takes a band's coefficients to weighted bins."""
        half = len(weights) - 1
        pairs = rfft_matrix(weights)[:half].reshape(half, -1, 2)
        even, odd = (pairs[:, parity::2].reshape(half, -1) for parity in (0, 1))
        return cls(slice(*bins), slice(*coefficients), even, odd)

    def astype(self, dtype: np.dtype[Any]) -> Self:
        """Return the step at a precision."""
        even, odd = (np.ascontiguousarray(m, dtype=dtype) for m in (self.even, self.odd))
        return self._replace(even=even, odd=odd)

    def analyze(self, spectra: Array, out: Array) -> None:
        """Write the band's coefficients of `spectra` into `out` [F, size]."""
        bins, half = self.bins, self.even.shape[1]
        a, b = np.empty((2, len(out), half), dtype=out.dtype)
        for parity, matrix, product in ((0, self.even, a), (1, self.odd, b)):
            heard = np.ascontiguousarray(spectra[:, bins.start + parity : bins.stop : 2])
            _multiply(heard.view(out.dtype), matrix, product)
        band = out[:, self.coefficients]
        np.add(a, b, out=band[:, :half])
        np.subtract(a, b, out=band[:, half:])

    def synthesize(self, coefficients: Array, out: Array) -> None:
        """Add the band's bins to the spectra `out`."""
        bins, half = self.bins, len(self.even)
        band = coefficients[:, self.coefficients]
        first, second = band[:, :half], band[:, half:]
        for parity, matrix, halves in (
            (0, self.even, first + second),
            (1, self.odd, first - second),
        ):
            product = np.empty((len(out), matrix.shape[1]), dtype=coefficients.dtype)
            _multiply(halves, matrix, product)
            out[:, bins.start + parity : bins.stop : 2] += product.view(out.dtype)


class FftStep(NamedTuple):
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

    def analyze(self, spectra: Array, out: Array) -> None:
        """Write the band's coefficients of `spectra` into `out` [F, size]."""
        target, parts = self.coefficients, spectra.view(out.dtype)
        weighted = parts[:, 2 * self.bins.start : 2 * self.bins.stop] * self.weights
        out[:, target] = scipy.fft.irfft(
            weighted.view(spectra.dtype), n=target.stop - target.start, norm="ortho"
        )

    def synthesize(self, coefficients: Array, out: Array) -> None:
        """Add the band's bins to the spectra `out`."""
        spectra = scipy.fft.rfft(coefficients[:, self.coefficients], norm="ortho")
        weighted = spectra.view(coefficients.dtype)
        weighted *= self.weights
        out[:, self.bins] += spectra


def irfft_matrix(window: Float64) -> Float64:
    """Return [2m, n]: real and imaginary parts of m bins, interleaved -> n coefficients."""
    m = len(window)
    impulses = np.zeros((2 * m, m), dtype=np.complex128)
    impulses[0::2][np.diag_indices(m)] = window
    impulses[1::2][np.diag_indices(m)] = 1j * window
    matrix: Float64 = scipy.fft.irfft(impulses, n=2 * (m - 1), norm="ortho")
    return matrix


def rfft_matrix(weights: Float64) -> Float64:
    """Return [n, 2m]: n coefficients -> real and imaginary parts of m weighted bins."""
    spectra = scipy.fft.rfft(np.eye(2 * (len(weights) - 1)), norm="ortho") * weights
    return np.ascontiguousarray(spectra).view(np.float64)
