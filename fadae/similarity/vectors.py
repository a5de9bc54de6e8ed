"""What a short stretch of music sounds like, as one vector: pooled band energies.

Chosen by a test: is the nearest stretch, neighbours left out, one of the same piece? See
docs/results/similar.md. A vector tells of the shape of the spectrum and of how much it moves, and
nothing of the level, so that a louder copy lies where the original does.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from fadae.arrays import Array, Float32
from fadae.store import BLOCK_FRAMES, NO_RECORDING, FeatureSet

if TYPE_CHECKING:
    from fadae.transform import Transform

SEGMENT_ROWS = 8  # 2.7 s: longer ones found the piece more often, and its moments less
GROUPS = 64  # of neighbouring bands
SIZE = 2 * GROUPS
_FEWEST_ROWS = 4
_FLOOR = 1e-4  # of the mean energy of a group: what is softer tells of noise
SEGMENT = np.dtype(
    [("row", "<i8"), ("recording", "<i4"), ("rows", "u1"), ("vector", "i1", (SIZE,))]
)
"""A stretch of `rows` rows of the features from `row` on, all of one recording."""


def group_energies(transform: Transform, features: Array) -> Float32:
    """Return the energy [F, G] of groups of neighbouring bands, of coefficients [F, C].

    G is 64, or the number of bands where there are fewer.
    """
    firsts = np.linspace(0, transform.bands, min(GROUPS, transform.bands) + 1).astype(int)[:-1]
    values = features.astype(np.float32)
    starts = transform.coefficient_slices[firsts, 0]
    energies: Float32 = np.add.reduceat(values * values, starts, axis=1)
    return energies


def vector_of(energies: Float32) -> Float32:
    """Return the vector [128] of a stretch's energies [F, G], of length 1; zeros of silence.

    The mean over time of each group's level, then its standard deviation; levels in bels above
    the mean of all.
    """
    vector = np.zeros(SIZE, np.float32)
    mean = float(energies.mean(dtype=np.float64)) if energies.size else 0.0
    if mean > 0:  # false for NaN too: rows that cannot be read sound like nothing
        levels = np.log10(energies / mean + _FLOOR)
        levels -= levels.mean()
        groups = levels.shape[1]
        vector[:groups], vector[GROUPS : GROUPS + groups] = levels.mean(0), levels.std(0)
        vector /= np.linalg.norm(vector) or 1.0
    return vector


def unit(vectors: Array) -> Float32:
    """Return vectors [n, 128] of any scale as float32 of length 1; zeros stay."""
    values = np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    scaled: Float32 = values / np.maximum(lengths, np.float32(1e-9))[:, None]
    return scaled


def windows_of(transform: Transform, features: Array) -> Float32:
    """Return the vectors [n, 128] of the stretches of 8 rows that features [F, C] hold."""
    energies = group_energies(transform, features)
    last = max(0, len(energies) - SEGMENT_ROWS)
    firsts = sorted({*range(0, last + 1, SEGMENT_ROWS), last})
    return np.stack([vector_of(energies[first : first + SEGMENT_ROWS]) for first in firsts])


def segments_of(features: FeatureSet, block: int) -> Array:
    """Return the stretches [n] of a published block, of the type SEGMENT: a function of its rows.

    Each is what one recording has of 8 neighbouring rows, where that is 4 rows or more, or the
    most that the recording has here. Silence has none.
    """
    start = block * BLOCK_FRAMES
    stop = min(start + BLOCK_FRAMES, features.rows)
    recording = features.read("frame_recording", start, stop)
    energies = group_energies(features.transform, features.read("features", start, stop))
    changes = np.flatnonzero(np.diff(recording)) + 1
    borders = np.union1d(changes, np.arange(0, stop - start + 1, SEGMENT_ROWS)).tolist()
    if borders[-1] != stop - start:
        borders.append(stop - start)
    spans = list(itertools.pairwise(borders))
    longest: dict[int, int] = {}
    for a, b in spans:
        longest[int(recording[a])] = max(longest.get(int(recording[a]), 0), b - a)
    found = []
    for a, b in spans:
        whose = int(recording[a])
        if whose != NO_RECORDING and b - a >= min(_FEWEST_ROWS, longest[whose]):
            vector = vector_of(energies[a:b])
            if vector.any():
                whole = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
                found.append((start + a, whose, b - a, whole))
    return np.array(found, SEGMENT)
