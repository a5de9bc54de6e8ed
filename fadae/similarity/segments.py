"""The stretches of all published music by their vectors, and the nearest to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from fadae.arrays import Array, Float32
from fadae.similarity.packs import Derived, Layout, pack_rows, packs_of
from fadae.similarity.vectors import SEGMENT, segments_of, unit
from fadae.store import FeatureSet, paths

SEGMENTS = Derived(paths.SEGMENTS, Layout(SEGMENT), segments_of)
HIT = np.dtype([("recording", "<i4"), ("row", "<i8"), ("rows", "u1"), ("score", "<f4")])


def every_pack(features: FeatureSet, packs: Iterable[int] | None = None) -> Iterator[Array]:
    """Yield the stretches of all packs, or of some, of the type SEGMENT.

    Made now, and kept where that is allowed, where there are none.
    """
    packs = range(len(packs_of(features.rows))) if packs is None else packs
    yield from features.store.location.concurrently(
        lambda pack: pack_rows(features, SEGMENTS, pack), packs
    )


def nearest(
    features: FeatureSet,
    vector: Float32,
    count: int,
    without: tuple[int, int] = (0, 0),
    first_pack: int = 0,
) -> Array:
    """Return the `count` recordings with the stretch nearest to a vector, of the type HIT.

    The nearest first, each recording with its nearest stretch; rows [without) are left out. The
    score is the cosine, at most 1. Packs are read from `first_pack` on, one after the other.
    """
    best = np.empty(0, HIT)
    for segments in every_pack(features, range(first_pack, len(packs_of(features.rows)))):
        outside = (segments["row"] + segments["rows"] <= without[0]) | (
            segments["row"] >= without[1]
        )
        best = best_of([best, hits_of(segments[outside], vector)], count)
    return best


def hits_of(segments: Array, vector: Float32) -> Array:
    """Return stretches with their cosine to a vector, of the type HIT."""
    hits = np.empty(len(segments), HIT)
    for name in ("recording", "row", "rows"):
        hits[name] = segments[name]
    hits["score"] = unit(segments["vector"]) @ vector
    return hits


def best_of(parts: list[Array], count: int) -> Array:
    """Return the best hit of each recording, the `count` best of them, the best first."""
    hits = np.concatenate(parts)
    hits = hits[np.lexsort((hits["row"], -hits["score"]))]
    _, firsts = np.unique(hits["recording"], return_index=True)
    return hits[np.sort(firsts)[:count]]
