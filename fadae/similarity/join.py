"""Which recordings share sound: fingerprints that agree, at one distance in time, often enough.

An inverted index in sorted arrays: packs of fingerprints lie by rising hash, a task reads one
range of hashes of all packs and pairs those that are equal. Pairs of recordings are counted by the
distance of their ticks: of copies many hashes agree at one distance, by chance hardly two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array
from fadae.similarity.packs import Derived, Layout, packs_of, read_range, read_slices
from fadae.similarity.prints import (
    CONTEXT_TICKS,
    KEPT_OF,
    PRINT,
    TICKS_PER_SECOND,
    mixed,
    prints_kept,
)
from fadae.store import FeatureSet, Location, Mapper, OvertakenError, map_serially, paths

SLICES = 64
PRINTS = Derived(paths.PRINTS, Layout(PRINT, SLICES), prints_kept, paths.print_path)
_NUMBERS = ("a", "b", "offset", "votes", "first", "last")
PAIR = np.dtype([("hash", "<u8"), *((name, "<i4") for name in _NUMBERS)])
"""Two recordings: tick t of b is tick t + offset of a in `votes` hashes, from a's tick `first` on
up to `last`. `hash` is of a and b."""
MIN_VOTES = 3  # in 40,755 pairs of different pieces, chance gave one at most
_SLACK = 1  # ticks that a copy's distance wavers by: it is cut between two
_PARTNERS = 16  # of the hashes that are equal, each is paired with the next ones
_REPEATS = 4  # of a hash within a recording, at most
_MOST_EQUAL = 1000  # a hash of more says nothing: a hum, a test tone
_PACKS_A_TASK = 4096  # slices of packs, 30 kB each, that a task reads


_PAIRS = Layout(PAIR, SLICES)


@dataclass(frozen=True, slots=True)
class JoinTask:
    """A range of slices: of all packs, to be paired, or of all parts, to be added up."""

    location: Location
    first: int
    stop: int
    parts: tuple[str, ...] = ()  # where the pairs of each range of hashes lie


def seconds_of(ticks: int) -> float:
    """Return how long ticks take."""
    return ticks / TICKS_PER_SECOND


def overlap_seconds(pair: Array) -> float:
    """Return how much sound a pair shares, as far as equal hashes tell."""
    return seconds_of(int(pair["last"] - pair["first"]) + CONTEXT_TICKS)


def score(pair: Array) -> float:
    """Return the share of the hashes within the shared sound that agree, 0 to 1."""
    expected = (int(pair["last"] - pair["first"]) + 1) / KEPT_OF
    return min(1.0, int(pair["votes"]) / max(expected, MIN_VOTES))


def join(features: FeatureSet, mapper: Mapper = map_serially) -> Array:
    """Return the pairs [n] of recordings that share sound, of the type PAIR, by rising (a, b).

    Packs are made first where they are missing: see `make_packs`. Of many, each task writes what a
    range of hashes tells, sliced by pairs; then a task adds up what all told of a range of pairs.
    In memory is one range at a time, and in the end the pairs that share enough.
    """
    location, packs = features.store.location, len(packs_of(features.rows))
    step = max(1, min(SLICES, _PACKS_A_TASK // max(1, packs)))
    if step == SLICES:
        return best_offsets(_joined(JoinTask(location, 0, SLICES)))
    folder = f"{paths.DUPLICATES}/parts/{len(features.recordings):09d}"
    ranges = [(low, min(low + step, SLICES)) for low in range(0, SLICES, step)]
    parts = tuple(f"{folder}/{low:02d}-{high:02d}" for low, high in ranges)
    tasks = [JoinTask(location, *one, (part,)) for one, part in zip(ranges, parts, strict=True)]
    for _ in mapper(join_slices, tasks, label="join", total=len(tasks), unit="parts"):
        pass
    tasks = [JoinTask(location, *one, parts) for one in ranges]
    every = mapper(add_slices, tasks, label="add up", total=len(tasks), unit="parts")
    pairs = np.concatenate([np.empty(0, PAIR), *every])
    location.delete(f"{paths.DUPLICATES}/parts")
    return pairs[np.lexsort((pairs["b"], pairs["a"]))]


def join_slices(task: JoinTask) -> int:
    """Write the counted pairs of one range of hashes, unless they are there. A unit of work."""
    (part,) = task.parts
    if task.location.exists(part):
        return 0
    pairs = _joined(task)
    task.location.write_bytes(part, _PAIRS.encoded(pairs))
    return len(pairs)


def _joined(task: JoinTask) -> Array:
    features = FeatureSet.open(task.location)
    packs = range(len(packs_of(features.rows)))
    parts: Iterable[Array] = task.location.concurrently(
        lambda pack: read_slices(features, PRINTS, pack, task.first, task.stop), packs
    )
    return pairs_of(np.concatenate([np.empty(0, PRINT), *parts]))


def add_slices(task: JoinTask) -> Array:
    """Return the pairs of one range that share enough, from all parts. A unit of work."""
    location = task.location
    parts = location.concurrently(
        lambda part: read_range(location, _PAIRS, part, task.first, task.stop), task.parts
    )
    try:
        return best_offsets(counted(np.concatenate([np.empty(0, PAIR), *parts])))
    except FileNotFoundError as error:
        raise OvertakenError("another process looked for copies and has ended; again") from error


def pairs_of(prints: Array) -> Array:
    """Return the pairs of fingerprints with equal hashes, of the type PAIR, counted.

    prints: of packs in their order, so that equal ones lie by rising recording and tick.
    """
    prints = prints[np.argsort(prints["hash"], kind="stable")]
    prints = prints[_rank(prints["hash"], prints["recording"]) < _REPEATS]
    prints = prints[_sizes(prints["hash"]) <= _MOST_EQUAL]
    found = [np.empty(0, PAIR)]
    for distance in range(1, _PARTNERS + 1):
        one, other = prints[:-distance], prints[distance:]
        same = (one["hash"] == other["hash"]) & (one["recording"] != other["recording"])
        one, other = one[same], other[same]
        pairs = np.empty(len(one), PAIR)
        pairs["a"], pairs["b"], pairs["votes"] = one["recording"], other["recording"], 1
        pairs["offset"] = one["tick"] - other["tick"]
        pairs["first"] = pairs["last"] = one["tick"]
        pairs["hash"] = mixed(
            pairs["a"].astype(np.uint64) << np.uint64(32) | pairs["b"].astype(np.uint64)
        )
        found.append(pairs)
    return counted(np.concatenate(found))


def _starts(*columns: Array) -> Array:
    """Return where runs of equal values begin in sorted columns [n]."""
    changes = np.ones(len(columns[0]), bool)
    changes[1:] = np.logical_or.reduce([one[1:] != one[:-1] for one in columns])
    return np.flatnonzero(changes)


def _rank(*columns: Array) -> Array:
    """Return each row's place in its run of equal values, from 0."""
    starts = _starts(*columns)
    lengths = np.diff([*starts, len(columns[0])])
    return np.asarray(np.arange(len(columns[0])) - np.repeat(starts, lengths))


