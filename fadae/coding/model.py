"""What the coder asks of an entropy model, and how one is kept: named arrays of whole numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fadae.coding.context import Context, Side
from fadae.coding.layout import Phase
from fadae.coding.quantise import CENTROIDS

Array = npt.NDArray[Any]

ESCAPE = 17  # magnitudes 0 .. 16 are symbols; this one says that the rest follows
ALPHABET = ESCAPE + 1
TOTAL = 2**16  # the frequencies of a distribution add up to this; each is 1 or more


class EntropyModel(Protocol):
    """Picks one of D frozen distributions for every symbol of a phase.

    The same on every machine: arithmetic is in whole numbers, or in floats that hold them.
    """

    @property
    def name(self) -> str:
        """Which kind of model: `tables` or `network`."""

    @property
    def blocks(self) -> int:
        """Blocks of a row."""

    @property
    def distributions(self) -> npt.NDArray[np.uint16]:
        """[D, ALPHABET]: frequencies, of TOTAL."""

    @property
    def centroids(self) -> npt.NDArray[np.int16]:
        """[D, CENTROIDS]: mean of |c| / step - m for m = 1, 2, 3 and 4 or more, in 1/1024."""

    @property
    def bandwidth(self) -> npt.NDArray[np.uint16]:
        """[BANDWIDTHS]: frequencies of the classes of bandwidth, of TOTAL."""

    @property
    def count(self) -> npt.NDArray[np.uint16]:
        """[BANDWIDTHS, COUNTS]: frequencies of the classes of count, given the bandwidth."""

    def choose(
        self, phase: int, known: Phase, context: Context, side: Side, stop: int
    ) -> npt.NDArray[np.uint16]:
        """Return [F, n]: the distribution of each of a phase's symbols below bin `stop`."""

    def tensors(self) -> dict[str, Array]:
        """Return all that defines the model, by name."""


def probabilities(frequencies: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return frequencies as float32, exactly."""
    return frequencies.astype(np.float32) / np.float32(TOTAL)


def to_frequencies(weights: Array) -> npt.NDArray[np.uint16]:
    """Return frequencies [..., n], 1 or more and TOTAL in all, of positive weights [..., n].

    >>> to_frequencies(np.array([3.0, 1.0, 0.0])).tolist()
    [49151, 16384, 1]
    """
    shares = np.asarray(weights, dtype=np.float64)
    room = TOTAL - shares.shape[-1]
    exact = shares / shares.sum(axis=-1, keepdims=True) * room
    whole = np.floor(exact).astype(np.int64) + 1
    # What flooring left over goes to the likeliest symbol, where it changes least.
    rest = TOTAL - whole.sum(axis=-1)
    np.put_along_axis(
        whole,
        whole.argmax(axis=-1)[..., None],
        whole.max(axis=-1, keepdims=True) + rest[..., None],
        axis=-1,
    )
    return np.asarray(whole, dtype=np.uint16)


def fingerprint(name: str, tensors: Mapping[str, Array]) -> bytes:
    """Return 8 bytes that tell models apart: a hash of all that defines one."""
    digest = hashlib.sha256(name.encode())
    for key in sorted(tensors):
        array = np.ascontiguousarray(tensors[key])
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()[:8]


def ensure_shapes(tensors: Mapping[str, Array]) -> None:
    """Raise ValueError unless the arrays every model has fit each other."""
    distributions, centroids = tensors["distributions"], tensors["centroids"]
    if distributions.ndim != 2 or distributions.shape[1] != ALPHABET:
        raise ValueError(f"distributions of shape {distributions.shape}")
    if centroids.shape != (len(distributions), CENTROIDS):
        raise ValueError(f"centroids of shape {centroids.shape}")
    for key in ("distributions", "bandwidth", "count"):
        if np.any(tensors[key] < 1) or np.any(tensors[key].astype(np.int64).sum(-1) != TOTAL):
            raise ValueError(f"{key} are not frequencies of {TOTAL}")
