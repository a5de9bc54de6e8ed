"""A picture of coefficients: every band resampled to the same number of columns."""

from __future__ import annotations

import functools

import numpy as np

from fadae.arrays import Array, Float64, Int64


def rasterize(c: Array, coefficient_slices: Int64, columns: int) -> Array:
    """Return the picture [F, columns, B] of coefficients [F, size], in their precision.

    float16, as stored, is drawn in float32.

    As zounds draws it: each band of a frame is resampled to `columns` points in time and scaled
    so that its (signed) maximum over time stays what it was: r / (max r / (max band + 1e-8) +
    1e-8). coefficient_slices [B, 2]. Raises ValueError for less than one column.
    """
    if columns < 1:
        raise ValueError(f"a picture has 1 or more columns, not {columns}.")
    c = c.astype(np.float32) if c.dtype == np.float16 else c
    picture = np.empty((len(c), columns, len(coefficient_slices)), dtype=c.dtype)
    widths = np.diff(coefficient_slices, axis=1)[:, 0]
    for width in np.unique(widths):
        chosen = np.flatnonzero(widths == width)
        band = c[:, coefficient_slices[chosen, 0][:, None] + np.arange(width)]
        resampled = band @ _resampling_matrix(int(width), columns).astype(c.dtype)
        peak = resampled.max(axis=-1, keepdims=True)
        wanted = band.max(axis=-1, keepdims=True)
        scaled = resampled / (peak / (wanted + 1e-8) + 1e-8)
        picture[:, :, chosen] = np.swapaxes(scaled, 1, 2)
    return picture


@functools.lru_cache(maxsize=512)
def _resampling_matrix(width: int, columns: int) -> Float64:
    """Return [width, columns]: scipy.signal.resample as the linear map it is."""
    import scipy.signal  # a third of a worker's start, which draws no pictures

    return np.asarray(scipy.signal.resample(np.eye(width), columns, axis=1))
