"""Recordings that are copies or parts of each other, as `fadae duplicates` tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array
from fadae.query.recordings import Recording, Recordings
from fadae.similarity import ends, families_of, overlap_seconds, score
from fadae.store import FeatureSet


@dataclass(frozen=True, slots=True)
class Copy:
    """A recording of a family, and what it shares with the member that it shares most with.

    overlap_seconds: of sound, as far as equal fingerprints tell. score: the share of the
    fingerprints in it that agree, 0 to 1. same_samples: it repeats another sample by sample.
    """

    id: str
    title: str
    seconds: float
    overlap_seconds: float
    score: float
    shares_with: str  # the other one's id
    same_samples: bool


@dataclass(frozen=True, slots=True)
class Family:
    """Recordings that hold the same sound, directly or through others; the smallest id first."""

    members: tuple[Copy, ...]


def families(features: FeatureSet, recordings: Recordings, pairs: Array) -> list[Family]:
    """Return the families of two or more recordings; pairs: see `fadae.similarity.duplicates`."""
    heard = ~np.isin(ends(pairs), features.forgotten.silent).any(axis=1)
    pairs = pairs[heard]
    best: dict[int, tuple[Array, int]] = {}  # by whose samples they are
    for pair, (low, high) in zip(pairs, ends(pairs).tolist(), strict=True):
        for one, other in ((low, high), (high, low)):
            if one not in best or pair["votes"] > best[one][0]["votes"]:
                best[one] = (pair, other)
    found = []
    for rows in families_of(features, pairs):
        shown = [about for row in rows if (about := recordings.at_row(row)) is not None]
        if len(shown) > 1:
            copies = (_copy(about, shown, best.get(_owner(about))) for about in shown)
            found.append(Family(tuple(copies)))
    return found


def _owner(about: Recording) -> int:
    """Return the row of the table whose samples a recording has: its own, or whom it repeats."""
    return about.row if about.same_as < 0 else about.same_as


def _copy(about: Recording, shown: Sequence[Recording], best: tuple[Array, int] | None) -> Copy:
    """Return a member with what it shares; samples that repeat another's are all of it."""
    for other in shown:
        if other.row != about.row and _owner(other) == _owner(about):
            return Copy(about.id, about.title, about.seconds, about.seconds, 1.0, other.id, True)
    assert best is not None  # else it would be of no family
    pair, row = best
    return Copy(
        id=about.id,
        title=about.title,
        seconds=about.seconds,
        overlap_seconds=min(overlap_seconds(pair), about.seconds),
        score=score(pair),
        shares_with=next((one.id for one in shown if _owner(one) == row), ""),
        same_samples=False,
    )
