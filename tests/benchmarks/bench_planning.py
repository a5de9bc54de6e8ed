"""Planning and driving a million recordings: driver memory, ms a recording, graph size.

`python -m tests.benchmarks.bench_planning [RECORDINGS]`. The ledger is made up (the runs that
tasks would send), the unit of work does nothing; plan, tasks through Dask bags on one worker,
publication and the next look for new recordings are the driver's own.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from unittest import mock

import distributed

import fadae
from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.records import Commit, Decoded, Track
from fadae.store.features import feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from fadae.store.paths import FEATURES, PREFIXES
from fadae.store.plan import Plan, create_plan
from fadae.store.publication import publish
from fadae.store.published import PublishedRecordings
from fadae.store.staging import LedgerRun, LedgerRuns, read_ledger
from fadae.transform.adaptive import FrequencyAdaptiveTransform

RATE_HZ = 11025


def synthetic_runs(recordings: int) -> Iterator[LedgerRun]:
    """What tasks would send of a ledger of three-minute recordings, 2 % of them repeated."""
    drawn = random.Random(0)
    each = -(-recordings // len(PREFIXES))
    for prefix, name in enumerate(PREFIXES):
        count = max(0, min(each, recordings - prefix * each))
        commits = sorted(
            (_commit(drawn, prefix * each + i) for i in range(count)), key=lambda c: c.id
        )
        lines = "".join(f"{commit.to_json()}\n" for commit in commits).encode()
        yield LedgerRun(name, gzip.compress(lines, 1, mtime=0), count, 0)


def _commit(drawn: random.Random, number: int) -> Commit:
    item = f"etree-live-recording-{drawn.randrange(10**6):06d}"
    file = f"disc {number % 3}/{number:07d} - a track with a title of some length.ogg"
    content = number - 1 if drawn.random() < 0.02 else number
    track = Track(
        item,
        file,
        title=f"A track with a title of some length, part {number}",
        creator=f"Artist number {number % 5000}",
        licence="CC-BY-SA-4.0",
        url=f"https://archive.org/download/{item}/{number}.ogg",
        size_bytes=3_000_000,
    )
    decoded = Decoded(
        RATE_HZ,
        RATE_HZ * 180 + content % 7919,
        hashlib.sha256(b"%d" % content).hexdigest(),
        44100,
        2,
        3_000_000,
        hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest(),
    )
    return Commit(track, decoded=decoded, fadae_version=fadae.__version__)


def peak_mb() -> float:
    """The most memory this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


class Watch:
    """Prints what each step took of the driver: its processor time, not what others wait for."""

    def __init__(self, recordings: int) -> None:
        self.recordings, self.total_ms = recordings, 0.0
        self.wall, self.spent = time.perf_counter(), time.process_time()

    def step(self, name: str, *, counts: bool = True) -> None:
        wall, spent = time.perf_counter() - self.wall, time.process_time() - self.spent
        each = spent * 1000 / self.recordings
        self.total_ms += each * counts
        print(
            f"{name:<28} {spent:7.1f} s of the driver in {wall:7.1f} s, "
            f"{each:.4f} ms a recording, peak {peak_mb():.0f} MB",
            flush=True,
        )
        self.wall, self.spent = time.perf_counter(), time.process_time()


def planned(location: Location, runs: LedgerRuns, transform: FrequencyAdaptiveTransform) -> Plan:
    """Plan all recordings of a ledger for an empty workspace; return the plan."""
    create_plan(
        location,
        runs,
        None,
        number=0,
        published_rows=0,
        transform=transform,
        dtype="float16",
        fadae_version=fadae.__version__,
    )
    plan = Plan.read(location, 0)
    assert plan is not None
    return plan


def main(recordings: int) -> None:
    """Measure one growth of an empty workspace by so many recordings."""
    transform = FrequencyAdaptiveTransform.preset("seed")
    with tempfile.TemporaryDirectory() as folder, LedgerRuns() as runs:
        location = Location(folder)
        watch = Watch(recordings)
        for run in synthetic_runs(recordings):
            runs.add(run)
        watch.step("(making up the ledger)", counts=False)
        plan = planned(location, runs, transform)
        watch.step("plan")
        specs = feature_specs(transform, "float16")
        FrameStore.create(location, FEATURES, specs, feature_attrs(transform.config(), "float16"))
        graphs = _drive(location, plan)
        watch.step(f"drive {len(plan.blocks)} blocks")
        publish(plan)
        watch.step("publish")
        published = PublishedRecordings(FrameStore.open(location, FEATURES))
        with LedgerRuns() as later:
            read_ledger(location, published, map_serially, into=later)
        watch.step("look for new ones, next time")
        print(f"largest graph of {len(graphs)}: {max(graphs)} tasks")
        print(
            f"driver: {watch.total_ms:.3f} ms a recording (limit 2), peak {peak_mb():.0f} MB "
            "(limit 1000)"
        )


def _drive(location: Location, plan: Plan) -> list[int]:
    """Map the no-op over all blocks on one worker; return the sizes of the graphs sent."""
    graphs: list[int] = []
    persist = distributed.Client.persist

    def counted(client: distributed.Client, bag: object, **options: object) -> object:
        graphs.append(len(bag.dask))  # type: ignore[attr-defined]
        return persist(client, bag, **options)

    with (
        connect(None, 1, location) as client,
        mock.patch.object(distributed.Client, "persist", counted),
    ):
        # The unit of work without the work: True of whatever task it is given.
        done = map_bag(client, bool, plan.tasks(), label="extract", total=len(plan.blocks))
        assert sum(done) == len(plan.blocks)
    return graphs


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
