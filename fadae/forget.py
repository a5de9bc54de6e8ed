"""Forgetting recordings: tombstones that everything honours, and the removal of their bytes.

A model that has learned from a recording does not unlearn it: `learned` names such runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence

from fadae.query import Workspace
from fadae.similarity import erase_derived
from fadae.store import (
    FEATURES,
    Erased,
    FrameStore,
    Location,
    Mapper,
    PublishedRecordings,
    Tombstone,
    Tombstones,
    erase,
    keep_forgotten,
    map_serially,
    paths,
    publish_listing,
    read_tombstones,
    write_tombstones,
)
from fadae.summaries import ForgetSummary

log = logging.getLogger("fadae.forget")


def forget(
    workspace: Location | str,
    targets: Sequence[str],
    reason: str,
    *,
    by: str = "",
    erase_bytes: bool = False,
    mapper: Mapper = map_serially,
) -> ForgetSummary:
    """Write a tombstone for each id, item or pattern, and with `erase_bytes` remove what is kept.

    What was forgotten so before stays as it is; an erasure that was stopped goes on. Without
    targets nothing is written, and the erasures that were asked for before are looked through.
    Raises UsageError where a target or the reason is none, NoInputError where there is no
    workspace, DamagedError where what holds a recording cannot be read.
    """
    location = Location.of(workspace)
    location.ensure_workspace()
    asked = [_tombstone(location, one, reason, by, erase_bytes) for one in targets]
    new = write_tombstones(location, asked)
    tombstones = read_tombstones(location)
    erased = Erased()
    if erase_bytes:
        location.ensure_conditions()
        erased = erase(location, tombstones, mapper)
        erase_derived(location, erased.gone)
        _erase_written(location, tombstones.erasing)
    store = FrameStore.find(location, FEATURES)
    hidden = 0 if store is None else len(keep_forgotten(store))
    publish_listing(location)  # so that readers behind a web server hear of it
    return ForgetSummary(
        tombstones=len(tombstones),
        new=new,
        recordings=hidden,
        erased_recordings=erased.recordings,
        erased_frames=erased.frames,
        erased_blocks=erased.blocks,
        learned=Workspace(location).learned_forgotten(),
    )


def _tombstone(
    location: Location, target: str, reason: str, by: str, erase_bytes: bool
) -> Tombstone:
    """Return the tombstone of a target; one that is a recording's very id is no pattern."""
    made = Tombstone.of(target, reason, by, erase=erase_bytes)
    if "/" in target and made.kind != "id" and _is_id(location, target):
        made = Tombstone.of(target, reason, by, erase=erase_bytes, kind="id")
    return made


def _is_id(location: Location, target: str) -> bool:
    if location.exists(paths.commit_path(target)):
        return True
    store = FrameStore.find(location, FEATURES)
    return store is not None and PublishedRecordings(store).find(target) is not None


def _erase_written(location: Location, erased: Tombstones) -> None:
    """Remove reports and comparisons that tell of what is erased: they are made again as before."""
    for run in location.names(paths.REPORTS):
        folder = paths.report_path(run)
        scores = f"{folder}/scores.json"
        if _tells(location, scores, erased):
            others = (f"{folder}/{name}" for name in location.found_below(folder))
            location.delete_many(path for path in others if path != scores)
            location.delete(folder)  # what told of it comes last
            log.info("removed %s, which told of what is erased", folder)
    for name in location.names(paths.COMPARISONS):
        path = f"{paths.COMPARISONS}/{name}"
        if _tells(location, path, erased):
            location.delete(path)
            log.info("removed %s, which told of what is erased", path)


def _tells(location: Location, path: str, erased: Tombstones) -> bool:
    """Return whether a document names a recording that is erased; unreadable, it may."""
    try:
        told = json.loads(location.read_bytes(path))
    except (FileNotFoundError, ValueError, RecursionError):
        return True
    return any(erased.match(one, one.partition("/")[0]) for one in _ids(told))


def _ids(told: object) -> Iterator[str]:
    """Yield every text that a document has under the key id."""
    if isinstance(told, dict):
        if isinstance(told.get("id"), str):
            yield told["id"]
        for inner in told.values():
            yield from _ids(inner)
    elif isinstance(told, list):
        for inner in told:
            yield from _ids(inner)
