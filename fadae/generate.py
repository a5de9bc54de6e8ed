"""Codes that no recording has: drawn with a run's statistics, walked, or between two recordings.

That is for codes that are points of a space, say 256 numbers and a scale a frame; models of other
codes may have methods of their own. `CodeStatistics` measures how a run's codes lie and how
they move from one frame to the next; `draw`, `walk` and `interpolate` make new ones, each a pure
function of its arguments and seed; `sound` lets them be heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from fadae.arrays import Array, Float32, Float64
from fadae.errors import NoInputError, UsageError
from fadae.model import Codec, Codes, Generates
from fadae.store import CHUNK_FRAMES, NO_RECORDING, FeatureSet, FrameStore
from fadae.transform import Transform

PEAK = 0.98
_MOST_CHUNKS = 256
VECTOR_METHODS = ("walk", "normal", "interpolate")  # of codes that are points of a space


@dataclass(frozen=True, slots=True)
class CodeStatistics:
    """Where the codes of a run lie and how they move; K code dimensions and the log of the scale.

    The scale is treated as one more dimension, its logarithm: loudness follows the timbre.
    """

    mean: Float64  # [K + 1]
    deviation: Float64  # [K + 1] standard deviation of each dimension
    mixing: Float64  # [A, K + 1] what a step along each of A axes adds, in deviations
    correlation: Float64  # [A] of one frame with the next, along each axis
    least: Float64  # [K + 1] smallest value seen
    most: Float64  # [K + 1] greatest value seen
    hop_seconds: float

    @classmethod
    def measure(cls, stretches: Iterable[Codes]) -> Self:
        """Return the statistics of stretches of consecutive frames.

        Raises NoInputError with fewer than two frames.
        """
        known = list(stretches)
        rows = [part for codes in known for part in _sounding(codes)]
        if sum(map(len, rows)) < 2:
            raise NoInputError("no codes to take statistics of: fewer than two frames that sound")
        everything = np.concatenate(rows)
        mean = everything.mean(axis=0)
        deviation = np.maximum(everything.std(axis=0), 1e-9)
        standard = [(stretch - mean) / deviation for stretch in rows]
        mixing, correlation = _axes_of_motion(standard)
        return cls(
            mean,
            deviation,
            mixing,
            correlation,
            everything.min(axis=0),
            everything.max(axis=0),
            known[0].hop_seconds,
        )


def _sounding(codes: Codes) -> list[Float64]:
    """Return the stretches [F, K + 1] of consecutive frames that say something.

    A silent frame has the scale 1, like the loudest there is; a damaged one is no number. The
    frames before and after such a one are no neighbours.
    """
    stacked = _stack(codes)
    heard = np.asarray(np.isfinite(stacked).all(axis=1))
    if codes.scale is not None:
        heard &= codes.scale[:, 0] != 1
    borders = np.flatnonzero(np.diff(heard)) + 1
    parts = np.split(np.arange(len(heard)), borders)
    return [stacked[part] for part in parts if len(part) and heard[part[0]]]


def _axes_of_motion(stretches: list[Float64]) -> tuple[Float64, Float64]:
    """Return (mixing [A, K], correlation [A]): axes along which codes move independently.

    Whitened with their covariance C, the codes have the (symmetrised) covariance R of one frame
    with the next; R's eigenvectors are uncorrelated at both lags, its eigenvalues each axis' own
    correlation. Source: Switzer and Green's min/max autocorrelation factors (1984); Tong et al.,
    AMUSE (1990).
    """
    together = np.concatenate(stretches)
    variance, axes = np.linalg.eigh(together.T @ together / len(together))
    kept = variance > 1e-9 * variance.max(initial=0)  # a constant dimension has no axis
    variance, axes = variance[kept], axes[:, kept]
    white = [stretch @ (axes / np.sqrt(variance)) for stretch in stretches]
    pairs = max(1, sum(len(w) - 1 for w in white))
    lagged = sum((w[:-1].T @ w[1:] for w in white), np.zeros((len(variance),) * 2)) / pairs
    correlation, turn = np.linalg.eigh((lagged + lagged.T) / 2)
    return turn.T @ (axes * np.sqrt(variance)).T, np.clip(correlation, -0.999, 0.999)


def methods_of(codec: Codec) -> dict[str, bool]:
    """Return the methods by which codes of a codec are made, and whether each is its model's own.

    Drawing, walking and interpolating take codes that are points of a space.
    """
    own = codec.model.methods if isinstance(codec.model, Generates) else ()
    shared = VECTOR_METHODS if codec.code.interpolates else ()
    return dict.fromkeys(shared, False) | dict.fromkeys(own, True)


def is_own(codec: Codec, method: str) -> bool:
    """Return whether a codec's model makes codes by this method itself.

    Raises UsageError where nobody can.
    """
    own = [name for name, is_own in methods_of(codec).items() if is_own]
    if method not in own and not codec.code.interpolates:
        raise UsageError(
            f"cannot generate with method {method!r}: what lies between two codes of this run "
            f"({codec.code.meaning}) is not a code; available: {', '.join(own) or 'none'}"
        )
    return method in own


def new_codes(method: str, known: Iterable[Codes], frames: int, seed: int) -> Codes:
    """Return codes "normal" or "walk" with the statistics of known ones; see `draw`, `walk`."""
    methods = {"normal": draw, "walk": walk}
    if method not in methods:
        raise UsageError(
            f"cannot generate with method {method!r}; available: normal, walk, interpolate"
        )
    return methods[method](CodeStatistics.measure(known), frames, seed)


def stretches(features: FeatureSet, codec: Codec, made: FrameStore | None) -> Iterator[Codes]:
    """Yield codes of whole chunks of consecutive frames, spread evenly over the features.

    At most 16,384 frames: read where a run has been reconstructed (`made`), else encoded now.
    """
    rows = features.rows if made is None else made.rows
    chunks = rows // CHUNK_FRAMES
    for chunk in np.unique(np.linspace(0, chunks - 1, min(chunks, _MOST_CHUNKS)).astype(int)):
        start, stop = int(chunk) * CHUNK_FRAMES, int(chunk + 1) * CHUNK_FRAMES
        recording = features.read("frame_recording", start, stop)
        recording[features.forgotten.silenced(start, start + len(recording))] = NO_RECORDING
        if made is None:
            codes = codec.encode(features.read("features", start, stop))
        else:
            scale = made.read("scale", start, stop)[:, None] if "scale" in made.names else None
            codes = Codes(made.read("encoded", start, stop), scale, codec.hop_seconds)
        for row in np.unique(recording[recording >= 0]):
            first, last = np.flatnonzero(recording == row)[[0, -1]]
            yield codes[int(first) : int(last) + 1]


def draw(statistics: CodeStatistics, frames: int, seed: int) -> Codes:
    """Return codes of independent frames, every dimension normal with the run's mean and spread.

    The 2017 experiment's way: frames know nothing of each other.
    """
    noise = np.random.default_rng(seed).standard_normal((frames, len(statistics.mean)))
    return _unstack(statistics.mean + noise * statistics.deviation, statistics)


def walk(statistics: CodeStatistics, frames: int, seed: int) -> Codes:
    """Return codes that move as the run's do: a first-order autoregressive walk.

    Along each axis of motion x[t] = r x[t-1] + sqrt(1 - r^2) noise, r the codes' own correlation
    of one frame with the next, so covariance and tempo of change are the run's.
    """
    r = statistics.correlation
    along = np.random.default_rng(seed).standard_normal((frames, len(r)))
    for frame in range(1, frames):
        along[frame] = r * along[frame - 1] + np.sqrt(1 - r**2) * along[frame]
    steps = along @ statistics.mixing
    return _unstack(statistics.mean + steps * statistics.deviation, statistics)


def interpolate(first: Codes, second: Codes) -> Codes:
    """Return codes that begin as `first` and end as `second`, as long as the shorter of them.

    Code values move in a straight line, the scale in its logarithm: loudness fades evenly in dB.
    """
    frames = min(len(first.values), len(second.values))
    if frames == 0:
        raise UsageError("nothing to interpolate: one of the two spans holds no frame")
    share = np.linspace(0, 1, frames)[:, None]
    a, b = _stack(first)[:frames], _stack(second)[:frames]
    return _codes((1 - share) * a + share * b, first.hop_seconds)


def sound(codec: Codec, transform: Transform, codes: Codes, samples: int) -> Float32:
    """Return at most `samples` samples of codes [F, K]: F - 1 hops; softened where they clip."""
    hops = transform.synthesize_hops(codec.decode(codes), floor=transform.model_floor)[:samples]
    peak = float(np.abs(hops).max(initial=0))
    return (hops * np.float32(min(1.0, PEAK / peak)) if peak else hops).astype(np.float32)


def _stack(codes: Codes) -> Float64:
    """Return [F, K + 1]: the values, then the logarithm of the scale, 0 where there is none."""
    values: Array = np.asarray(codes.values)
    scale: Array = np.ones(len(codes)) if codes.scale is None else codes.scale
    logarithm = np.log(np.maximum(scale.reshape(-1, 1), 1e-6))
    return np.concatenate([values, logarithm], axis=1, dtype=np.float64)


def _unstack(stacked: Float64, statistics: CodeStatistics) -> Codes:
    """Return codes within the range that the run's codes have been seen in."""
    inside = np.clip(stacked, statistics.least, statistics.most)
    return _codes(inside, statistics.hop_seconds)


def _codes(stacked: Float64, hop_seconds: float) -> Codes:
    values = stacked[:, :-1].astype(np.float32)
    return Codes(values, np.exp(stacked[:, -1:]).astype(np.float32), hop_seconds)
