"""Stage 2: the ledger's PCM to features.zarr. A driver, and one plain unit of work.

plan (or adopt a plan) -> fill its blocks, each one task's -> publish; until nothing is new.
Killed anywhere, the next run adopts the plan and ends with the same bytes.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fadae
from fadae.errors import NoInputError, UsageError
from fadae.nouns import canonical_json
from fadae.store.dataset import (
    FEATURES,
    NO_RECORDING,
    NO_SAMPLE,
    PCM_SCALE,
    FeatureSet,
    RecordingTable,
    feature_attrs,
    feature_specs,
)
from fadae.store.frames import BLOCK_FRAMES, CHUNK_FRAMES, RECORDINGS_PER_CHUNK, Array, FrameStore
from fadae.store.ledger import LedgerRuns, known_digests, read_ledger
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.plan import Part, Plan, PlannedRecording, create_plan
from fadae.store.staging import read_pcm, recording_key
from fadae.transform import FrequencyAdaptiveTransform
from fadae.transform.half import to_float16

log = logging.getLogger("fadae.extract")

DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """One block of 1024 frames: where, which, under which plan, and what it holds."""

    location: Location
    block: int
    plan: str
    parts: tuple[Part, ...]


def extract(
    location: Location,
    *,
    preset: str = "seed",
    sample_rate_hz: int = 11025,
    dtype: str = "float16",
    mapper: Mapper = map_serially,
) -> dict[str, Any]:
    """Extract what is ingested and not yet published; return the summary.

    Keys: frames, audio_seconds (totals of the store, repeated PCM counted once), shards_written,
    shards_kept (blocks of 1024 frames), recordings. Raises UsageError where the existing
    features were made with another configuration, NoInputError where nothing was ingested.
    """
    if dtype not in DTYPES:
        raise UsageError(f"features are stored as {' or '.join(DTYPES)}, not {dtype!r}")
    if preset == "zounds":
        raise UsageError("preset 'zounds' is for comparison only; extract offers seed and full")
    transform = FrequencyAdaptiveTransform.preset(preset, sample_rate_hz)
    written = 0
    while True:
        store = _existing(location)
        if store is not None:
            _ensure_asked(FEATURES, store.attrs, transform, dtype)
        plan = Plan.read(location, _published_plans(store))
        if plan is None and not _plan(location, store, transform, dtype, mapper):
            break
        if plan is not None:
            header = {"transform": plan.header.transform, "dtype": plan.header.dtype}
            _ensure_asked("the unfinished plan of this workspace", header, transform, dtype)
            written += fill(plan, mapper)
            publish(plan)
    return _summary(location, store, written)


def fill(plan: Plan, mapper: Mapper) -> int:
    """Write all blocks of a plan that are not there yet; return how many this call wrote."""
    transform = FrequencyAdaptiveTransform.from_config(plan.header.transform)
    FrameStore.create(
        plan.location,
        FEATURES,
        feature_specs(transform, plan.header.dtype),
        feature_attrs(plan.header.transform, plan.header.dtype),
    )
    results = mapper(
        extract_shard, tasks(plan), label="extract", total=len(plan.blocks), unit="shards"
    )
    return sum(results)


def tasks(plan: Plan) -> Iterator[ExtractTask]:
    """Yield the units of work of a plan."""
    for block, parts in plan.parts():
        yield ExtractTask(plan.location, block, plan.token, parts)


def extract_shard(task: ExtractTask) -> bool:
    """Compute and write one block; return whether it had to be. The unit of work.

    A pure function of staged PCM and configuration: done twice, it writes the same bytes.
    """
    store = FrameStore.open(task.location, FEATURES)
    if store.has_block(task.block, task.plan):
        return False
    transform = _transform(canonical_json(store.attrs["transform"]))
    rows = _empty_rows(transform, store.attrs["dtype"])
    for part in task.parts:
        _fill_part(task.location, transform, part, rows)
    store.write_block(task.block, rows, under=task.plan)
    return True


def publish(plan: Plan) -> None:
    """Show a filled plan's rows and recordings to every reader at once.

    A driver that comes late finds the plan published, or even the next one planned, and leaves
    the metadata alone.
    """
    header = plan.header
    store = FrameStore.open(plan.location, FEATURES)
    overtaken = Plan.read(plan.location, header.number + 1) is not None
    if _published_plans(store) > header.number or overtaken:
        return
    recordings = plan.recordings()
    row = header.first_recording
    # Batches end at the chunks' boundaries: each chunk is written once.
    while batch := list(
        itertools.islice(recordings, RECORDINGS_PER_CHUNK - row % RECORDINGS_PER_CHUNK)
    ):
        store.write_recordings(row, _columns(batch))
        row += len(batch)
    store.publish(header.stop_row, row, {"published_plans": header.number + 1})
    log.info("published %d recordings, %d rows", row, header.stop_row)


def _existing(location: Location) -> FrameStore | None:
    try:
        return FrameStore.open(location, FEATURES)
    except FileNotFoundError:
        return None


def _published_plans(store: FrameStore | None) -> int:
    return 0 if store is None else int(store.attrs["published_plans"])


def _plan(
    location: Location,
    store: FrameStore | None,
    transform: FrequencyAdaptiveTransform,
    dtype: str,
    mapper: Mapper,
) -> bool:
    """Plan what was ingested since; return whether there is anything new."""
    published = RecordingTable(store) if store is not None else None
    known = known_digests(published.column("key") if published else ())
    with LedgerRuns() as runs:
        read_ledger(location, known, mapper, into=runs)
        if runs.recordings:
            create_plan(
                location, runs, published,
                number=_published_plans(store), published_rows=store.rows if store else 0,
                transform=transform, dtype=dtype, fadae_version=fadae.__version__,
            )  # fmt: skip
        return runs.recordings > 0


def _ensure_asked(
    what: str, made: dict[str, Any], asked: FrequencyAdaptiveTransform, dtype: str
) -> None:
    """Refuse to mix configurations in one dataset, saying what differs."""
    config = made["transform"]
    if config == json.loads(canonical_json(asked.config())) and made["dtype"] == dtype:
        return
    rate_hz = config["sample_rate_hz"]
    had = f"preset {config['name']!r} at {rate_hz} Hz as {made['dtype']}"
    asks = f"{asked.name!r} at {asked.sample_rate_hz} Hz as {dtype}"
    raise UsageError(
        f"{what} was extracted with {had}; this run asks for {asks}. Use another workspace or "
        f"pass --preset {config['name']} --sample-rate {rate_hz} --dtype {made['dtype']}."
    )


@functools.lru_cache(maxsize=4)
def _transform(config: str) -> FrequencyAdaptiveTransform:
    return FrequencyAdaptiveTransform.from_config(json.loads(config))


def _empty_rows(transform: FrequencyAdaptiveTransform, dtype: str) -> dict[str, Array]:
    """Return a block of padding rows, to be filled."""
    return {
        "audio": np.full((BLOCK_FRAMES, transform.hop_samples), NO_SAMPLE, np.int16),
        "features": np.full((BLOCK_FRAMES, transform.size), np.nan, np.dtype(dtype)),
        "frame_recording": np.full(BLOCK_FRAMES, NO_RECORDING, np.int32),
        "frame_time": np.full(BLOCK_FRAMES, np.nan, np.float64),
    }


def _fill_part(
    location: Location, transform: FrequencyAdaptiveTransform, part: Part, rows: dict[str, Array]
) -> None:
    """Fill a recording's rows of a block.

    Frames [a, b) hear samples [aH - P, (b-1)H - P + N), silence outside the recording; their
    audio is [aH, bH).
    """
    hop, padding, frame = (
        transform.hop_samples, transform.padding_samples, transform.frame_samples
    )  # fmt: skip
    first, stop_frame = part.first_frame, part.first_frame + part.frames
    heard = (first * hop - padding, (stop_frame - 1) * hop - padding + frame)
    low = max(0, min(heard[0], first * hop))
    high = min(part.samples, max(heard[1], stop_frame * hop))
    pcm = read_pcm(location, part.recording_id, low, max(low, high))
    target = slice(part.first_row, part.first_row + part.frames)

    signal = np.zeros(heard[1] - heard[0], np.float32)
    span = pcm[max(heard[0], 0) - low : heard[1] - low]
    at = max(-heard[0], 0)
    np.multiply(span, np.float32(PCM_SCALE), out=signal[at : at + len(span)])
    _analyze_into(transform, signal, rows["features"][target])

    own = pcm[first * hop - low : stop_frame * hop - low]
    rows["audio"][target].reshape(-1)[: len(own)] = own
    rows["frame_recording"][target] = part.recording_row
    rows["frame_time"][target] = np.arange(first, stop_frame) * (hop / transform.sample_rate_hz)


def _analyze_into(transform: FrequencyAdaptiveTransform, signal: Array, out: Array) -> None:
    """Write the frames of a signal to `out`, [F, size], in pieces that stay in the caches."""
    hop, overlap = transform.hop_samples, transform.frame_samples - transform.hop_samples
    for first in range(0, len(out), CHUNK_FRAMES):
        piece = out[first : first + CHUNK_FRAMES]
        frames = transform.analyze_frames(
            signal[first * hop : (first + len(piece)) * hop + overlap]
        )
        piece[:] = to_float16(frames) if out.dtype == np.float16 else frames


def _columns(batch: list[PlannedRecording]) -> dict[str, list[Any]]:
    """Return planned recordings as the recording_* columns."""
    track_texts = ("id", "item", "file", "title", "creator", "licence", "url")
    columns: dict[str, list[Any]] = {
        name: [_storable(getattr(r.track, name)) for r in batch] for name in track_texts
    }
    columns["key"] = [recording_key(r.track.id) for r in batch]
    columns["sha1"] = [r.decoded.source_sha1 for r in batch]
    for name in ("pcm_sha256", "rate_hz", "source_rate_hz", "samples", "seconds"):
        columns[name] = [getattr(r.decoded, name) for r in batch]
    for name in ("frame_start", "frame_count", "same_as"):
        columns[name] = [getattr(r, name) for r in batch]
    return {f"recording_{name}": values for name, values in columns.items()}


def _storable(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: a file name may be no text at all.

    >>> _storable("caf\udce9.ogg")
    'caf\\udce9.ogg'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _summary(location: Location, store: FrameStore | None, written: int) -> dict[str, Any]:
    if store is None or not store.recording_rows:
        raise NoInputError(f"{location.url} holds no decoded recordings; run `fadae ingest` first")
    features = FeatureSet(store)
    return {
        "recordings": store.recording_rows,
        "frames": features.frames,
        "audio_seconds": features.audio_seconds,
        "shards_written": written,
        "shards_kept": -(-store.rows // BLOCK_FRAMES) - written,
    }
