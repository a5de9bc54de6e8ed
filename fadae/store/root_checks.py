"""Checking what says what is published: the root, its history, the recording table, documents.

Each is compared with what it follows from: the root with plans and history, tables and fixed
arrays with plans and transform. What is wrong is replaced only if it still is what was read, so
that repair beside running drivers takes nothing back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fadae.errors import FadaeError
from fadae.records import canonical_json
from fadae.store.checks import Problem, check_array, object_problem
from fadae.store.features import FeatureSet, feature_attrs, feature_specs
from fadae.store.frames import SEAL, DamagedError, FrameStore, OvertakenError
from fadae.store.history import (
    history_path,
    keep_root,
    kept_publication,
    publication_number,
    publication_numbers,
)
from fadae.store.index_objects import RecordingRow
from fadae.store.layout import FRAME, RECORDING, RECORDINGS_PER_CHUNK, new_group
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.plan import Plan
from fadae.store.publication import planned_columns, planned_rows
from fadae.store.recording_index import index_attrs, token_of
from fadae.transform import transform_from_config

ROOT = f"{FEATURES}/zarr.json"


@dataclass(frozen=True, slots=True)
class Found:
    """A problem, and whether it was repaired."""

    problem: Problem
    repaired: bool = False


def checked_root(location: Location, *, repair: bool) -> tuple[FrameStore | None, list[Found]]:
    """Return features.zarr as published, None where it cannot be told, and what is wrong.

    A root that is missing, damaged, or older than one whose publication was kept, is repaired
    from the history. Without one, extraction publishes the plans again, after a damaged root gave
    way to one without rows. Nothing is removed: a driver may have published meanwhile.
    """
    try:
        stored, version = location.read_version(ROOT)
    except FileNotFoundError:
        if FEATURES not in location.names(""):
            return None, []
        return _restored(location, None, "missing: `fadae extract` publishes it again", repair)
    try:
        store = FrameStore.of_root(location, FEATURES, stored)
        number = publication_number(store)
    except (ValueError, KeyError, TypeError) as error:
        why = f"damaged ({error}): `fadae extract` publishes the plans again after --repair"
        found = _restored(location, version, why, repair)
        if repair and not any(one.repaired for one in found[1]):
            _begin_again(location, version)
        return found
    kept = publication_numbers(location)
    if kept and not kept[-1] <= number <= kept[-1] + 1:
        again = FrameStore.find(location, FEATURES)  # another driver may have published meanwhile
        if again is not None and publication_number(again) != number:
            return checked_root(location, repair=repair)
        why = f"of publication {number}, where {kept[-1]} was the last one"
        return _restored(location, version, why, repair, store)
    if number in kept and not _is_kept(store, number):
        return _restored(location, version, "not what was published", repair, store)
    return store, []


def _is_kept(store: FrameStore, number: int) -> bool:
    """Return whether the root is the one that was kept of its number, as far as that is sound."""
    try:
        kept = kept_publication(store.location, number)
        if kept.root == store.root:
            return True
        plan = Plan.read(store.location, number - 1)
    except (FadaeError, FileNotFoundError):
        return True  # `check_history` tells
    lengths = (store.rows, store.recording_rows) if plan is None else _lengths(plan)
    return not kept.has_lengths(*lengths)


def _restored(
    location: Location,
    version: str | None,
    why: str,
    repair: bool,
    store: FrameStore | None = None,
) -> tuple[FrameStore | None, list[Found]]:
    """Put the newest root that was kept in place of a version of it, in repair."""
    problem = Problem(ROOT, why)
    for number in publication_numbers(location)[::-1] if repair else ():
        try:
            kept = kept_publication(location, number)
        except (DamagedError, FileNotFoundError):
            continue
        location.replace(ROOT, kept.root, version)  # whoever was quicker has published since
        return FrameStore.open(location, FEATURES), [Found(problem, repaired=True)]
    return store, [Found(problem)]


def _begin_again(location: Location, version: str) -> None:
    """Put a root without rows in place of a version of it, for the transform of plan 0."""
    with contextlib.suppress(FadaeError):  # a plan that is damaged too is named of itself
        if plan := Plan.read(location, 0):
            about = (plan.header.transform, plan.header.dtype)
            specs = feature_specs(transform_from_config(about[0]), about[1])
            root = new_group(specs, feature_attrs(*about))["zarr.json"]
            location.replace(ROOT, root, version)


def restore_lost_root(location: Location) -> FrameStore | None:
    """Return features.zarr, its root restored from the history where it is gone."""
    store = FrameStore.find(location, FEATURES)
    return store or checked_root(location, repair=True)[0]


def check_history(store: FrameStore, plans: Sequence[Plan], *, repair: bool) -> Iterator[Found]:
    """Yield the kept roots that are damaged, or of other lengths than their plans say.

    Repair removes them, and keeps the root that is published now.
    """
    by_number = {plan.header.number + 1: plan for plan in plans}
    lasting = _lasting(store)
    for number in publication_numbers(store.location):
        plan, path = by_number.get(number), history_path(number)
        try:
            kept = kept_publication(store.location, number)
            other = plan is not None and not kept.has_lengths(*_lengths(plan))
            wrong = other or _lasting(kept) != lasting
        except FileNotFoundError:  # pruned meanwhile
            continue
        except DamagedError:
            wrong = True
        if wrong:
            if repair:
                store.location.delete(path)
            yield Found(Problem(path, "damaged, or of another publication"), repair)
    if repair:
        keep_root(store)


def _lasting(store: FrameStore) -> object:
    """Return what of a root no publication changes: all but lengths, their number and the index."""
    root = json.loads(store.root)
    for name in ("published_plans", "index", SEAL):
        root["attributes"].pop(name, None)
    for metadata in root["consolidated_metadata"]["metadata"].values():
        if metadata["dimension_names"][0] in (FRAME, RECORDING):
            metadata["shape"][0] = 0
    return root


def is_of_another(plan: Plan, store: FrameStore) -> bool:
    """Return whether objects of the index tell of another plan of this number."""
    index = index_attrs(store.attrs, store.recording_rows)
    if index is None:
        return False
    packs = map(token_of, index["packs"])
    named = {*packs, *(table["token"] for table in index["tables"])}
    number = plan.token.partition("-")[0]
    own = {token for token in named if token.partition("-")[0] == number}
    return bool(own) and own != {plan.token}


def check_lengths(store: FrameStore, plans: Sequence[Plan], *, repair: bool) -> Iterator[Found]:
    """Yield where the root tells of other lengths, or another transform, than its last plan."""
    plan = next((p for p in plans if p.header.number + 1 == publication_number(store)), None)
    if plan is None:
        return
    attrs = {"transform": plan.header.transform, "dtype": plan.header.dtype}
    if store.has_lengths(*_lengths(plan)) and all(
        store.attrs.get(name) == json.loads(canonical_json({"x": value}))["x"]
        for name, value in attrs.items()
    ):
        return
    if repair:
        with contextlib.suppress(OvertakenError):  # by a driver, whose root is right
            store.publish(*_lengths(plan), attrs)
    why = f"its lengths or its transform are not those of plan {plan.header.number}"
    yield Found(Problem(ROOT, why), repair)


def check_documents(location: Location, *, repair: bool) -> Iterator[Found]:
    """Yield the arrays' own documents that are not what the root says, or is about to.

    They are judged by a root that was the same before they were read and after.
    """
    store = FrameStore.open(location, FEATURES)
    while True:
        pending = pending_plan(store)
        also = [] if pending is None else [_lengths(pending)]
        differing = store.differing_documents(also)
        again = FrameStore.open(location, FEATURES) if differing else store
        later = pending_plan(again) if differing else pending
        if again.root == store.root and (later is None) == (pending is None):
            break
        store = again
    for path, (version, right) in differing.items():
        if repair:
            location.replace(path, right, version)
        yield Found(Problem(path, "missing, or not what was published"), repair)


def _lengths(plan: Plan) -> tuple[int, int]:
    """Return the frames and recordings that are published with a plan."""
    return plan.header.stop_row, plan.header.first_recording + plan.header.recordings


def check_recordings(store: FrameStore, plans: Sequence[Plan], *, repair: bool) -> Iterator[Found]:
    """Yield the objects of the recording table that are missing, damaged or not what plans say.

    A column's object is written again from plans, those made since included: their drivers may
    have put rows into it. Where a plan cannot be read only damage is found.
    """
    columns = [name for name in store.names if name.startswith("recording_")]
    later = _later_plans(store) if repair else ()
    planned = _PlannedRows(itertools.chain(plans, later))
    for first in range(0, store.recording_rows, RECORDINGS_PER_CHUNK):
        stop = min(first + RECORDINGS_PER_CHUNK, store.recording_rows)
        versions = {name: _version(store, name, first) for name in columns} if repair else {}
        # After the versions: whose plan is read now may have written before, and not since.
        rows = planned.within(first, first + RECORDINGS_PER_CHUNK)
        expected = planned_columns(rows) if len(rows) >= stop - first else {}
        for name in columns:
            path = store.object_paths(name)[first // RECORDINGS_PER_CHUNK]
            problem = _column_problem(store, name, first, stop, expected.get(name))
            if problem is None:
                continue
            repaired = repair and name in expected
            if repaired:
                store.rewrite_recordings(name, first, expected[name], versions[name])
                repaired = _column_problem(store, name, first, stop, expected[name]) is None
            yield Found(Problem(path, problem), repaired)


def _version(store: FrameStore, name: str, first: int) -> str | None:
    path = store.object_paths(name)[first // RECORDINGS_PER_CHUNK]
    try:
        return store.location.read_version(path)[1]
    except FileNotFoundError:
        return None


class _PlannedRows:
    """The rows of plans in their order, each plan read once, when it comes to it."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._rows = (
            numbered
            for plan in plans
            for numbered in enumerate(planned_rows(plan), plan.header.first_recording)
        )
        self._ahead: tuple[int, RecordingRow] | None = None

    def within(self, first: int, stop: int) -> list[RecordingRow]:
        """Return rows [first, stop) as far as plans without a gap tell them; asked for rising."""
        rows = list[RecordingRow]()
        ahead = self._ahead or next(self._rows, None)
        while ahead is not None and ahead[0] < stop:
            if ahead[0] == first + len(rows):
                rows.append(ahead[1])
            ahead = next(self._rows, None)
        self._ahead = ahead
        return rows


