"""What zounds 1.57.0 itself computed of one signal, kept small: parity is checked anywhere.

zounds.npz holds, of each array zounds wrote (float64): every 128th value, the first at the row's
own number, so that rows differ in what they show; and of all values the SHA-256 when rounded to
1e-5 (none lies within 1e-11 of where that rounding turns). The band tables are whole.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
STRIDE = 128
ROUNDED_TO = 1e-5


@functools.cache
def vectors() -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of zounds.npz by name."""
    with np.load(Path(__file__).with_name("zounds.npz")) as file:
        return dict(file)


def signal() -> Array:
    """Return the five seconds at 11025 Hz that zounds was given: tones, a sweep, noise, a click."""
    n = np.arange(55125)
    t = n / 11025
    tones = ((0.12, 330, 0), (0.10, 440, 0.3), (0.09, 987.77, 1.1), (0.08, 1760, 2.0))
    x = sum(a * np.sin(2 * np.pi * hz * t + phase) for a, hz, phase in tones)
    x += 0.06 * np.sin(2 * np.pi * 2793.83 * t + 0.7)
    x += 0.05 * np.sin(2 * np.pi * (500 * t + 220 * t * t))
    state, noise = 20171007, []
    for _ in n:
        state = (1664525 * state + 1013904223) % 2**32
        noise.append(state / 2**31 - 1)
    x += 0.02 * np.array(noise)
    x[20000] += 0.5
    return np.asarray(x)


def sampled(a: Array) -> Array:
    """Return every 128th value of the rows of [R, C], row r from its r-th on."""
    return np.concatenate([row[r % STRIDE :: STRIDE] for r, row in enumerate(a)])


def digest(a: Array) -> str:
    """Return the SHA-256 of all values, rounded to 1e-5."""
    return hashlib.sha256(np.round(a / ROUNDED_TO).astype("<i8").tobytes()).hexdigest()


def assert_zounds(name: str, a: Array) -> None:
    """Check an array [R, C] against the one zounds wrote under this name."""
    np.testing.assert_allclose(sampled(a), vectors()[name], rtol=0, atol=1e-12)
    assert digest(a) == str(vectors()[f"{name}_sha256"])
