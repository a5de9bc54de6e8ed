"""Removing what a workspace can do without, and nothing that anybody may still need.

What goes is provably spare: a newer checkpoint is whole, a later publication does not name it, its
samples read back from where they are published, no plan covers it. What may be being written, by
another process this very moment, is left alone; where only its age tells, it is left for a day.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fadae.records import PrunedKind
from fadae.store import (
    BLOCK_FRAMES,
    FEATURES,
    FEW,
    PARTIAL,
    FrameStore,
    Location,
    Mapper,
    Plan,
    PublishedRecordings,
    history_path,
    map_serially,
    paths,
    publication_numbers,
    published_plans,
    release_published,
    superseded,
)
from fadae.summaries import PruneSummary

KEPT = ("newest", "best")
ABANDONED_SECONDS = 86_400.0  # nothing that is being written is as old; no clock is as wrong
CHECKPOINTS, INDEX, BLOCKS, PARTIALS = "checkpoints", "index", "blocks", "partial"
HISTORY = "history"
KINDS = (paths.STAGING, CHECKPOINTS, INDEX, HISTORY, BLOCKS, paths.PLANS, PARTIALS)


@dataclass(frozen=True, slots=True)
class PrefixTask:
    """One of the 256 folders of the staging area, to be pruned, or only looked at."""

    location: Location
    prefix: str
    keep_staging: bool
    dry_run: bool
    written_before: float


@dataclass(frozen=True, slots=True)
class Spare:
    """Objects of a kind, and what they take."""

    kind: str
    objects: int
    size_bytes: int


def prune(
    workspace: Location | str,
    *,
    keep: str = "newest",
    keep_staging: bool = False,
    dry_run: bool = False,
    abandoned_seconds: float = ABANDONED_SECONDS,
    mapper: Mapper = map_serially,
) -> PruneSummary:
    """Remove what is spare, or with `dry_run` only count it; return how much of which kind.

    Of the publications that were kept those stay that a run was trained on, and the last one.

    Of each run the newest whole checkpoint stays, and its best weights where it needs them, with
    `keep="best"` always. Blocks without a plan and files that a killed process left half written
    go when they are older than `abandoned_seconds`. Raises NoInputError where nothing is here.
    """
    location = Location.of(workspace)
    location.ensure_writable()
    location.ensure_workspace()
    before = time.time() - abandoned_seconds
    spare = [*_checkpoints(location, keep, dry_run), *_partials(location, before, dry_run)]
    store = FrameStore.find(location, FEATURES)
    if store is not None:
        for kind, found in _of_features(store, before):
            spare.append(_removed(location, kind, found, dry_run))
        tasks = (
            PrefixTask(location, prefix, keep_staging, dry_run, before)
            for prefix in sorted(set(location.names(paths.STAGING)) & set(paths.PREFIXES))
        )
        chosen: Mapper = map_serially if store.recording_rows <= FEW else mapper
        for pruned in chosen(prune_prefix, tasks, label="prune staging", unit="folders"):
            spare += pruned
    objects, size_bytes = Counter[str](), Counter[str]()
    for one in spare:
        objects[one.kind] += one.objects
        size_bytes[one.kind] += one.size_bytes
    kinds: dict[str, PrunedKind] = {
        kind: {"objects": objects[kind], "bytes": size_bytes[kind]} for kind in KINDS
    }
    return PruneSummary(dry_run, size_bytes.total(), objects.total(), kinds)


def prune_prefix(task: PrefixTask) -> list[Spare]:
    """Remove the staged PCM that is published below one prefix: the unit of work."""
    location, folder = task.location, paths.staged(task.prefix)
    found = location.found_below(folder)
    partial = {
        f"{folder}/{name}": one.size_bytes
        for name, one in found.items()
        if name.startswith(PARTIAL) and one.modified_seconds < task.written_before
    }
    spare = [_removed(location, PARTIALS, partial, task.dry_run)]
    if task.keep_staging:
        return spare
    pcm = {
        name.removesuffix(".pcm"): one.size_bytes
        for name, one in found.items()
        if name.endswith(".pcm") and not name.startswith(PARTIAL)
    }
    store = FrameStore.open(location, FEATURES)
    rows = PublishedRecordings(store).by_key(pcm)
    kept = set() if task.dry_run else release_published(location, (r for _, r in rows.values()))
    gone = [pcm[key] for key in rows if key not in kept]
    return [*spare, Spare(paths.STAGING, len(gone), sum(gone))]


def _removed(location: Location, kind: str, objects: dict[str, int], dry_run: bool) -> Spare:
    """Remove objects, given by path with their sizes, unless it is only to be told."""
    if not dry_run:
        location.delete_many(objects)
    return Spare(kind, len(objects), sum(objects.values()))


def _checkpoints(location: Location, keep: str, dry_run: bool) -> Iterator[Spare]:
    """Remove each run's checkpoints before the newest whole one."""
    runs = location.names(paths.RUNS)
    if not runs:
        return
    from fadae.training import Checkpoints, run_config  # torch comes in with them

    for run in runs:
        config, folder = run_config(location, run), paths.run_path(run, "checkpoints")
        stops_early = config is not None and config["recipe"].get("early_stopping") is not None
        checkpoints = Checkpoints(location, folder, keep=1)
        for name in checkpoints.superseded(keep_best=keep == "best" or stops_early):
            objects = location.found_below(f"{folder}/{name}")
            if not dry_run:
                location.delete(f"{folder}/{name}")
            yield Spare(CHECKPOINTS, len(objects), sum(o.size_bytes for o in objects.values()))


