"""Workspaces that an interleaving starts from, commands that run on them, and what must hold.

What every recording's rows must be is known beforehand, from its samples alone: whatever the root
names, at any time and by any root there ever was, is compared with that.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from fadae.arrays import Array
from fadae.prune import prune
from fadae.records import Commit, Decoded, Track
from fadae.stages.extract import extract, extract_shard
from fadae.store.features import NO_RECORDING, NO_SAMPLE, PCM_SCALE
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, RELEASED, pcm_path
from fadae.store.published import PublishedRecordings
from fadae.store.staging import read_commit, write_commit
from fadae.store.verify import verify
from fadae.transform import preset as preset_transform
from tests.simulation.bucket import Bucket, BucketLocation, Kind, T
from tests.simulation.scheduler import Process, Wrong

_KEPT_READINGS = 16
RATE_HZ = 100
PRESET = "critical"
# Samples at 36 a hop, blocks of 8 rows: most plans fill more blocks than one.
LENGTHS = {"a/1": 150, "a/2": 290, "b/1": 36, "b/2": 150, "c/1": 330, "c/2": 20, "d/1": 100}
How = Literal["gone", "empty", "cut", "flipped"]
SAME = {"b/2": "a/1"}  # the same samples


@functools.cache
def samples(recording_id: str) -> Array:
    """Return a recording's samples, [n] int16."""
    of = SAME.get(recording_id, recording_id)
    drawn = np.random.default_rng(sum(of.encode()))
    return drawn.integers(-32767, 32768, LENGTHS[of], dtype=np.int16)


@functools.cache
def rows_of(recording_id: str) -> dict[str, Array]:
    """Return what a recording's rows must hold, by array."""
    transform, pcm = preset_transform(PRESET, RATE_HZ), samples(recording_id)
    features = transform.analyze(pcm.astype(np.float32) * np.float32(PCM_SCALE))
    hops = np.full(len(features) * transform.hop_samples, NO_SAMPLE, np.int16)
    hops[: len(pcm)] = pcm
    time = np.arange(len(features)) * (transform.hop_samples / RATE_HZ)
    return {"audio": hops.reshape(len(features), -1), "features": features, "frame_time": time}


@functools.cache
def commit_of(recording_id: str) -> Commit:
    item, _, file = recording_id.partition("/")
    data = samples(recording_id).astype("<i2").tobytes()
    decoded = Decoded(
        rate_hz=RATE_HZ,
        samples=len(data) // 2,
        pcm_sha256=hashlib.sha256(data).hexdigest(),
        source_rate_hz=44100,
        source_channels=2,
        source_bytes=len(data),
        source_sha1=hashlib.sha1(recording_id.encode()).hexdigest(),
    )
    track = Track(item, file, title=f"Title of {file}", creator="A. Composer", licence="CC0")
    return Commit(track, decoded=decoded, fadae_version="test")


def ingest(location: Location, *recording_ids: str) -> None:
    """Stage recordings as ingest does: the samples, a mark, the commit; none that has a commit."""
    for recording_id in recording_ids:
        if read_commit(location, recording_id) is None:
            data = samples(recording_id).astype("<i2").tobytes()
            location.write_bytes(pcm_path(recording_id), data)
            write_commit(location, commit_of(recording_id))


def extracts(location: Location) -> None:
    extract(location, preset=PRESET, sample_rate_hz=RATE_HZ, dtype="float32")


def keeps(location: Location) -> None:
    extract(location, preset=PRESET, sample_rate_hz=RATE_HZ, dtype="float32", keep_staging=True)


def repairs(location: Location) -> None:
    verify(location, recompute=extract_shard)


def prunes(location: Location, keep_staging: bool = False) -> None:
    """Prune by the bucket's clock: what is older than an instant is abandoned."""
    assert isinstance(location, BucketLocation)
    age = time.time() - location.bucket.seconds + 0.5
    prune(location, keep_staging=keep_staging, abandoned_seconds=age)


def reads(location: Location) -> None:
    """Read what is published, twice."""
    store = FrameStore.find(location, FEATURES)
    for _ in range(2):
        if store is not None:
            ensure_right(store)


def ensure_right(store: FrameStore) -> list[str]:
    """Return the ids that a publication holds; raises Wrong where it holds another thing."""
    try:
        return _ensure_right(store)
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"published rows cannot be read: {error!r}") from error


def _ensure_right(store: FrameStore) -> list[str]:
    columns = {
        name.removeprefix("recording_"): store.read(name).tolist()
        for name in store.names
        if name.startswith("recording_")
    }
    arrays = {name: store.read(name) for name in store.frame_names}
    used = np.zeros(store.rows, bool)
    ids: list[str] = columns["id"]
    if len(ids) != store.recording_rows or len(set(ids)) != len(ids):
        raise Wrong(f"published ids {ids} are not {store.recording_rows} different ones")
    for row, recording_id in enumerate(ids):
        if recording_id not in LENGTHS:
            raise Wrong(f"row {row} of the recordings is {recording_id!r}: nobody staged that")
        decoded = commit_of(recording_id).decoded
        assert decoded is not None
        one = {name: values[row] for name, values in columns.items()}
        found = (one["pcm_sha256"], one["samples"], one["sha1"], one["title"])
        title = commit_of(recording_id).track.title
        if found != (decoded.pcm_sha256, decoded.samples, decoded.source_sha1, title):
            raise Wrong(f"row {row} of the recordings, {recording_id}, is {one}")
        part = slice(one["frame_start"], one["frame_start"] + one["frame_count"])
        owner = row if one["same_as"] == NO_RECORDING else one["same_as"]
        used[part] |= owner == row
        expected = {**rows_of(recording_id), "frame_recording": owner}
        for name, values in arrays.items():
            if (
                not np.array_equal(
                    values[part], np.broadcast_to(expected[name], values[part].shape)
                )
                or part.stop > store.rows
            ):
                raise Wrong(f"{name} of {recording_id} is not what it must be")
    if (arrays["frame_recording"][~used] != NO_RECORDING).any():
        raise Wrong("rows that belong to nobody name a recording")
    published = PublishedRecordings(store)
    for row, recording_id in enumerate(ids):
        if published.find(recording_id) != row:
            raise Wrong(f"the index does not find {recording_id}")
    return ids