def _sizes(column: Array) -> Array:
    """Return the length of each row's run of equal values."""
    lengths = np.diff([*_starts(column), len(column)])
    return np.asarray(np.repeat(lengths, lengths))


def counted(pairs: Array) -> Array:
    """Return pairs with those of one distance added up, by rising (a, b, offset)."""
    if not len(pairs):
        return pairs
    pairs = pairs[np.lexsort((pairs["offset"], pairs["b"], pairs["a"]))]
    starts = _starts(pairs["a"], pairs["b"], pairs["offset"])
    whole = pairs[starts]
    whole["votes"] = np.add.reduceat(pairs["votes"], starts)
    whole["first"] = np.minimum.reduceat(pairs["first"], starts)
    whole["last"] = np.maximum.reduceat(pairs["last"], starts)
    return whole


def best_offsets(pairs: Array) -> Array:
    """Return for each two recordings their best distance, where enough hashes agree at it.

    A distance counts with those one tick beside it.
    """
    together = pairs.copy()
    for step in range(1, _SLACK + 1):
        if len(pairs) > step:
            low, high = pairs[:-step], pairs[step:]
            near = (low["a"] == high["a"]) & (low["b"] == high["b"])
            near &= high["offset"] - low["offset"] <= _SLACK
            for mine, theirs in ((slice(None, -step), high), (slice(step, None), low)):
                own = together[mine]
                own["votes"] += np.where(near, theirs["votes"], 0)
                own["first"] = np.where(
                    near, np.minimum(own["first"], theirs["first"]), own["first"]
                )
                own["last"] = np.where(near, np.maximum(own["last"], theirs["last"]), own["last"])
    order = np.lexsort((together["offset"], -together["votes"], together["b"], together["a"]))
    together = together[order]
    best = together[_starts(together["a"], together["b"])] if len(together) else together
    enough: Array = best[best["votes"] >= MIN_VOTES]
    return enough
