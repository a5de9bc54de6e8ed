"""Erasing between any two writes of an extraction, and the other way about; each also killed."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterator

import pytest

from fadae.errors import TransientError
from fadae.forget import forget
from fadae.store.features import NO_SAMPLE
from fadae.store.frames import FrameStore
from fadae.store.index_objects import decoded_pack, decoded_text
from fadae.store.paths import FEATURES
from fadae.store.verify import verify
from tests.simulation.bucket import Bucket, BucketLocation, Kind, T
from tests.simulation.laboratory import laboratory
from tests.simulation.world import commit_of, extracts, prepared, rows_of, samples

TARGETS = ["a/2", "c"]  # published; planned, or not even that
GONE = ("a/2", "c/1", "c/2")
LEFT = ("a/1", "b/1", "b/2", "d/1")


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with laboratory():
        yield


class Killed(BaseException):
    pass


def erases(location: BucketLocation) -> None:
    forget(location, TARGETS, "asked", by="me", erase_bytes=True)


Command = Callable[[BucketLocation], None]


def interrupted(bucket: Bucket, command: Command, at: int, other: Command, killed: bool) -> bool:
    """Run a command, and another one whole before its n-th write; return whether it came to that.

    `killed`: the first one ends there.
    """
    writes = 0

    def ask(kind: Kind, verb: str, path: str, act: Callable[[int], T]) -> T:
        nonlocal writes
        writes += kind == "write"
        if kind == "write" and writes - 1 == at:
            with contextlib.suppress(TransientError):
                other(BucketLocation(bucket))
            if killed:
                raise Killed
        return act(0)

    with contextlib.suppress(Killed, TransientError):
        command(BucketLocation(bucket, ask))
    return writes > at


def ensure_forgotten(bucket: Bucket) -> None:
    location = BucketLocation(bucket)
    assert verify(location).problems == []
    store = FrameStore.open(location, FEATURES)
    ids: list[str] = store.read("recording_id").tolist()
    titles: list[str] = store.read("recording_title").tolist()
    audio, starts = store.read("audio"), store.read("recording_frame_start").tolist()
    assert set(LEFT) <= set(ids)
    for recording_id, title, start in zip(ids, titles, starts, strict=True):
        right = rows_of(recording_id)["audio"]
        found = audio[start : start + len(right)]
        if recording_id in LEFT:
            assert (found == right).all() and title == commit_of(recording_id).track.title
        else:
            assert (found == NO_SAMPLE).all() and title == ""
    # Not from the start on, nor c/2: other recordings there are of the same random numbers.
    needles = [samples(one).astype("<i2")[40:52].tobytes() for one in ("a/2", "c/1")]
    for path, data in _everything(bucket):
        assert not any(needle in data for needle in needles), path


def _everything(bucket: Bucket) -> Iterator[tuple[str, bytes]]:
    for path, one in bucket.objects.items():
        yield path, gzip.decompress(one.data) if path.endswith(".gz") else one.data
        if "/index/rows-" in path:
            rows = [row for row in decoded_pack(one.data, path) if row.id in GONE]
            assert not any(row.title or row.creator or row.sha1 for row in rows), path
        if "/index/text-" in path:
            told = [part.split(b"\n") for part in decoded_text(one.data, path).split(b"\xff")[:-1]]
            gone = [part for part in told if part[2].decode() in GONE]
            assert not any(title or creator for title, creator, _ in gone), path


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("first", ["extract", "erase"])
def test_between_any_two_writes(first: str, killed: bool) -> None:
    before = prepared((("a/1", "a/2", "b/1"),), ("b/2", "c/1", "c/2", "d/1"), False)
    pair = (extracts, erases) if first == "extract" else (erases, extracts)
    at = 0
    while True:
        bucket = before.copy()
        came = interrupted(bucket, pair[0], at, pair[1], killed)
        extracts(BucketLocation(bucket))
        erases(BucketLocation(bucket))
        ensure_forgotten(bucket)
        state = bucket.state()
        erases(BucketLocation(bucket))
        assert bucket.state() == state
        if not came:
            break
        at += 15 if first == "extract" else 5  # all of them take minutes
    assert at > 20