def _of_features(store: FrameStore, before: float) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield what nobody reads any more of features.zarr, by kind: paths and sizes.

    Blocks are listed before the root and the plan are read: those listed that neither covers are
    of no plan that is filled now.
    """
    location = store.location
    listed = {name: location.names(f"{FEATURES}/{name}/c") for name in store.frame_names}
    prints = location.names(f"{paths.PRINTS}/blocks")
    tokens = location.names(store.marks)
    store = FrameStore.open(location, FEATURES)
    number = published_plans(store)
    yield INDEX, _sized(location, superseded(store, number))
    from fadae.query import trained_on

    named = {number, *trained_on(location)}
    old = [n for n in publication_numbers(location) if n < number and n not in named]
    yield HISTORY, _sized(location, map(history_path, old))
    plan = Plan.read(location, number)
    stop = -(-store.rows // BLOCK_FRAMES) if plan is None else plan.blocks.stop
    beyond = [
        store.block_path(name, int(block))
        for name, blocks in listed.items()
        for block in blocks
        if block.isdigit() and int(block) >= stop
    ]
    numbers = (int(block) for block in prints if block.isdecimal())
    beyond += [paths.print_path(block) for block in numbers if block >= stop]
    yield BLOCKS, _sized(location, beyond, before)
    yield paths.PLANS, dict(_abandoned_marks(location, store, tokens, number))


def _abandoned_marks(
    location: Location, store: FrameStore, tokens: Iterable[str], number: int
) -> Iterator[tuple[str, int]]:
    """Yield the marks of blocks that were written under a plan another one was published for."""
    by_plan: dict[str, list[str]] = {}
    for token in tokens:
        by_plan.setdefault(token.partition("-")[0], []).append(token)
    for of, its in by_plan.items():
        if len(its) < 2 or not of.isdigit() or int(of) >= number:
            continue
        plan = Plan.read(location, int(of))
        if plan is None:
            continue
        for folder in (f"{store.marks}/{token}" for token in its if token != plan.token):
            for name, found in location.found_below(folder).items():
                yield f"{folder}/{name}", found.size_bytes


def _sized(
    location: Location, objects: Iterable[str], before: float | None = None
) -> dict[str, int]:
    """Return objects that are there with their sizes; only those written before a moment."""

    def look(path: str) -> tuple[str, int] | None:
        try:
            old = before is None or location.modified_seconds(path) < before
            return (path, location.size_bytes(path)) if old else None
        except FileNotFoundError:
            return None

    return dict(one for one in location.concurrently(look, objects) if one is not None)


def _partials(location: Location, before: float, dry_run: bool) -> Iterator[Spare]:
    """Remove what killed processes left half written of runs and plans."""
    for folder in (paths.RUNS, paths.PLANS):
        found = location.found_below(folder)
        old = {
            f"{folder}/{name}": one.size_bytes
            for name, one in found.items()
            if name.rpartition("/")[2].startswith(PARTIAL) and one.modified_seconds < before
        }
        yield _removed(location, PARTIALS, old, dry_run)
