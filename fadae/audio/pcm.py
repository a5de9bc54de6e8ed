"""The one PCM of the house: int16, full scale 32768, clipped at 32767 on both sides.

-32768 is never written: the store keeps it as the fill value of rows that hold no sound.
"""

from __future__ import annotations

import numpy as np

from fadae.arrays import Array, Float32, Int16

FULL_SCALE = 32768.0


def to_pcm(samples: Array) -> Int16:
    """Return float samples, any shape, in [-1, 1] as int16; louder ones are clipped.

    >>> to_pcm(np.array([0.0, 0.5, 1.0, -1.0, -7.0], np.float32)).tolist()
    [0, 16384, 32767, -32767, -32767]
    """
    scaled = np.multiply(samples, FULL_SCALE)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32767, 32767, out=scaled)
    pcm: Int16 = scaled.astype(np.int16)
    return pcm


def from_pcm(pcm: Int16) -> Float32:
    """Return int16 samples as float32 in [-1, 1].

    >>> from_pcm(np.array([16384, -32767], np.int16)).tolist()
    [0.5, -0.999969482421875]
    """
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)
