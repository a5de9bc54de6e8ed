"""Letting staged PCM go: it is published, and reads back with the SHA-256 of its commit.

Commits stay. Rows of the recording table below the number in features.zarr/audio/released.json are
done with, so what it takes goes with what came since. What is staged again, to mend damaged audio,
has a mark; it goes when its samples read back as they were.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fadae.records import Commit, canonical_json
from fadae.store.frames import FrameStore
from fadae.store.index_objects import RecordingRow
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.paths import FEATURES, RELEASED, marked, prefix_of, staged
from fadae.store.published import PublishedRecordings
from fadae.store.samples import (
    RECORDINGS_A_TASK,
    SamplesTask,
    StoredSamples,
    samples_problem,
    samples_tasks,
)
from fadae.store.staging import forget_marks

log = logging.getLogger("fadae.store")

_ROWS_A_WINDOW = 16384  # released before that is put down


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording whose staged PCM cannot go, and why."""

    key: str
    why: str


def release_samples(task: SamplesTask) -> list[Kept]:
    """Remove the staged PCM of recordings whose samples read back as decoded; return the others.

    The unit of work. What is gone already is not looked at: done twice, it does nothing.
    """
    location = task.location
    store = FrameStore.open(location, FEATURES)
    done, kept = list[str](), list[Kept]()
    for one in task.recordings:
        pcm = staged(prefix_of(one.key), f"{one.key}.pcm")
        if not location.exists(pcm):
            continue
        if why := _changed(location, one) or samples_problem(store, one):
            kept.append(Kept(one.key, why))
        else:
            done.append(pcm)
    location.delete_many(done)
    return kept


def _changed(location: Location, one: StoredSamples) -> str | None:
    """Return how a recording's commit differs from what is published, if it does."""
    try:
        decoded = Commit.from_json(
            location.read_bytes(staged(prefix_of(one.key), f"{one.key}.json"))
        ).decoded
    except FileNotFoundError:
        return "it has no commit"
    same = decoded is not None and decoded.pcm_sha256 == one.pcm_sha256
    return None if same else "what was decoded since is not what is published"


def release_staging(
    store: FrameStore, stale: Iterable[str] = (), mapper: Mapper = map_serially
) -> None:
    """Remove the staged PCM of all published recordings that is there, each read back first.

    `stale` are keys of published recordings that have a mark. Killed anywhere, the next call goes
    on and ends the same; two at once do too.
    """
    location, published = store.location, PublishedRecordings(store)
    done, again = released(location), set(stale)
    for low in range(done, len(published), _ROWS_A_WINDOW):
        high = min(low + _ROWS_A_WINDOW, len(published))
        rows = [StoredSamples.of(row) for row in published.every(low, high)]
        told = again.intersection(row.key for row in rows)
        forget_marks(location, told)
        again -= told
        for key in _release(location, rows, mapper):
            location.write_bytes(marked(prefix_of(key), key), b"")  # to be looked at again
        location.write_bytes(RELEASED, canonical_json({"recordings": high}).encode())
    rows = [StoredSamples.of(row) for _, row in published.by_key(again).values()]
    if rows:
        kept = set(_release(location, rows, mapper))
        forget_marks(location, (row.key for row in rows if row.key not in kept))


def release_published(location: Location, rows: Iterable[RecordingRow]) -> set[str]:
    """Remove the staged PCM of some published recordings; return the keys of those that stay."""
    return set(_release(location, [StoredSamples.of(row) for row in rows], map_serially))


def _release(location: Location, rows: list[StoredSamples], mapper: Mapper) -> Iterator[str]:
    """Yield the keys of those whose staged PCM could not go, and say why."""
    tasks, total = samples_tasks(location, rows), -(-len(rows) // RECORDINGS_A_TASK)
    for kept in mapper(release_samples, tasks, label="release", total=total, unit="parts"):
        for one in kept:
            log.warning("the staged PCM of %s stays: %s", one.key, one.why)
            yield one.key


def released(location: Location) -> int:
    """Return up to which row of the recording table staged PCM was let go."""
    try:
        return int(json.loads(location.read_bytes(RELEASED))["recordings"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # looked at again, no harm
        return 0
