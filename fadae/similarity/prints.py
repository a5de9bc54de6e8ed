"""Acoustic fingerprints: hashes of how the spectrum moves, the same in every copy of a sound.

J. Haitsma, T. Kalker: A Highly Robust Audio Fingerprinting System (ISMIR 2002): a bit says whether
the difference of two neighbouring bands' energies rises. Here energies are smoothed over 1.5 s, so
that copies cut elsewhere than at a hop tell the same, and a hash is the 24 bits of one moment and
those 0.7 s later: two sounds seldom agree in 48 bits by chance. Of all hashes those are kept that
are even, of copies hence the same ones. Measured: docs/results/similar.md.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fadae.arrays import Array, Float32, Int64
from fadae.similarity.packs import Layout
from fadae.store import (
    BLOCK_FRAMES,
    NO_RECORDING,
    NO_SAMPLE,
    PCM_SCALE,
    DamagedError,
    FeatureSet,
    Location,
    paths,
)

Hashes = NDArray[np.uint64]

TICKS_PER_SECOND = 11025 / 1024
_LOW_HZ, _HIGH_HZ, _BANDS = 300.0, 2000.0, 25
_SMOOTH, _RISE, _LATER = 16, 12, 8  # ticks
CONTEXT_TICKS = _SMOOTH + _RISE + _LATER  # that a hash hears after its own
KEPT_OF = 2  # hashes, one is kept
_FLOOR = 1e-9  # of a full-scale sine's energy, about: digital silence says nothing
_PIECE = 128  # spectra at a time: these stay in the caches

PRINT = np.dtype([("hash", "<u8"), ("recording", "<i4"), ("tick", "<i4")])
"""A hash of a recording's sound `tick` ticks after its start."""
_BLOCK = Layout(PRINT)


def tick_samples(rate_hz: int) -> int:
    """Return the samples of a tick, 93 ms."""
    return round(rate_hz / TICKS_PER_SECOND)


@cache
def _edges(rate_hz: int) -> tuple[int, ...]:
    """Return the FFT bins where bands begin, and the last ends; none where there is no room."""
    high = min(_HIGH_HZ, 0.45 * rate_hz)
    bins = np.geomspace(_LOW_HZ, max(high, _LOW_HZ), _BANDS + 1) * 2 * tick_samples(rate_hz)
    edges = np.rint(bins / rate_hz).astype(int)
    return tuple(edges.tolist()) if (np.diff(edges) > 0).all() else ()


def _energies(samples: Float32, rate_hz: int) -> Float32:
    """Return the energy [ticks, 25] of the bands, each tick's of two ticks of samples [n]."""
    import scipy.fft  # here: who only asks for families needs none

    tick, edges = tick_samples(rate_hz), np.array(_edges(rate_hz))
    window = np.hanning(2 * tick).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 2 * tick)[::tick]
    energies = np.empty((len(frames), _BANDS), np.float32)
    for first in range(0, len(frames), _PIECE):
        spectra = scipy.fft.rfft(frames[first : first + _PIECE] * window, axis=1)
        heard = spectra[:, edges[0] : edges[-1]]
        power = heard.real**2 + heard.imag**2
        energies[first : first + _PIECE] = np.add.reduceat(power, edges[:-1] - edges[0], axis=1)
    return energies


def hashes_of(samples: Float32, rate_hz: int) -> tuple[Hashes, Int64]:
    """Return the kept hashes [n] of samples in [-1, 1], and the ticks [n] where each begins.

    Tick t begins at sample t * tick_samples(rate_hz). Silence has none, nor has less than 3.5 s.
    """
    if not _edges(rate_hz) or len(samples) < (CONTEXT_TICKS + 1) * tick_samples(rate_hz):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    energies = _energies(samples, rate_hz)
    weights = np.hanning(_SMOOTH + 2)[1:-1].astype(np.float32)
    ticks = len(energies) - _SMOOTH + 1
    smooth = np.zeros((ticks, _BANDS), np.float32)
    for at, weight in enumerate(weights / weights.sum()):
        smooth += weight * energies[at : at + ticks]
    slope = smooth[:, :-1] - smooth[:, 1:]
    rises = slope[_RISE:] > slope[:-_RISE]
    words = rises @ (np.uint64(1) << np.arange(_BANDS - 1, dtype=np.uint64))
    hashes = mixed(words[:-_LATER] | words[_LATER:] << np.uint64(_BANDS - 1))
    loud = smooth.sum(axis=1) > _FLOOR * (2 * tick_samples(rate_hz)) ** 2
    count = len(hashes)
    heard = loud[:count] & loud[CONTEXT_TICKS - _SMOOTH :][:count]
    heard[1:] &= hashes[1:] != hashes[:-1]  # a chord that lasts says one thing, not one a tick
    kept = np.flatnonzero(heard & (hashes % np.uint64(KEPT_OF) == 0))
    return hashes[kept], kept.astype(np.int64)


def mixed(words: Hashes) -> Hashes:
    """Return 64 bits of each number, spread evenly: the finaliser of SplitMix64, a bijection."""
    with np.errstate(over="ignore"):
        z = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def prints_of_rows(rows: dict[str, Array], rate_hz: int) -> Array:
    """Return the fingerprints of a block's rows, of the type PRINT.

    rows: `audio` [n, hop], int16, `frame_recording` and `frame_time` [n], as they are stored.
    """
    recording, audio = rows["frame_recording"], rows["audio"]
    borders = [0, *(np.flatnonzero(np.diff(recording)) + 1).tolist(), len(recording)]
    tick, found = tick_samples(rate_hz), [np.empty(0, PRINT)]
    for first, stop in itertools.pairwise(borders):
        if first == stop or recording[first] == NO_RECORDING:
            continue
        pcm = audio[first:stop].reshape(-1)
        pcm = pcm[: len(pcm) - int(np.argmax(pcm[::-1] != NO_SAMPLE))]
        start = round(float(rows["frame_time"][first]) * rate_hz)
        ahead = -start % tick  # to the next tick of the whole recording
        hashes, ticks = hashes_of(pcm[ahead:] * np.float32(PCM_SCALE), rate_hz)
        own = np.empty(len(hashes), PRINT)
        own["hash"], own["recording"] = hashes, recording[first]
        own["tick"] = ticks + (start + ahead) // tick
        found.append(own)
    return np.concatenate(found)


def prints_of(features: FeatureSet, block: int) -> Array:
    """Return the fingerprints of a published block, of the type PRINT: a function of its rows."""
    start = block * BLOCK_FRAMES
    stop = min(start + BLOCK_FRAMES, features.rows)
    names = ("audio", "frame_recording", "frame_time")
    rows = {name: features.read(name, start, stop) for name in names}
    return prints_of_rows(rows, features.transform.sample_rate_hz)


def write_prints(location: Location, block: int, rows: dict[str, Array], rate_hz: int) -> None:
    """Keep the fingerprints of a block whose rows are at hand."""
    data = _BLOCK.encoded(prints_of_rows(rows, rate_hz))
    location.write_bytes(paths.print_path(block), data)


def prints_kept(features: FeatureSet, block: int) -> Array:
    """Return the fingerprints of a published block as `write_prints` left them, else made now."""
    path = paths.print_path(block)
    try:
        return _BLOCK.decoded(features.store.location.read_bytes(path), path)
    except (FileNotFoundError, DamagedError):  # damaged: what it is made of is still there
        return prints_of(features, block)
