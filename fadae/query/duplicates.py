"""Recordings that are copies or parts of each other, as `fadae duplicates` tells them."""

from __future__ import annotations

from dataclasses import dataclass

from fadae.arrays import Array
from fadae.query.recordings import Recording, Recordings
from fadae.similarity import families_of, overlap_seconds, score
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
    best: dict[int, tuple[Array, int]] = {}
    for pair in pairs:
        for one, other in ((int(pair["a"]), int(pair["b"])), (int(pair["b"]), int(pair["a"]))):
            if one not in best or pair["votes"] > best[one][0]["votes"]:
                best[one] = (pair, other)
    found = []
    for rows in families_of(features, pairs):
        shown = {row: about for row in rows if (about := recordings.at_row(row)) is not None}
        members = tuple(_copy(about, shown, best.get(row)) for row, about in shown.items())
        if len(members) > 1:
            found.append(Family(members))
    return found


def _copy(about: Recording, shown: dict[int, Recording], best: tuple[Array, int] | None) -> Copy:
    """Return a member with what it shares; one without pairs has, or is, the others' samples."""
    if best is None:
        other = next(one for one in shown.values() if one.row != about.row)
        return Copy(about.id, about.title, about.seconds, about.seconds, 1.0, other.id, True)
    pair, row = best
    return Copy(
        id=about.id,
        title=about.title,
        seconds=about.seconds,
        overlap_seconds=min(overlap_seconds(pair), about.seconds),
        score=score(pair),
        shares_with=shown[row].id if row in shown else "",
        same_samples=False,
    )
