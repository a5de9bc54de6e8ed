"""What every transform is to the rest of fadae: rows of coefficients that advance by a hop.

Hop j of a signal is its samples [j H, (j + 1) H), and row j of the coefficients hears hops j - 1
and j. So hop j sounds from rows j and j + 1, and rows can be computed, stored and heard apart.

A transform of your own is a class with these members and a `kind` of its own in `config()`, one
line in `fadae.transform.factory` and one in the contract test.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fadae.arrays import Array, Float64, Int64
from fadae.records import TransformConfig


@runtime_checkable
class Transform(Protocol):
    """An analysis of sound into rows of coefficients, grouped in bands, and its inverse.

    Each row, and each hop of samples, is a pure function of its own input: the same bytes
    whatever is computed beside it. Arrays keep their precision: float32 or float64; float16
    coefficients are computed in float32.
    """

    @property
    def name(self) -> str:
        """What the preset is called."""

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of the signals, in hertz."""

    @property
    def hop_samples(self) -> int:
        """H, the samples from one row to the next."""

    @property
    def size(self) -> int:
        """C, the coefficients of a row."""

    @property
    def bands(self) -> int:
        """B, the number of bands."""

    @property
    def coefficient_slices(self) -> Int64:
        """[B, 2] int64: the coefficients [start, stop) of each band, low to high."""

    @property
    def coefficient_band(self) -> npt.NDArray[np.int32]:
        """[C] int32: the band of each coefficient."""

    @property
    def band_low_hz(self) -> Float64:
        """[B] float64: where each band begins."""

    @property
    def band_centre_hz(self) -> Float64:
        """[B] float64: the centre of each band."""

    @property
    def band_high_hz(self) -> Float64:
        """[B] float64: where each band ends."""

    @property
    def model_floor(self) -> float:
        """The `floor` to synthesize a model's coefficients with; 0 where no error is amplified."""

    @property
    def config_sha256(self) -> str:
        """SHA-256 of the canonical JSON of `config()`, 64 hex digits."""

    def config(self) -> TransformConfig:
        """Return all that defines the transform, JSON-able; `transform_from_config` reads it.

        `kind` says which class; without one it is the frequency-adaptive transform.
        """

    def frame_count(self, samples: int) -> int:
        """Return the rows `analyze` makes of so many samples; 0 of none."""

    def heard_samples(self, first: int, stop: int) -> tuple[int, int]:
        """Return the samples [a, b) that rows [first, stop) hear; a < 0 is before the signal."""

    def analyze(self, samples: Array) -> Array:
        """Return the coefficients [F, C] of a signal [n]."""

    def analyze_frames(self, samples: Array) -> Array:
        """Return the rows [F, C] that hear exactly these samples.

        Rows [first, stop) of a signal are those of its samples `heard_samples(first, stop)`,
        zeros outside: bit for bit what `analyze` gives for them.
        """

    def synthesize(self, c: Array, length: int | None = None, *, floor: float = 0.0) -> Array:
        """Return the signal [length] of coefficients [F, C]; by default all that they cover."""

    def synthesize_hops(self, c: Array, *, floor: float = 0.0) -> Array:
        """Return samples [F H] of coefficients [F + 1, C]: hop j from rows j and j + 1.

        Bit for bit what `synthesize` gives for them.
        """

    def rasterize(self, c: Array, columns: int) -> Array:
        """Return the picture [F, columns, B] of coefficients [F, C], each row by itself."""

    def rasterize_hops(self, c: Array, columns: int) -> Array:
        """Return magnitudes [T, B] over time, `columns` a hop, from the first row's hop on.

        T is at least (F - 1) columns; how far the last row reaches differs.
        """

    def heard_energy(self, frames: Array) -> tuple[float, float]:
        """Return (energy the bands hear, energy in all) of frames [F, 2 H], what a row hears."""