@dataclass
class Readings:
    """Whether publications read right; asked anew where an object that they are of changed."""

    known: dict[bytes, deque[tuple[dict[str, str | None], list[str]]]] = field(default_factory=dict)

    def ensure_right(self, bucket: Bucket, root: bytes) -> list[str]:
        known = self.known.setdefault(root, deque(maxlen=_KEPT_READINGS))
        for versions, ids in reversed(known):
            if all(version == _version(bucket, path) for path, version in versions.items()):
                return ids
        versions = dict[str, str | None]()

        def ask(kind: Kind, verb: str, path: str, act: Callable[[int], T]) -> T:
            versions[path] = _version(bucket, path)
            return act(0)

        ids = ensure_right(FrameStore(BucketLocation(bucket, ask), FEATURES, json.loads(root)))
        known.append((versions, ids))
        return ids


def _version(bucket: Bucket, path: str) -> str | None:
    found = bucket.objects.get(path)
    return None if found is None else found.version


READINGS = Readings()


@dataclass(frozen=True)
class Damage:
    """An object that is no longer what was written."""

    path: str
    how: How
    at: float  # where, as a share of its length

    @classmethod
    def drawn(cls, drawn: random.Random, bucket: Bucket, *folders: str) -> Damage:
        """Return damage to something below some folders that something published is read from."""
        told = [
            path
            for path in sorted(bucket.objects)
            if path.startswith(folders) and "/blocks/" not in path and path != RELEASED
        ]
        return cls(drawn.choice(told), drawn.choice(get_args(How)), drawn.random())

    def do(self, bucket: Bucket) -> None:
        data = bytearray(bucket.get(self.path).data)
        at = int(self.at * len(data))
        if self.how == "gone":
            bucket.remove(self.path)
            return
        if self.how == "flipped":
            data[at] ^= 4
        bucket.put(
            self.path, {"empty": b"", "cut": bytes(data[:at]), "flipped": bytes(data)}[self.how]
        )


@dataclass(frozen=True)
class Setting:
    """What an interleaving starts from: who is published, who is staged, and who does what."""

    published: tuple[tuple[str, ...], ...]  # one publication each
    staged: tuple[str, ...]
    arriving: tuple[str, ...]
    commands: tuple[str, ...]
    keep: bool = False
    damage: Damage | None = None  # done before, to something published
    injected: int | None = None  # what draws the damage that is done at the end

    @classmethod
    def drawn(cls, drawn: random.Random) -> Setting:
        published, staged, arriving = drawn.choice(
            [
                ((), ("a/1", "a/2"), ("b/1", "b/2")),
                ((), ("a/1",), ("a/2",)),
                ((("a/1", "a/2"),), ("b/1", "b/2"), ("c/1",)),
                ((("a/1", "a/2"),), ("c/1",), ("c/2", "d/1")),
                ((("a/1",), ("b/2", "c/2")), ("a/2",), ("d/1",)),
                ((("a/1",), ("a/2",)), (), ("b/2",)),
            ]
        )
        others = ("extract", "extract", "repair", "repair", "prune", "prune", "read", "read")
        commands = ("extract", "ingest", *drawn.sample(others, drawn.randrange(1, 3)))
        keep, damage = drawn.random() < 0.2, None
        if published and drawn.random() < 0.1:
            damage = Damage.drawn(drawn, prepared(published, staged, keep), FEATURES)
            commands = ("extract", "repair", drawn.choice(("extract", "repair", "prune")))
        injected = drawn.randrange(2**32) if drawn.random() < 0.1 else None
        return cls(published, staged, arriving, commands, keep, damage, injected)

    @property
    def everybody(self) -> tuple[str, ...]:
        """Whom a run ends with."""
        return (*itertools.chain(*self.published), *self.staged, *self.arriving)

    def processes(self) -> list[Process]:
        does: Mapping[str, Callable[[BucketLocation], None]] = {
            "extract": keeps if self.keep else extracts,
            "ingest": lambda location: ingest(location, *self.arriving),
            "repair": repairs,
            "prune": lambda location: prunes(location, self.keep),
            "read": reads,
        }
        return [
            Process(f"{command} {number}", does[command])
            for number, command in enumerate(self.commands)
        ]


@functools.cache
def prepared(published: tuple[tuple[str, ...], ...], staged: tuple[str, ...], keep: bool) -> Bucket:
    """Return a bucket where recordings were published, some at a time, and others staged since."""
    bucket = Bucket()
    location = BucketLocation(bucket)
    for batch in published:
        ingest(location, *batch)
        (keeps if keep else extracts)(location)
    ingest(location, *staged)
    return bucket
