"""float32 to float16, rounded like numpy, at one speed for loud and quiet music.

numpy casts a value that is subnormal in float16 (below 6.1e-5) about 40 times slower than
another, because the processor raises a floating-point flag for each; quiet music is mostly that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fadae.arrays import Float32

_PIECE_VALUES = 2**15  # in the innermost caches
_LEAST_NORMAL = np.uint32(0x38800000)  # 2**-14 as float32 bits
_OVERFLOW = np.uint32(0x477FF000)  # 65520, the least magnitude that rounds to infinity


def to_float16(x: Float32) -> npt.NDArray[np.float16]:
    """Return `x` as float16, nearest even, bit for bit as `x.astype(np.float16)` gives it.

    Any shape. Magnitudes of 65520 and more become infinite, as in numpy but without its warning:
    coefficients of audio within +-1 stay below 100. Raises TypeError unless `x` is float32.

    >>> to_float16(np.array([1.0, 1e-7, -3e-6], dtype=np.float32)).tolist()
    [1.0, 1.1920928955078125e-07, -2.9802322387695312e-06]
    """
    x = np.asarray(x)
    if x.dtype != np.float32:
        raise TypeError(f"to_float16 takes float32, not {x.dtype}.")
    out = np.empty(x.shape, dtype=np.float16)
    source = np.ascontiguousarray(x).reshape(-1)
    target = out.reshape(-1)
    for first in range(0, source.size, _PIECE_VALUES):
        piece = source[first : first + _PIECE_VALUES]
        rounded = target[first : first + _PIECE_VALUES]
        bits = piece.view(np.uint32)
        magnitude = bits & np.uint32(0x7FFFFFFF)
        if magnitude.max() >= _OVERFLOW:
            with np.errstate(over="ignore"):
                rounded[:] = piece.astype(np.float16)
        else:
            _round_finite(bits, magnitude, rounded.view(np.uint16))
    return out


def _round_finite(
    bits: npt.NDArray[np.uint32], magnitude: npt.NDArray[np.uint32], out: npt.NDArray[np.uint16]
) -> None:
    """Write the float16 bits of float32 `bits` to `out`, by integer arithmetic.

    After F. Giesen, "float->half variants" (2016), the round-to-nearest-even one. Normal values:
    rebias the exponent, add half a unit less one plus the last kept bit, drop 13 bits. Subnormal
    ones: adding 0.5 makes the float32 adder itself round to multiples of 2**-24.
    """
    normal = magnitude >> np.uint32(13)
    normal &= np.uint32(1)
    normal += magnitude
    normal += np.uint32(0xC8000FFF)  # ((15 - 127) << 23) + 0xFFF, modulo 2**32
    normal >>= np.uint32(13)
    small = magnitude.view(np.float32) + np.float32(0.5)
    subnormal = small.view(np.uint32)
    subnormal -= np.uint32(0x3F000000)
    np.copyto(normal, subnormal, where=magnitude < _LEAST_NORMAL)
    sign = bits >> np.uint32(16)
    sign &= np.uint32(0x8000)
    normal |= sign
    out[:] = normal
