"""What the coder asks of an entropy model, and `Network`: a small one a phase, in whole numbers.

Inputs are levels 0 .. 127 of 32 neighbours, which of the nearest are not zero, the row's side
information and an embedding of the frequency; two hidden layers; and one output that, rounded,
picks one of 64 frozen distributions. Weights are int8 in steps of 1/64, biases in 1/1024,
activations 0 .. 127 in steps of 1/16. Every sum stays below 2^24 and so is exact in float32,
whatever order a BLAS adds in: the idea of Balle, Johnston, Minnen, "Integer networks for data
compression with latent-variable models", ICLR 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fadae.coding.symbols import CENTROIDS, NEIGHBOURS, Context, Phase, Side, phases

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


NEAR = 16  # neighbours of which the network is also told whether they are zero
PRESENT = 32  # ... by this input
SIDE_INPUTS = 2
CLASSES = 48  # of frequency; wider ones higher up
INDICES = 64
_CLASSES_END = 1250  # bins; all above are of the last class

_WEIGHTS = ("neighbours", "frequency", "side", "hidden", "output")
_BIASES = ("bias_1", "bias_2", "bias_3")


class Network:
    """The integer network; its arrays are those of `tensors()`.

    With P phases, h hidden values and e embedded ones: neighbours [P, h, 48], frequency [P, h, e],
    side [P, h, 2], hidden [P, h, h], output [P, h]: int8; bias_1, bias_2 [P, h], bias_3 [P]:
    int32; embedding [48, e] uint8; and the arrays that every model has.
    """

    name = "network"

    def __init__(self, tensors: Mapping[str, Array], dtype: npt.DTypeLike = np.float32) -> None:
        """Take the arrays; raises ValueError where they do not fit or a sum could be inexact.

        dtype: float32 or float64, in which the whole numbers are computed: nothing else changes.
        """
        self._dtype = np.dtype(dtype)
        self._tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        ensure_shapes(self._tensors)
        self.blocks = int(self._tensors["blocks"][0])
        self.distributions = self._tensors["distributions"]
        self.centroids = self._tensors["centroids"]
        self.bandwidth = self._tensors["bandwidth"]
        self.count = self._tensors["count"]
        self._ensure_exact()
        t = {key: self._tensors[key].astype(self._dtype) for key in _WEIGHTS + _BIASES}
        # In units of the next layer's activations, halves for rounding included. Powers of two
        # scale without rounding, so sums are as exact as those of the whole numbers.
        t["neighbours"][:, :, NEIGHBOURS:] *= PRESENT  # whose inputs are 0 or 1
        self._first = t["neighbours"] / 64
        self._side = t["side"] / 64
        embedded = self._tensors["embedding"].astype(self._dtype) @ t["frequency"].swapaxes(1, 2)
        self._frequency = ((embedded + t["bias_1"][:, None, :] + 32) / 64).swapaxes(1, 2).copy()
        self._hidden = t["hidden"] / 64
        self._bias_2 = (t["bias_2"][:, :, None] + 32) / 64
        self._output = t["output"][:, None, :] / 256
        self._bias_3 = (t["bias_3"] + 128) / 256
        self._by_bin: dict[int, Array] = {}  # of a phase: what its bins' frequencies add

    def tensors(self) -> dict[str, Array]:
        """Return all that defines the model, by name."""
        return dict(self._tensors)

    def choose(
        self, phase: int, known: Phase, context: Context, side: Side, stop: int
    ) -> npt.NDArray[np.uint16]:
        """Return [F, n]: the distribution of each of a phase's symbols below bin `stop`."""
        rows, n = len(side.bandwidth), known.count(stop)
        if n == 0:
            return np.zeros((rows, 0), dtype=np.uint16)
        inputs = np.empty((NEIGHBOURS + NEAR, rows, n), dtype=self._dtype)
        inputs[len(known.offsets) : NEIGHBOURS] = 0
        context.neighbours(known, stop, inputs[:NEIGHBOURS])
        np.clip(inputs[:NEAR], 0, 1, out=inputs[NEIGHBOURS:])  # levels are 0, or far above 1
        h = self._first[phase] @ inputs.reshape(len(inputs), rows * n)
        by_row = h.reshape(-1, rows, n)
        by_row += self._of_bins(phase, known, stop)[:, None, :]
        by_row += (self._side[phase] @ side.inputs().astype(self._dtype))[:, :, None]
        _activate(h)
        h = self._hidden[phase] @ h
        h += self._bias_2[phase]
        _activate(h)
        position = (self._output[phase] @ h)[0]
        position += self._bias_3[phase]
        np.clip(position, 0, INDICES - 1, out=position)
        return np.asarray(position.reshape(rows, n), dtype=np.uint16)  # rounds towards 0

    def _of_bins(self, phase: int, known: Phase, stop: int) -> Array:
        """Return what frequency and bias add to the first layer for bins below `stop`, [h, n]."""
        n = known.count(stop)
        found = self._by_bin.get(phase)
        if found is None or found.shape[1] < n:
            classes = frequency_classes(known.bins(stop), self.blocks)
            found = self._by_bin[phase] = self._frequency[phase][:, classes]
        return found[:, :n]

    def _ensure_exact(self) -> None:
        """Refuse arrays with which a float32 could round, or of shapes that do not fit."""
        t = self._tensors
        P, hidden = len(phases(self.blocks)), t["hidden"].shape[1]
        embedded = t["embedding"].shape[1]
        shapes = {
            "neighbours": (P, hidden, NEIGHBOURS + NEAR),
            "frequency": (P, hidden, embedded),
            "side": (P, hidden, SIDE_INPUTS),
            "hidden": (P, hidden, hidden),
            "output": (P, hidden),
            "bias_1": (P, hidden),
            "bias_2": (P, hidden),
            "bias_3": (P,),
            "embedding": (CLASSES, embedded),
        }
        for key, shape in shapes.items():
            if t[key].shape != shape:
                raise ValueError(f"{key} of shape {t[key].shape}, not {shape}")
        if len(self.distributions) != INDICES:
            raise ValueError(f"{len(self.distributions)} distributions, not {INDICES}")
        first = sum(np.abs(t[key].astype(np.int64)).sum(2) for key in _WEIGHTS[:3])
        most = max(
            int(np.max(127 * first + np.abs(t["bias_1"]))),
            int(np.max(127 * np.abs(t["hidden"].astype(np.int64)).sum(2) + np.abs(t["bias_2"]))),
            int(np.max(127 * np.abs(t["output"].astype(np.int64)).sum(1) + np.abs(t["bias_3"]))),
        )
        if most >= 2**24 - 128:
            raise ValueError(f"a sum of {most}, at which float32 is not exact")


def _activate(h: Array) -> None:
    """Round sums to activations 0 .. 127 in place, their halves being added already."""
    np.clip(h, 0, 127, out=h)
    np.floor(h, out=h)


def frequency_classes(bins: slice, blocks: int) -> npt.NDArray[np.int64]:
    """Return the class of each bin: the whole part of 48 sqrt(bin / 1250), of three blocks'."""
    at = np.arange(bins.start, bins.stop, bins.step) * blocks // 3
    edges = -(-(np.arange(1, CLASSES) ** 2) * _CLASSES_END // CLASSES**2)
    return np.searchsorted(edges, at, side="right")
