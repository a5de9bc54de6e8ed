"""mu-law and per-frame scaling, both ways: what a network sees of coefficients.

Coefficients of music span 100 dB; mu-law (G.711's formula with mu = 255, no clipping) brings
quiet ones up, and dividing each frame by its greatest magnitude makes the code independent of
loudness. `compand` and `expand` do both in one go over pieces that stay in the cache.
"""

from __future__ import annotations

import numpy as np

from fadae.arrays import Array

MU = 255.0
LOG_MU = float(np.log(1.0 + MU))
# Frames x coefficients worked on at a time: 256 KiB of float32, inside a core's cache.
_PIECE_VALUES = 2**16


def mu_law(x: Array) -> Array:
    """Return sign(x) ln(1 + 255 |x|) / ln 256, elementwise, in the precision of `x`.

    Maps [-1, 1] onto itself and does not clip beyond. float32 or float64, any shape.

    >>> mu_law(np.array([0.0, 1.0, -1.0])).tolist()
    [0.0, 1.0, -1.0]
    """
    x = _ensure_floating(x)
    y = np.abs(x)
    y *= x.dtype.type(MU)
    np.log1p(y, out=y)
    y /= x.dtype.type(LOG_MU)
    return np.copysign(y, x, out=y)


def inverse_mu_law(y: Array) -> Array:
    """Return the x with mu_law(x) = y: sign(y) (256^|y| - 1) / 255, elementwise.

    >>> inverse_mu_law(np.array([0.0, 1.0, -1.0])).round(12).tolist()
    [0.0, 1.0, -1.0]
    """
    y = _ensure_floating(y)
    x = np.abs(y)
    x *= y.dtype.type(LOG_MU)
    np.expm1(x, out=x)
    x /= y.dtype.type(MU)
    return np.copysign(x, y, out=x)


def instance_scale(x: Array) -> tuple[Array, Array]:
    """Return (values [F, C] in [-1, 1], scale [F, 1]) with x = values * scale.

    The scale is the frame's greatest magnitude; of a silent frame it is 1 and the values are 0.
    """
    x = _ensure_frames(x)
    highest = x.max(axis=1, keepdims=True, initial=0)
    lowest = x.min(axis=1, keepdims=True, initial=0)
    scale = _frame_scale(np.maximum(highest, -lowest))
    return x / scale, scale


def compand(c: Array) -> tuple[Array, Array]:
    """Return (values, scale) = instance_scale(mu_law(c)) of coefficients c [F, C].

    values [F, C] in [-1, 1], scale [F, 1] (1 where silent), float64 for float64, else float32
    (float16 included).

    >>> values, scale = compand(np.array([[0.5, -1.0], [0.0, 0.0]]))
    >>> values.round(3).tolist(), scale.tolist()
    ([[0.876, -1.0], [0.0, 0.0]], [[1.0], [1.0]])
    """
    c = _ensure_frames(c)
    dtype = np.dtype(np.float64 if c.dtype == np.float64 else np.float32)
    values = np.empty(c.shape, dtype=dtype)
    scale = np.empty((len(c), 1), dtype=dtype)
    frames = max(1, _PIECE_VALUES // max(1, c.shape[1]))
    for first in range(0, len(c), frames):
        x = c[first : first + frames].astype(dtype, copy=False)
        y = values[first : first + frames]
        np.abs(x, out=y)
        y *= dtype.type(MU)
        np.log1p(y, out=y)
        # Dividing by the frame's own logarithm leaves no second constant to multiply by, and
        # makes the greatest value exactly 1.
        peak = _frame_scale(y.max(axis=1, keepdims=True, initial=0), silent=LOG_MU)
        y /= peak
        np.copysign(y, x, out=y)
        np.divide(peak, dtype.type(LOG_MU), out=scale[first : first + frames])
    return values, scale


def expand(values: Array, scale: Array) -> Array:
    """Return the coefficients [F, C] that `compand` made (values [F, C], scale [F, 1]) of."""
    values = _ensure_frames(values)
    dtype = np.dtype(np.float64 if values.dtype == np.float64 else np.float32)
    scale = np.asarray(scale)
    if scale.shape != (len(values), 1):
        raise ValueError(f"scale has shape [{len(values)}, 1] here, not {scale.shape}.")
    c = np.empty(values.shape, dtype=dtype)
    exponent = np.abs(scale).astype(dtype) * dtype.type(LOG_MU)
    frames = max(1, _PIECE_VALUES // max(1, values.shape[1]))
    for first in range(0, len(values), frames):
        y, x = values[first : first + frames], c[first : first + frames]
        np.abs(y, out=x, dtype=dtype)
        x *= exponent[first : first + frames]
        np.expm1(x, out=x)
        x /= dtype.type(MU)
        np.copysign(x, y.astype(dtype, copy=False), out=x)
    return c


def _frame_scale(peak: Array, silent: float = 1.0) -> Array:
    """Return each frame's divisor: its peak, or `silent` where the peak is 0."""
    return np.where(peak == 0, peak.dtype.type(silent), peak)


def _ensure_floating(x: Array) -> Array:
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"companding takes float32 or float64, not {x.dtype}.")
    return x


def _ensure_frames(x: Array) -> Array:
    x = np.asarray(x)
    if x.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"frames are float16, float32 or float64, not {x.dtype}.")
    if x.ndim != 2:
        raise ValueError(f"frames have shape [frames, coefficients], not {x.shape}.")
    return x
