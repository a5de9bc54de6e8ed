"""Families: recordings that are copies or parts of each other, directly or through others."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable

import numpy as np

from fadae.arrays import Array, Int64
from fadae.errors import AccessError
from fadae.similarity.join import PAIR, PRINTS, join
from fadae.similarity.packs import Layout, make_packs, packs_of
from fadae.store import NO_RECORDING, FeatureSet, Mapper, map_serially, paths

log = logging.getLogger("fadae.similarity")

_LAYOUT = Layout(PAIR)
_MOST_PACKS = 64  # 380 hours of music, whose families a training finds by itself


def duplicates(features: FeatureSet, mapper: Mapper = map_serially) -> Array:
    """Return the pairs of recordings that share sound, of the type PAIR: read, else found now.

    A function of what is published; kept in the workspace where that is allowed.
    """
    path = _path(features)
    with contextlib.suppress(FileNotFoundError):
        return _LAYOUT.decoded(features.store.location.read_bytes(path), path)
    make_packs(features, PRINTS, mapper)
    pairs, location = join(features, mapper), features.store.location
    try:
        old = location.names(paths.DUPLICATES)
        location.write_bytes(path, _LAYOUT.encoded(pairs))
        location.delete_many(f"{paths.DUPLICATES}/{name}" for name in old if name < path[-9:])
    except AccessError as error:
        log.debug("%s is not kept: %s", path, error)
    return pairs


def _path(features: FeatureSet) -> str:
    return f"{paths.DUPLICATES}/{len(features.recordings):09d}"


def known_families(features: FeatureSet) -> list[list[int]]:
    """Return the families as a training finds them by itself: see `families_of`.

    Of a store that is too large for that, or behind a web server, with a warning, only recordings
    with the same samples, unless `fadae duplicates` has found the others.
    """
    location, path = features.store.location, _path(features)
    is_near = len(packs_of(features.rows)) <= _MOST_PACKS and not location.is_http
    if is_near or location.exists(path):
        return families_of(features, duplicates(features))
    log.warning(
        "nobody has looked for copies among these %d recordings: they may lie on both sides of the "
        "split; run `fadae duplicates` first",
        len(features.recordings),
    )
    return families_of(features, np.empty(0, PAIR))


def families_of(features: FeatureSet, pairs: Array) -> list[list[int]]:
    """Return the families of two or more recordings, as rows of the recording table.

    Recordings with the same samples belong together too. Each family's first is the one with the
    smallest id, the others rise; families rise by their first.
    """
    table = features.recordings
    same_as = table.same_as.astype(np.int64)
    (repeats,) = np.nonzero(same_as != NO_RECORDING)
    links = np.concatenate([np.stack([repeats, same_as[repeats]], 1), ends(pairs)])
    ids = table.id
    families = [
        sorted(members, key=lambda row: (row != first, row))
        for members in components(links.tolist())
        for first in (min(members, key=lambda row: str(ids[row])),)
    ]
    return sorted(families)


def ends(pairs: Array) -> Int64:
    """Return the two recordings of each pair, [n, 2]."""
    return np.stack([pairs["a"], pairs["b"]], axis=1).astype(np.int64)


def components(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components of a graph, by its edges.

    >>> components([(1, 2), (5, 6), (2, 9)])
    [[1, 2, 9], [5, 6]]
    """
    root: dict[int, int] = {}

    def find(one: int) -> int:
        while (above := root.setdefault(one, one)) != one:
            root[one] = one = root[above]
        return one

    for one, other in links:
        low, high = sorted((find(one), find(other)))
        root[high] = low
    members: dict[int, list[int]] = {}
    for one in sorted(root):
        members.setdefault(find(one), []).append(one)
    return list(members.values())
