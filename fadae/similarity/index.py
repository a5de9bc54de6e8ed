"""An index of the vectors of a large workspace, by USearch: a graph for each 64 packs.

HNSW (Malkov, Yashunin 2018), the vectors as bytes. Only whole groups of packs have one, so that
none is ever made twice, and no process holds more than one: 145 MB. Queries map the files into
memory, so the workspace must be a folder; what has no index is compared vector by vector.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fadae.arrays import Array, Float32
from fadae.errors import UsageError
from fadae.similarity.packs import BLOCKS_PER_PACK, packs_of
from fadae.similarity.segments import HIT, best_of, every_pack
from fadae.similarity.vectors import SEGMENT_ROWS, SIZE
from fadae.store import DamagedError, FeatureSet, Location, Mapper, map_serially, paths

GROUP_PACKS = 64  # 390 hours of music
_FEWEST, _MOST = 64, 4096  # candidates of each group


@dataclass(frozen=True, slots=True)
class IndexTask:
    """One group of packs to be indexed."""

    location: Location
    group: int


def has_library() -> bool:
    """Return whether USearch is installed: pip install 'fadae[similar]'."""
    return importlib.util.find_spec("usearch") is not None


def whole_groups(features: FeatureSet) -> int:
    """Return how many groups of packs are whole, hence never change."""
    packs = packs_of(features.rows)
    return sum(blocks == BLOCKS_PER_PACK for blocks in packs) // GROUP_PACKS


def make_indexes(features: FeatureSet, mapper: Mapper = map_serially) -> int:
    """Make the indexes that are missing, of packs that are there; return their number.

    Raises UsageError where the library is not installed.
    """
    if not has_library():
        raise UsageError("an index needs USearch: pip install 'fadae[similar]'")
    location = features.store.location
    there = set(location.names(paths.SEGMENT_INDEX))
    groups = [g for g in range(whole_groups(features)) if _name(g) not in there]
    tasks = [IndexTask(location, group) for group in groups]
    for _ in mapper(make_index, tasks, label="index", total=len(tasks), unit="groups"):
        pass
    return len(tasks)


def make_index(task: IndexTask) -> int:
    """Make one group's index; return its vectors. The unit of work."""
    index = _index()
    features, first = FeatureSet.open(task.location), task.group * GROUP_PACKS
    for segments in every_pack(features, range(first, first + GROUP_PACKS)):
        index.add(segments["row"].astype(np.uint64), segments["vector"], threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index.save(str(path))
        task.location.write_bytes(index_path(task.group), path.read_bytes())
    return len(index)


def _name(group: int) -> str:
    return f"{group:05d}"


def index_path(group: int) -> str:
    """Return where a group's index lies."""
    return f"{paths.SEGMENT_INDEX}/{_name(group)}"


def _index() -> Any:
    from usearch.index import Index

    return Index(ndim=SIZE, metric="cos", dtype="i8", connectivity=16)


def indexed_groups(features: FeatureSet) -> int:
    """Return how many groups, from the first on, can be asked through their index."""
    location = features.store.location
    if not location.is_local or not has_library():
        return 0
    there = set(location.names(paths.SEGMENT_INDEX))
    groups = range(whole_groups(features))
    return next((group for group in groups if _name(group) not in there), len(groups))


def indexed_hits(
    features: FeatureSet, vector: Float32, count: int, groups: int, without: tuple[int, int]
) -> Array:
    """Return about the `count` recordings with the nearest stretch in some groups, of type HIT.

    Approximate: of the ten nearest, 98 in 100 are found. Raises DamagedError.
    """
    wanted = max(_FEWEST, 4 * count)
    while True:
        hits = np.concatenate([_asked(features, vector, group, wanted) for group in range(groups)])
        hits = hits[np.argsort(-hits["score"], kind="stable")][: 4 * wanted]
        hits = hits[(hits["row"] + hits["rows"] <= without[0]) | (hits["row"] >= without[1])]
        for hit in hits:
            row = int(hit["row"])
            hit["recording"] = features.read("frame_recording", row, row + 1)[0]
        best = best_of([hits], count)
        if len(best) == count or wanted >= _MOST:
            return best
        wanted *= 4  # one recording's stretches may be the nearest of all


def _asked(features: FeatureSet, vector: Float32, group: int, wanted: int) -> Array:
    """Return the nearest stretches of a group, their recordings left open."""
    index, path = _index(), index_path(group)
    try:
        index.view(features.store.location.full(path))
    except RuntimeError as error:
        raise DamagedError(f"{path} is damaged ({error}); remove it") from error
    query = np.rint(vector * (127 / max(float(np.abs(vector).max()), 1e-9))).astype(np.int8)
    found = index.search(query, wanted, threads=1)
    hits = np.zeros(len(found.keys), HIT)
    hits["row"], hits["score"] = found.keys, 1 - found.distances
    hits["rows"] = SEGMENT_ROWS - hits["row"] % SEGMENT_ROWS
    return hits