def _column_problem(
    store: FrameStore, name: str, first: int, stop: int, expected: list[object] | None
) -> str | None:
    path = store.object_paths(name)[first // RECORDINGS_PER_CHUNK]
    if (problem := object_problem(store, name, path)) is not None:
        return problem
    try:
        values = store.read(name, first, stop).tolist()
    except DamagedError as error:
        return f"damaged: {error}"
    if expected is not None and values != expected[: stop - first]:
        return "does not hold the recordings of the plans"
    return None


def check_fixed(store: FrameStore, *, repair: bool) -> Iterator[Found]:
    """Yield the arrays of bands that are missing, damaged, or not those of the transform."""
    attrs = FeatureSet(store).attrs
    specs = feature_specs(transform_from_config(attrs["transform"]), attrs["dtype"])
    right = new_group(specs, attrs) if repair else {}
    for spec in specs:
        if spec.values is None:
            continue
        path = store.object_paths(spec.name)[0]
        version = _version(store, spec.name, 0) if repair else None
        problems = check_array(store, spec.name)
        if not problems and not np.allclose(store.read(spec.name), spec.values, rtol=1e-9, atol=0):
            problems = [Problem(path, "is not what the transform says")]
        if problems and repair:
            store.location.replace(path, right[path.removeprefix(f"{FEATURES}/")], version)
        yield from (Found(problem, repair) for problem in problems)


def _later_plans(store: FrameStore) -> Iterator[Plan]:
    """Yield the plans after those that the root tells of."""
    number = publication_number(store)
    with contextlib.suppress(FadaeError):  # damaged: extraction names it
        while plan := Plan.read(store.location, number):
            yield plan
            number += 1


def pending_plan(store: FrameStore) -> Plan | None:
    """Return the plan that comes after those published, if a driver has made one."""
    return next(_later_plans(store), None)
