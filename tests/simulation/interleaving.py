"""An interleaving: what a number stands for, what it does, and whether all holds that must."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fadae.errors import FadaeError
from fadae.store.history import open_publication
from fadae.store.location import Location
from fadae.store.paths import FEATURES, PLANS
from fadae.store.plan import Plan
from fadae.store.verify import verify
from tests.simulation.bucket import Bucket, BucketLocation
from tests.simulation.scheduler import ROOT, Event, Scheduler, Turn, Wrong, drawn_turns, fewer
from tests.simulation.world import (
    READINGS,
    Damage,
    Setting,
    extracts,
    ingest,
    keeps,
    prepared,
    prunes,
    repairs,
)


@dataclass(frozen=True)
class Outcome:
    """What an interleaving did, and what is wrong with that, if anything."""

    setting: Setting
    turns: Sequence[Turn]
    trace: list[Event]
    wrong: str

    def __str__(self) -> str:
        lines = [self.wrong or "nothing wrong", f"  {self.setting}"]
        lines += [f"  {turn}" for turn in self.turns]
        lines += [f"  {line}" for line in _told(self.trace)]
        return "\n".join(lines)


def _told(trace: list[Event]) -> Iterator[str]:
    """Yield what happened: what only reads is counted, what writes many objects is cut short."""
    for (process, fate), group in itertools.groupby(trace, lambda e: (e.process, e.fate)):
        said = list[str]()
        for what, events in itertools.groupby(group, Event.summed_up):
            paths = [event.path for event in events]
            if not what:
                said.append(f"({len(paths)} reads)")
                continue
            if len(paths) > 3:
                paths[1:-1] = [f"... ({len(paths)} in all)"]
            said.append(" ".join(filter(None, [what, ", ".join(paths), fate.upper()])))
        yield f"{process} {'; '.join(said)}"


def interleaving(seed: int) -> tuple[Setting, list[Turn]]:
    """Return what a number stands for."""
    drawn = random.Random(seed)
    setting = Setting.drawn(drawn)
    return setting, drawn_turns(drawn, len(setting.commands))


def play(setting: Setting, turns: Sequence[Turn]) -> Outcome:
    """Run an interleaving, and then all that was begun in it again."""
    bucket = prepared(setting.published, setting.staged, setting.keep).copy()
    roots = _Roots(bucket, reads=setting.damage is None)
    scheduler = Scheduler(bucket, setting.processes(), roots.check)
    if setting.damage:
        bucket.watch = None  # nobody published that
        setting.damage.do(bucket)
        bucket.watch = roots.see
        scheduler.passing = (FadaeError,)
    wrong = ""
    try:
        scheduler.play(turns)
        scheduler.trace.append(Event("all of it", "is run again, undisturbed"))
        _ensure_the_same(bucket, setting, roots)
        if setting.injected is not None:
            _ensure_found(bucket, setting.injected)
    except Wrong as error:
        wrong = str(error)
    return Outcome(setting, turns, scheduler.trace, wrong)


def simplest(outcome: Outcome) -> Outcome:
    """Return an outcome that is wrong with fewer turns, and quieter ones."""
    for turns in fewer(outcome.turns):
        if (simpler := play(outcome.setting, turns)).wrong:
            return simplest(simpler)
    return outcome


class _Roots:
    """Every root there was; none may be set back, and all must go on to read right."""

    def __init__(self, bucket: Bucket, *, reads: bool) -> None:
        self.bucket, self.wrong = bucket, ""
        self.roots = list[bytes]()
        self.reads = reads  # whether they must read right, and not only stand
        self._last = (0, 0, 0)
        bucket.watch = self.see
        if ROOT in bucket.objects:
            self.see(ROOT, bucket.objects[ROOT].data)
        self.first = self._last[0]

    def see(self, path: str, data: bytes | None) -> None:
        if path != ROOT:
            return
        root = _json(data)
        if root is None:  # whoever repairs a damaged one may remove it
            self.wrong = self.wrong or "the root is no root any more" if self.reads else ""
            return
        arrays = root["consolidated_metadata"]["metadata"]
        lengths = (arrays[name]["shape"][0] for name in ("features", "recording_id"))
        told = (root["attributes"]["published_plans"], *lengths)
        if any(new < old for new, old in zip(told, self._last, strict=True)):
            self.wrong = self.wrong or f"the root is set back from {self._last} to {told}"
        self._last = told
        if data is not None and data not in self.roots:
            self.roots.append(data)

    def check(self) -> None:
        if self.wrong:
            raise Wrong(self.wrong)
        for root in self.roots if self.reads else ():
            READINGS.ensure_right(self.bucket, root)

    def check_history(self) -> None:
        """Ensure that each publication opens as it was published."""
        location = BucketLocation(self.bucket)
        for number in range(1, self._last[0] + 1):
            try:
                root = open_publication(location, number).root
            except FadaeError as error:
                raise Wrong(f"publication {number} does not open: {error}") from error
            READINGS.ensure_right(self.bucket, root)
            if number >= self.first and root not in self.roots:
                raise Wrong(f"publication {number} opens on a root that never was")


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data or b"")
    except ValueError:
        return None


def _ensure_the_same(bucket: Bucket, setting: Setting, roots: _Roots) -> None:
    """Run what was begun again, undisturbed: it must end as if nothing had ever disturbed it."""
    _quietly(bucket, setting)
    roots.reads = True
    roots.check()
    if "prune" not in setting.commands and not setting.damage:
        roots.check_history()
    bucket.seconds += 1e6
    prunes(BucketLocation(bucket), setting.keep)
    ids = READINGS.ensure_right(bucket, bucket.objects[ROOT].data)
    if sorted(ids) != sorted(setting.everybody):
        raise Wrong(f"published are {sorted(ids)}, not {sorted(setting.everybody)}")
    if problems := _problems(bucket):
        raise Wrong(f"verify finds {problems}")
    plans = tuple(_plans(BucketLocation(bucket)))
    if plans[: len(setting.published)] != setting.published:
        raise Wrong(f"the plans are {plans}, not {setting.published} and more")
    expected = _undisturbed(plans, setting.keep)
    differ = {path for path, _ in bucket.state() ^ expected.state()}
    # A removal that arrives late may take a mark along: its block would be computed again.
    differ -= {path for path in differ - bucket.objects.keys() if "/blocks/" in path}
    if differ:
        raise Wrong(f"not the bytes of an undisturbed run: {sorted(differ)}")


def _quietly(bucket: Bucket, setting: Setting) -> None:
    location, again = BucketLocation(bucket), keeps if setting.keep else extracts
    try:
        if setting.damage:  # what a repair lost the samples of is ingested again, for another
            repairs(location)
            ingest(location, *setting.everybody)
            repairs(location)
        ingest(location, *setting.arriving)
        again(location)
    except Exception as error:
        raise Wrong(f"running it again fails: {error!r}") from error


def _ensure_found(bucket: Bucket, seed: int) -> None:
    """Damage something: `verify` must tell, and once it tells no more, rows must be right."""
    damage = Damage.drawn(random.Random(seed), bucket, FEATURES, PLANS)
    damage.do(bucket)
    if not _problems(bucket):
        raise Wrong(f"verify finds nothing after {damage}")
    repairs(BucketLocation(bucket))
    if not _problems(bucket):
        READINGS.ensure_right(bucket, bucket.objects[ROOT].data)


_verified: dict[int, list[str]] = {}


def _problems(bucket: Bucket) -> list[str]:
    state = hash(bucket.state())
    if state not in _verified:
        try:
            found = verify(BucketLocation(bucket))["problems"]
        except Exception as error:
            raise Wrong(f"verify fails: {error!r}") from error
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
