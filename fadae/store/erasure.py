"""Erasing what tombstones say is to go: its bytes, wherever the store keeps them.

Staged samples, commits and kept originals go; plans, columns and index tell no more than identity
and place; rows of blocks are filled as padding is, each block compared and swapped, all other rows
the bytes that they were. Every step looks at what is there, so that whatever is killed, running
again ends with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from fadae.records import Commit, Track, batched, canonical_json
from fadae.store.forgotten import NOTHING, Forgotten, erased_in
from fadae.store.frames import FrameStore
from fadae.store.index_objects import ERASED_COLUMNS
from fadae.store.indexing import erase_from_index
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.paths import (
    FEATURES,
    INGESTS,
    RECONSTRUCTIONS,
    kept_source,
    marked,
    prefix_of,
    recording_key,
    staged,
)
from fadae.store.plan import Plan, erase_from_plan
from fadae.store.publication import published_plans
from fadae.store.published import PublishedRecordings
from fadae.store.staging import FEW, LedgerPage, fresh_names, ledger_pages, read_commits
from fadae.store.tombstones import ID, Tombstones

_FEW_BLOCKS = 64  # filled here, without a cluster: some 0.1 s each
_COMMITS_AT_ONCE = 512
_FLOATS = "f"  # the kind of the columns that a reconstruction has of a recording


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased, by this call or one before: recordings, and blocks with rows of theirs."""

    recordings: int = 0
    frames: int = 0
    blocks: int = 0
    gone: Forgotten = NOTHING


@dataclass(frozen=True, slots=True)
class BlankTask:
    """Rows [start, stop) of one block of a group that are to be filled."""

    location: Location
    store: str
    block: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class StagedTask:
    """A prefix of the staging area whose unpublished recordings are to be looked through."""

    page: LedgerPage
    erased: Tombstones


def erase(location: Location, tombstones: Tombstones, mapper: Mapper = map_serially) -> Erased:
    """Remove what tombstones say is to be erased; what of it is gone already stays so.

    Raises DamagedError where a block that holds it cannot be read: repair comes first.
    """
    erased = tombstones.erasing
    if not erased:
        return Erased()
    store = FrameStore.find(location, FEATURES)
    number = published_plans(store)
    plans = [one for n in range(number + 1) if (one := Plan.read(location, n)) is not None]
    pending = [plan for plan in plans if plan.header.number == number]
    planned = (one.columns for plan in pending for one in plan.recordings())
    gone = erased_in(store, tombstones, planned)
    keys = _keys(store, gone, erased, pending)
    _erase_staged(location, store, erased, keys, mapper)
    _erase_listings(location, erased)
    for plan in plans:
        erase_from_plan(plan.marked(erased))
    blocks = _erase_blocks(location, FEATURES, gone, mapper)
    if store is not None:
        rows = [row for row in gone.rows.tolist() if row < store.recording_rows]
        store.fill_recordings([f"recording_{name}" for name in ERASED_COLUMNS], rows)
        erase_from_index(store, rows)
    for name in location.names(RECONSTRUCTIONS):
        blocks += _erase_reconstruction(location, f"{RECONSTRUCTIONS}/{name}", gone, mapper)
    return Erased(len(gone), int(gone.counts.sum()), blocks, gone)


def _keys(
    store: FrameStore | None, gone: Forgotten, erased: Tombstones, pending: Iterable[Plan]
) -> list[str]:
    """Return the keys of the recordings that are published, planned or named by their ids."""
    keys = [recording_key(one) for one in erased.values(ID)]
    for plan in pending:
        tracks = (one.track for one in plan.recordings())
        keys += [recording_key(one.id) for one in tracks if erased.match(one.id, one.item)]
    if store is not None:
        published = PublishedRecordings(store)
        keys += [published.row(row).key for row in gone.rows.tolist() if row < len(published)]
    return sorted(set(keys))


