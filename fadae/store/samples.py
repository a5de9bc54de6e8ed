"""Decoded samples, wherever they lie: staged until they are published, in `audio` from then on."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Int16
from fadae.errors import NoInputError
from fadae.records import batched
from fadae.store.features import NO_SAMPLE
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.index_objects import RecordingRow
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import FEATURES, pcm_path, prefix_of, staged
from fadae.store.plan import BlockTask, Part
from fadae.store.staging import read_pcm, staged_sha256
from fadae.transform import Transform, transform_from_config

RECORDINGS_A_TASK = 16
OTHER_SAMPLES = "its samples in `audio` are not those that were decoded"
REMEDY = "`fadae verify --repair` clears its commit, then `fadae ingest --refresh` fetches it again"


@dataclass(frozen=True, slots=True)
class StoredSamples:
    """Where a published recording's samples lie in `audio`, and what they are."""

    key: str
    pcm_sha256: str
    samples: int
    frame_start: int

    @classmethod
    def of(cls, row: RecordingRow) -> StoredSamples:
        """Return those of a row of the recording table; repeated PCM has its canonical rows."""
        return cls(row.key, row.pcm_sha256, row.samples, row.frame_start)

    def blocks(self, store: FrameStore) -> range:
        """Return the blocks that the samples lie in."""
        rows = max(1, -(-self.samples // int(store.array("audio").shape[1])))
        return range(
            self.frame_start // BLOCK_FRAMES, (self.frame_start + rows - 1) // BLOCK_FRAMES + 1
        )


@dataclass(frozen=True, slots=True)
class WrongSamples:
    """A recording whose samples in `audio` are others, and what of it is staged."""

    stored: StoredSamples
    mendable: bool  # whether the right samples are
    staged: bool  # whether any are


@dataclass(frozen=True, slots=True)
class LostSamples:
    """A recording whose samples a block needs and nothing holds, and why."""

    block: int
    recording_id: str
    staged: bool  # whether it has staged PCM, though not that which is published
    why: str


@dataclass(frozen=True, slots=True)
class SamplesTask:
    """Some recordings whose samples are to be read back."""

    location: Location
    recordings: tuple[StoredSamples, ...]


def stored_samples(store: FrameStore, frame_start: int, start: int, stop: int) -> Int16:
    """Return samples [start, stop) of the published recording whose rows begin at `frame_start`.

    Raises DamagedError where they are not all there.
    """
    hop = store.array("audio").shape[1]
    first, last = start // hop, -(-stop // hop)
    rows = store.read("audio", frame_start + first, frame_start + last)
    pcm = rows.reshape(-1)[start - first * hop : stop - first * hop]
    # A missing object, or one that is empty, reads as fill values.
    if len(pcm) != stop - start or (pcm == NO_SAMPLE).any():
        raise DamagedError(f"{store.path}/audio misses samples; run `fadae verify --repair`")
    return np.asarray(pcm)


def stored_sha256(store: FrameStore, frame_start: int, samples: int) -> str:
    """Return the SHA-256 of a published recording's samples as they read back; DamagedError."""
    hop, digest = store.array("audio").shape[1], hashlib.sha256()
    row, rows = 0, -(-samples // hop)
    while row < rows:
        stop = min(rows, row + BLOCK_FRAMES - (frame_start + row) % BLOCK_FRAMES)
        pcm = stored_samples(store, frame_start, row * hop, min(samples, stop * hop))
        digest.update(pcm.astype("<i2").tobytes())
        row = stop
    return digest.hexdigest()


def heard_span(transform: Transform, part: Part) -> tuple[int, int]:
    """Return the samples [low, high) of its recording that a part's rows are made of."""
    hop, stop_frame = transform.hop_samples, part.first_frame + part.frames
    heard = transform.heard_samples(part.first_frame, stop_frame)
    low = max(0, min(heard[0], part.first_frame * hop))
    return low, max(low, min(part.samples, max(heard[1], stop_frame * hop)))


def samples_of(store: FrameStore, task: BlockTask, part: Part, low: int, high: int) -> Int16:
    """Return samples [low, high) of a part's recording; raises NoInputError where they are lost.

    They are staged until the block is published. Then they are in `audio`; what was staged again,
    or never went, comes first where it is the same, for it may be there to mend `audio`.
    """
    location, recording_id = store.location, part.recording_id
    if task.block * BLOCK_FRAMES >= store.rows:
        return read_pcm(location, recording_id, low, high)
    found = staged_sha256(location, pcm_path(recording_id))
    if found == part.pcm_sha256:
        with contextlib.suppress(NoInputError):  # let go meanwhile: then it is published
            return read_pcm(location, recording_id, low, high)
    frame_start = task.block * BLOCK_FRAMES + part.first_row - part.first_frame
    try:
        return stored_samples(store, frame_start, low, high)
    except DamagedError as error:
        why = (
            f"is gone; {REMEDY}, and `fadae verify --repair` mends the shard"
            if found is None
            else "is not what was published: its source has changed, or the staged PCM is damaged"
        )
        raise NoInputError(
            f"the published samples of {recording_id} are damaged, and its staged PCM {why}"
        ) from error


def lost_samples(task: BlockTask) -> list[LostSamples]:
    """Return the recordings whose samples a published block cannot be computed of again."""
    store = FrameStore.open(task.location, FEATURES)
    transform = transform_from_config(store.attrs["transform"])
    lost = list[LostSamples]()
    for part in task.parts:
        try:
            samples_of(store, task, part, *heard_span(transform, part))
        except NoInputError as error:
            has_pcm = task.location.exists(pcm_path(part.recording_id))
            lost.append(LostSamples(task.block, part.recording_id, has_pcm, str(error)))
    return lost


def wrong_samples(task: SamplesTask) -> list[WrongSamples]:
    """Return the recordings whose samples read well but are not those that were decoded."""
    store, wrong = FrameStore.open(task.location, FEATURES), list[WrongSamples]()
    for one in task.recordings:
        if samples_problem(store, one) == OTHER_SAMPLES:
            found = staged_sha256(task.location, staged(prefix_of(one.key), f"{one.key}.pcm"))
            wrong.append(WrongSamples(one, found == one.pcm_sha256, found is not None))
    return wrong


def samples_problem(store: FrameStore, one: StoredSamples) -> str | None:
    """Return what is wrong with a published recording's samples as they read back, if anything."""
    try:
        found = stored_sha256(store, one.frame_start, one.samples)
    except DamagedError as error:
        return str(error)
    return None if found == one.pcm_sha256 else OTHER_SAMPLES


def samples_tasks(location: Location, recordings: Iterable[StoredSamples]) -> Iterator[SamplesTask]:
    """Return tasks of neighbouring recordings, made as they are drawn."""
    return (SamplesTask(location, batch) for batch in batched(recordings, RECORDINGS_A_TASK))
