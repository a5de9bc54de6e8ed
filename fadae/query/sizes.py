"""What a workspace takes, by part: counted where that is quick, else estimated from samples."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fadae.store import BLOCK_FRAMES, FrameStore, Location, paths

_BLOCKS = 64  # of an array, whose sizes are asked for
_STAGED = 4096  # recordings whose staged objects are listed
_LARGE = ("audio", "features")
_FOLDERS = (
    paths.PLANS,
    paths.INGESTS,
    paths.GENERATIONS,
    paths.REPORTS,
    paths.COMPARISONS,
    paths.TOMBSTONES,
)


@dataclass(frozen=True, slots=True)
class PartSize:
    """The bytes of a part of a workspace; not exact where a sample of it tells."""

    name: str
    size_bytes: int
    exact: bool = True


def sizes_of(location: Location, store: FrameStore | None, recordings: int) -> list[PartSize]:
    """Return the parts of a workspace that hold anything, by name.

    `recordings` is about how many are staged or published. Two folders of 256 tell of the staging
    area of many, 64 shards of an array of more: their recordings and shards are much alike. So it
    takes some 200 requests whatever the workspace holds. Behind a web server none is told.
    """
    if location.is_http:
        return []
    parts = [
        _spread(location, paths.STAGING, recordings),
        _spread(location, paths.SOURCES, recordings),
        *(_store_sizes(store) if store is not None else ()),
        *([_derived(store)] if store is not None else ()),
        *_run_sizes(location),
        _reconstructions(location),
        *(PartSize(name, _listed(location, name)) for name in _FOLDERS),
        PartSize(paths.LISTING, _size(location, paths.LISTING)),
    ]
    return [part for part in parts if part.size_bytes]


def _listed(location: Location, path: str) -> int:
    return sum(found.size_bytes for found in location.found_below(path).values())


def _spread(location: Location, folder: str, recordings: int) -> PartSize:
    """Return the size of a folder whose recordings are spread over 256 by their hashes."""
    if recordings <= _STAGED:
        return PartSize(folder, _listed(location, folder))
    wanted = max(2, len(paths.PREFIXES) * _STAGED // (2 * recordings))
    chosen = [f"{folder}/{prefix}" for prefix in paths.PREFIXES[:: len(paths.PREFIXES) // wanted]]
    listed = sum(location.concurrently(functools.partial(_listed, location), chosen))
    return PartSize(folder, listed * len(paths.PREFIXES) // len(chosen), exact=False)


def _store_sizes(store: FrameStore) -> Iterator[PartSize]:
    """Yield the sizes of features.zarr: of the two large arrays, and of all else."""
    small = [name for name in store.names if name not in _LARGE]
    yield from (_arrays(store, [name], name) for name in _LARGE)
    rest = _arrays(store, small, "recordings")
    root = _size(store.location, f"{store.path}/zarr.json")
    released = _size(store.location, paths.RELEASED)
    yield PartSize(rest.name, rest.size_bytes + root + released, rest.exact)


def _derived(store: FrameStore) -> PartSize:
    """Return the size of fingerprints and vectors, beside arrays and in none."""
    location, blocks = store.location, -(-store.rows // BLOCK_FRAMES)
    folders = (paths.SEGMENTS, paths.SEGMENT_INDEX, paths.PRINTS)
    packs = [
        f"{folder}/{name}"
        for folder in folders
        for name in location.names(folder)
        if name[0].isdecimal()  # `blocks` is a folder
    ]
    chosen = range(blocks)[:: -(-blocks // _BLOCKS) or 1]
    some = packs[:: -(-len(packs) // _BLOCKS) or 1]
    size = functools.partial(_size, location)
    singles = sum(location.concurrently(size, map(paths.print_path, chosen)))
    sampled = sum(location.concurrently(size, some))
    total = singles * blocks // max(1, len(chosen)) + sampled * len(packs) // max(1, len(some))
    return PartSize("similarity", total, exact=(len(chosen), len(some)) == (blocks, len(packs)))


def _reconstructions(location: Location) -> PartSize:
    total, exact = 0, True
    for name in location.names(paths.RECONSTRUCTIONS):
        path = f"{paths.RECONSTRUCTIONS}/{name}"
        store = FrameStore.find(location, path)
        if store is None:  # begun, or being removed
            continue
        part = _arrays(store, store.names, paths.RECONSTRUCTIONS)
        total += part.size_bytes + _size(location, f"{path}/zarr.json")
        exact = exact and part.exact
    return PartSize(paths.RECONSTRUCTIONS, total, exact)


def _arrays(store: FrameStore, names: list[str], part: str) -> PartSize:
    """Return the size of some arrays of a group as published."""
    location, blocks = store.location, -(-store.rows // BLOCK_FRAMES)
    chosen = np.unique(np.linspace(0, blocks - 1, min(blocks, _BLOCKS)).astype(int)).tolist()
    framed = [name for name in names if name in store.frame_names]
    objects = [store.block_path(name, block) for name in framed for block in chosen]
    documents = [f"{store.path}/{name}/zarr.json" for name in framed]
    others = [f"{store.path}/{name}" for name in names if name not in framed]
    size, listed = functools.partial(_size, location), functools.partial(_listed, location)
    sampled = sum(location.concurrently(size, objects))
    total = (
        round(sampled * blocks / max(1, len(chosen)))
        + sum(location.concurrently(size, documents))
        + sum(location.concurrently(listed, others))
    )
    return PartSize(part, total, exact=blocks <= _BLOCKS or not framed)


def _size(location: Location, path: str) -> int:
    try:
        return location.size_bytes(path)
    except FileNotFoundError:  # damage that `verify` tells; or nothing released yet
        return 0


def _run_sizes(location: Location) -> Iterator[PartSize]:
    found = location.found_below(paths.RUNS)
    kept = {path: one for path, one in found.items() if "/checkpoints/" in path}
    checkpoints = sum(one.size_bytes for one in kept.values())
    yield PartSize(paths.RUNS, sum(one.size_bytes for one in found.values()) - checkpoints)
    yield PartSize("checkpoints", checkpoints)
