"""Coefficients to whole numbers and back.

A row has one step, 2^(k / 16) in units of int16's least bit, k in 0 .. 255: from 1/32768 of full
scale to 2. A magnitude m lies at m + centroid in steps, the mean of what was rounded to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STEPS = 256
STEPS_AN_OCTAVE = 16
MOST = 2**22  # the greatest magnitude; |c| / step stays below it for any int16 signal
CENTROIDS = 4  # magnitudes 1, 2, 3, and 4 or more have a centroid each
# Rounded to 20 bits, so that no platform's pow can make another step of it.
_OCTAVE = np.rint(2.0 ** (np.arange(STEPS_AN_OCTAVE) / STEPS_AN_OCTAVE) * 2**20) / 2**20
STEP = np.concatenate([_OCTAVE * 2.0**o for o in range(STEPS // STEPS_AN_OCTAVE)]).astype(
    np.float32
) / np.float32(32768)

# Where magnitudes round up: |c| / step + ROUNDING, floored. Less than a half, because zeros are
# cheap: worth 0.1 to 1 dB at equal bytes, the more the lower the rate.
ROUNDING = 0.36


def quantise(c: Array, step_index: Array, rounding: float = ROUNDING) -> npt.NDArray[np.int32]:
    """Return whole numbers [F, size] int32 of coefficients [F, size], with a step a row [F]."""
    scaled = np.abs(c) * (np.float32(1) / STEP[step_index])[:, None]
    scaled += np.float32(rounding)
    magnitude = np.minimum(scaled, MOST).astype(np.int32)
    signed: npt.NDArray[np.int32] = np.where(c < 0, -magnitude, magnitude)
    return signed


def dequantise(q: Array, centroid: Array, step_index: Array) -> npt.NDArray[np.float32]:
    """Return coefficients [F, size] float32 of whole numbers and their centroids [F, size]."""
    magnitude = np.abs(q).astype(np.float32)
    magnitude += np.where(q != 0, centroid, np.float32(0))
    magnitude *= STEP[step_index][:, None]
    return np.copysign(magnitude, q).astype(np.float32)