def _erase_staged(
    location: Location,
    store: FrameStore | None,
    erased: Tombstones,
    keys: Iterable[str],
    mapper: Mapper,
) -> None:
    """Remove samples, commits and originals of keys, and of what is unpublished and matches."""
    _delete(location, keys)
    if len(erased.values(ID)) == len(erased):
        return  # each is known by its id
    pages = ledger_pages(location, None if store is None else PublishedRecordings(store))
    tasks = [StagedTask(page, erased) for page in pages]
    names = sum(len(found) for found in location.concurrently(fresh_names, pages))
    chosen: Mapper = map_serially if names <= FEW else mapper
    for _ in chosen(erase_page, tasks, label="erase staged", unit="prefixes"):
        pass


def erase_page(task: StagedTask) -> int:
    """Remove what is staged below a prefix and to be erased; return how many recordings."""
    page, found = task.page, list[str]()
    names = [staged(page.prefix, name) for name in fresh_names(page)]
    for batch in batched(names, _COMMITS_AT_ONCE):
        commits: list[Commit] = read_commits(page.location, batch)
        tracks = (commit.track for commit in commits)
        found += [recording_key(t.id) for t in tracks if task.erased.match(t.id, t.item)]
    _delete(page.location, found)
    return len(found)


def _delete(location: Location, keys: Iterable[str]) -> None:
    """Remove all that is staged under some keys; first the sound, which the commits tell of."""
    its = [(prefix_of(key), key) for key in keys]
    location.delete_many(
        path for folder, key in its for path in (staged(folder, f"{key}.pcm"), kept_source(key))
    )
    location.delete_many(staged(folder, f"{key}.json") for folder, key in its)
    location.delete_many(marked(folder, key) for folder, key in its)


def _erase_listings(location: Location, erased: Tombstones) -> None:
    """Leave no more than identities of what sources listed."""
    selections = (name for name in location.names(INGESTS) if not name.endswith(".json"))
    for selection in selections:
        folder = f"{INGESTS}/{selection}/tracks"
        for name in location.names(folder):
            location.change(f"{folder}/{name}", lambda data: _bare_listing(data, erased))


def _bare_listing(data: bytes | None, erased: Tombstones) -> bytes | None:
    if data is None:  # a watch has forgotten it meanwhile
        return None
    told = json.loads(data)
    tracks = [Track.from_dict(one) for one in told["tracks"]]
    if not any(erased.match(one.id, one.item) for one in tracks):
        return data
    made = [one.bare if erased.match(one.id, one.item) else one for one in tracks]
    return canonical_json({**told, "tracks": [one.to_dict() for one in made]}).encode()


def _erase_blocks(location: Location, store: str, gone: Forgotten, mapper: Mapper) -> int:
    """Fill the rows of erased sound in the blocks that are there; return how many blocks."""
    by_block: dict[int, list[tuple[int, int]]] = {}
    for start, count in zip(gone.starts.tolist(), gone.counts.tolist(), strict=True):
        row, stop = start, start + count
        while row < stop:
            block = row // BLOCK_FRAMES
            end = min(stop, (block + 1) * BLOCK_FRAMES)
            first = block * BLOCK_FRAMES
            by_block.setdefault(block, []).append((row - first, end - first))
            row = end
    if FrameStore.find(location, store) is None:
        return 0
    tasks = (
        BlankTask(location, store, block, tuple(spans)) for block, spans in sorted(by_block.items())
    )
    total = len(by_block)
    chosen: Mapper = map_serially if total <= _FEW_BLOCKS else mapper
    return sum(chosen(blank_block, tasks, label="erase", total=total, unit="shards"))


def blank_block(task: BlankTask) -> int:
    """Fill rows of one block; return 1. The unit of work: done twice, it changes nothing."""
    FrameStore.open(task.location, task.store).fill_block(task.block, task.spans)
    return 1


def _erase_reconstruction(location: Location, path: str, gone: Forgotten, mapper: Mapper) -> int:
    """Fill what a run made of erased recordings; return how many blocks that is."""
    store = FrameStore.find(location, path)
    if store is None:
        return 0
    columns = [
        name
        for name in store.names
        if name.startswith("recording_") and store.array(name).dtype.kind == _FLOATS
    ]
    store.fill_recordings(
        columns, [row for row in gone.rows.tolist() if row < store.recording_rows]
    )
    return _erase_blocks(location, path, gone, mapper)
