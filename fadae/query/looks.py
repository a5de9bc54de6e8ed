"""How far a workspace is, seen in few requests: whole where little is there, else from samples.

A million recordings have a million marks and commits; a thousand listings tell no more than eight
folders of 256 do, over which hashes spread them evenly.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fadae.archive import Page
from fadae.records import Commit
from fadae.store import (
    FrameStore,
    Location,
    PublishedRecordings,
    Tombstones,
    paths,
    published_plans,
    read_commits,
    read_tombstones,
)

FEW = 256  # objects that are looked at one by one
_LISTED = 4096  # names that are listed whole
_FOLDERS = 8  # of 256, of more names
_LISTINGS = 16  # pages of a listing that are read
_WINDOW_SECONDS = 600.0  # that a rate is of


@dataclass(frozen=True, slots=True)
class Look:
    """A count, whether it is exact, and how fast it grows."""

    count: int
    is_exact: bool = True
    rate: float | None = None  # a second, of the last minutes; None where nothing came
    last_seconds: float | None = None  # since 1970; of the sample, where it is not exact


def look_of(times: Sequence[float], count: int, is_exact: bool, now: float) -> Look:
    """Return the look at `count` objects, of which a sample was written at these times.

    >>> look_of([0.0, 900.0, 960.0, 1000.0], 8, False, 1000.0)
    Look(count=8, is_exact=False, rate=0.01, last_seconds=1000.0)
    """
    known = [time for time in times if math.isfinite(time)]
    if not known:
        return Look(count, is_exact)
    now = max(now, *known)  # a bucket's clock may be ahead of this one
    window = min(_WINDOW_SECONDS, now - min(known))
    recent = sum(now - time < window for time in known)
    rate = recent * count / len(times) / window if recent and window else None
    return Look(count, is_exact, rate, max(known))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What staging holds: recordings decoded and failed, published ones among them or not."""

    decoded: Look
    failed: int
    unpublished: int  # and not forgotten
    seconds: float  # of audio, of a recording on average, 0 where none was looked at


def look_at_ledger(location: Location, store: FrameStore | None, now: float) -> Ledger:
    """Return how many recordings are decoded and how many failed, in at most 600 requests."""
    published = store.recording_rows if store is not None else 0
    is_marked = published > 0 and location.exists(f"{paths.MARKS}/{paths.ALL_MARKED}")
    folder = paths.MARKS if is_marked else paths.STAGING
    keys, found = _spread(location, folder, "" if is_marked else ".json", now)
    sample = keys[:: max(1, len(keys) // FEW)][:FEW]
    commits = _commits(location, sample)
    stale = set[str]()
    if published and store is not None:
        stale = PublishedRecordings(store).published_keys(sample)
    failed = sum(commit.failure is not None for commit in commits)
    fresh = [c for c in commits if c.decoded and paths.recording_key(c.id) not in stale]
    forgotten = read_tombstones(location) if fresh else Tombstones()
    hidden = sum(forgotten.match(c.track.id, c.track.item) for c in fresh)
    scale = found.count / max(1, len(sample))
    seconds = [commit.decoded.seconds for commit in commits if commit.decoded is not None]
    new = round(len(fresh) * scale) if is_marked or not published else 0
    if published and not is_marked:  # by an earlier fadae: all commits tell, published or not
        new = max(0, round(sum(c.decoded is not None for c in commits) * scale) - published)
    decoded = Look(
        published + new,
        found.is_exact and len(sample) == len(keys),
        found.rate,
        found.last_seconds,
    )
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    return Ledger(decoded, round(failed * scale), max(0, new - round(hidden * scale)), mean)


def _commits(location: Location, keys: Iterable[str]) -> list[Commit]:
    return read_commits(
        location, (paths.staged(paths.prefix_of(key), f"{key}.json") for key in keys)
    )


def _spread(location: Location, folder: str, suffix: str, now: float) -> tuple[list[str], Look]:
    """Return keys below a folder of 256, all or some of them, and how many there are."""
    every = [name for name in location.names(folder) if name in set(paths.PREFIXES)]
    first = every[:: max(1, len(every) // _FOLDERS)][:_FOLDERS]
    listed = _listed(location, folder, first, suffix)
    chosen = first
    if len(listed) * len(every) <= _LISTED * max(1, len(first)):
        rest = [prefix for prefix in every if prefix not in set(first)]
        listed |= _listed(location, folder, rest, suffix)
        chosen = every
    count = round(len(listed) * len(every) / max(1, len(chosen)))
    times = list(listed.values())
    return sorted(listed), look_of(times, count, chosen == every, now)


def _listed(location: Location, folder: str, prefixes: list[str], suffix: str) -> dict[str, float]:
    """Return when each key below some prefixes was written."""
    folders = [f"{folder}/{prefix}" for prefix in prefixes]
    return {
        path.removesuffix(suffix): found.modified_seconds
        for below in location.concurrently(location.found_below, folders)
        for path, found in below.items()
        if path.endswith(suffix)
    }


def look_at_listings(location: Location) -> Look:
    """Return how many recordings the selections list; not exact where more may come."""
    names = location.names(paths.INGESTS)
    finished = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    begun = [name for name in names if not name.endswith(".json") and name not in finished]
    documents = [f"{paths.INGESTS}/{name}.json" for name in sorted(finished)]
    told = [json.loads(data) for data in location.read_many(documents)]
    count = sum(one["ok"] + one["transient"] + one["permanent"] for one in told)
    is_exact = len(told) <= 1
    for name in begun:
        if name != "folders":
            one = _look_at_listing(location, f"{paths.INGESTS}/{name}")
            count, is_exact = count + one.count, is_exact and one.is_exact and not told
    return Look(count, is_exact)


def _look_at_listing(location: Location, listing: str) -> Look:
    """Return how many recordings an unfinished selection has listed so far."""
    pages, tracks = (location.names(f"{listing}/{part}") for part in ("pages", "tracks"))
    chosen = tracks[:: max(1, len(tracks) // _LISTINGS)]
    documents = [f"{listing}/tracks/{name}" for name in chosen]
    told = [json.loads(data) for data in location.read_many(documents)]
    count = sum(len(one["tracks"]) + len(one["failures"]) for one in told)
    is_last = (
        bool(pages) and Page.from_json(location.read_bytes(f"{listing}/pages/{pages[-1]}")).is_last
    )
    is_exact = is_last and len(tracks) == len(pages) and len(chosen) == len(tracks)
    return Look(round(count * len(tracks) / max(1, len(chosen))), is_exact)


def look_at_blocks(store: FrameStore, blocks: range, plan: str, now: float) -> Look:
    """Return how many of some blocks are complete under the plans whose tokens begin so."""
    tokens = [name for name in store.location.names(store.marks) if name.startswith(plan)]
    chosen = blocks[:: max(1, -(-len(blocks) // FEW))]
    ask = functools.partial(store.block_written_seconds, under=tokens[::-1])
    times = [time for time in store.location.concurrently(ask, chosen) if time is not None]
    count = round(len(times) * len(blocks) / max(1, len(chosen)))
    return look_of(times, count, len(chosen) == len(blocks), now)


def last_lines(location: Location, path: str, most_bytes: int = 2**16) -> list[bytes]:
    """Return the whole lines at an object's end; empty where there is none."""
    try:
        size = location.size_bytes(path)
        start = max(0, size - most_bytes)
        data = location.read_bytes(path, start, size)
    except FileNotFoundError:
        return []
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return lines[1:] if start else lines


def next_plan(store: FrameStore | None) -> str:
    """Return how the tokens of the plan begin that is to be published next."""
    return f"{published_plans(store):05d}-"
