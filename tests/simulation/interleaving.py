"""One interleaving, by one number: what is drawn from it, what it does, what is found."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from fadae.errors import FadaeError
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.plan import Plan
from fadae.store.verify import verify
from tests.simulation.bucket import Bucket, BucketLocation
from tests.simulation.scheduler import Event, Scheduler, Turn, Wrong, drawn_turns, simpler
from tests.simulation.world import (
    READINGS,
    ROOT,
    Setting,
    extracts,
    ingest,
    keeps,
    prepared,
    prunes,
    repairs,
)


@dataclass(frozen=True)
class Failure:
    """An interleaving that something is wrong with."""

    seed: int
    wrong: str
    setting: Setting
    turns: list[Turn]
    trace: list[Event]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.wrong}", f"  {self.setting}"]
        lines += [f"  {turn}" for turn in self.turns]
        lines += [f"  {line}" for line in _told(self.trace)]
        return "\n".join(lines)


def _told(trace: list[Event]) -> Iterator[str]:
    """Yield what happened: what only reads is counted, what writes many objects is cut short."""
    for (process, fate), group in itertools.groupby(trace, lambda e: (e.process, e.fate)):
        said = list[str]()
        for what, events in itertools.groupby(group, lambda e: "" if e.is_read and not fate else e.what):
            paths = [event.path for event in events]
            if not what:
                said.append(f"({len(paths)} reads)")
                continue
            if len(paths) > 3:
                paths[1:-1] = [f"... ({len(paths)} in all)"]
            said.append(" ".join(filter(None, [what, ", ".join(paths), fate.upper()])))
        yield f"{process} {'; '.join(said)}"


def interleave(seed: int) -> Failure | None:
    """Run the interleaving of a number; return what it breaks, as simply as it breaks it."""
    drawn = random.Random(seed)
    setting = Setting.drawn(drawn)
    turns = drawn_turns(drawn, len(setting.commands))
    if played(seed, setting, turns) is None:
        return None
    turns = simpler(turns, lambda fewer: played(seed, setting, fewer) is not None)
    return played(seed, setting, turns)


def played(seed: int, setting: Setting, turns: list[Turn]) -> Failure | None:
    """Return what is wrong with an interleaving."""
    bucket = prepared(setting.published, setting.staged, setting.keep).copy()
    roots = _Roots(bucket)
    scheduler = Scheduler(bucket, setting.processes(), roots.check)
    if setting.damage:
        setting.damage.do(bucket)
        roots.reads = False
        scheduler.passing = (FadaeError,)
    try:
        scheduler.play(turns)
        scheduler.trace.append(Event("all of it", "is run again, undisturbed"))
        _ensure_the_same(bucket, setting, roots)
    except Wrong as wrong:
        return Failure(seed, str(wrong), setting, turns, scheduler.trace)
    return None


class _Roots:
    """Every root there was; none may be set back, and all must go on to read right."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.wrong = bucket, ""
        self.roots = list[bytes]()
        self.reads = True  # whether they must read right, and not only stand
        self._last = (0, 0, 0)
        bucket.watch = self._see
        if ROOT in bucket.objects:
            self._see(ROOT, bucket.objects[ROOT].data)

    def _see(self, path: str, data: bytes | None) -> None:
        if path != ROOT:
            return
        if data is None:
            self.wrong = self.wrong or "the root is removed"
            return
        root = json.loads(data)
        arrays = root["consolidated_metadata"]["metadata"]
        lengths = (arrays[name]["shape"][0] for name in ("features", "recording_id"))
        told = (root["attributes"]["published_plans"], *lengths)
        if any(new < old for new, old in zip(told, self._last, strict=True)):
            self.wrong = self.wrong or f"the root is set back from {self._last} to {told}"
        self._last = told
        if data not in self.roots:
            self.roots.append(data)

    def check(self) -> None:
        if self.wrong:
            raise Wrong(self.wrong)
        for root in self.roots if self.reads else ():
            READINGS.ensure_right(self.bucket, root)


def _ensure_the_same(bucket: Bucket, setting: Setting, roots: _Roots) -> None:
    """Run what was begun again, undisturbed: it must end as if nothing had ever disturbed it."""
    location = BucketLocation(bucket)
    _quietly(bucket, setting)
    roots.reads = True
    roots.check()
    everybody = {*setting.staged, *setting.arriving, *(i for b in setting.published for i in b)}
    ids = READINGS.ensure_right(bucket, bucket.objects[ROOT].data)
    if set(ids) != everybody:
        raise Wrong(f"published are {sorted(ids)}, not {sorted(everybody)}")
    if problems := _problems(bucket):
        raise Wrong(f"verify finds {problems}")
    plans = tuple(_plans(location))
    if plans[: len(setting.published)] != setting.published:
        raise Wrong(f"the plans are {plans}, not {setting.published} and more")
    expected = _undisturbed(plans, setting.keep)
    differ = {path for path, _ in bucket.state() ^ expected.state()}
    if differ:
        raise Wrong(f"not the bytes of an undisturbed run: {sorted(differ)}")


def _quietly(bucket: Bucket, setting: Setting) -> None:
    location = BucketLocation(bucket)
    try:
        if setting.damage:
            repairs(location)
        ingest(location, *setting.arriving)
        (keeps if setting.keep else extracts)(location)
        bucket.seconds += 1e6
        prunes(location, setting.keep)
    except Exception as error:  # noqa: BLE001 - any is one too many
        raise Wrong(f"running it again fails: {error!r}") from error


_verified: dict[frozenset[tuple[str, str]], list[str]] = {}


def _problems(bucket: Bucket) -> list[str]:
    state = bucket.state()
    if state not in _verified:
        found = verify(BucketLocation(bucket))["problems"]
        _verified[state] = [f"{one['path']}: {one['problem']}" for one in found]
    return _verified[state]


def _plans(location: Location) -> Iterator[tuple[str, ...]]:
    number = 0
    while plan := Plan.read(location, number):
        yield tuple(one.track.id for one in plan.recordings())
        number += 1


@functools.cache
def _undisturbed(plans: tuple[tuple[str, ...], ...], keep: bool) -> Bucket:
    """Return the bucket of a workspace that was published so, one plan after the other."""
    bucket = prepared(plans, (), keep).copy()
    bucket.seconds += 1e6
    prunes(BucketLocation(bucket), keep)
    return bucket
