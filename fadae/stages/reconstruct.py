"""Stage 4: features to codes, reconstructed features, audio and scores of one run.

A driver and one plain unit of work. Blocks are those of features.zarr, each one task's; the
scores are kept as sums a frame beside the arrays they judge, so a run killed anywhere goes on
where it was and ends with the same bytes. A model trained again starts the run's store anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fadae import metrics
from fadae.arrays import Array
from fadae.errors import NoInputError, TransientError, UsageError, unknown
from fadae.records import canonical_json, sha256_hex
from fadae.stages.scoring import blocks_of, publish_scored, scores_of, totals_of
from fadae.store import (
    BLOCK_FRAMES,
    PREPARED,
    FeatureSet,
    FrameStore,
    Location,
    Mapper,
    OvertakenError,
    attrs_of,
    code_size,
    features_sha256,
    map_serially,
    paths,
    publish_listing,
    reconstruction_attrs,
    reconstruction_path,
    reconstruction_specs,
    side_scores,
)
from fadae.summaries import ReconstructSummary
from fadae.training import chosen_run

log = logging.getLogger("fadae.reconstruct")
_PREPARED_AT_A_TIME = 64  # recordings a task


@dataclass(frozen=True, slots=True)
class Span:
    """A recording's place on the frame axis: its row of the table, frames and samples."""

    recording: int
    frame_start: int
    frame_count: int
    samples: int


@dataclass(frozen=True, slots=True)
class ReconstructTask:
    """One block of 1024 frames: where, by which model, under which token, and what it holds."""

    location: Location
    run: str
    model_sha256: str
    device: str
    block: int
    token: str
    spans: tuple[Span, ...]
    prepared: tuple[float, ...] | None = None  # of each span's recording, where the model prepares
    silent: tuple[
        tuple[int, int], ...
    ] = ()  # rows [start, stop) that are forgotten: left as padding


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """Some recordings to find what their frames are encoded with: one number each."""

    location: Location
    run: str
    model_sha256: str
    device: str
    spans: tuple[Span, ...]


def reconstruct(
    workspace: Location | str,
    run: str | None = None,
    *,
    device: str = "auto",
    mapper: Mapper = map_serially,
) -> ReconstructSummary:
    """Write what a run makes of all published features; return the summary.

    Without a name, the run that `chosen_run` takes. Raises NoInputError without features or
    model, UsageError for an unknown run, a model that does not fit the features, or a device that
    is not there.

    >>> done = fadae.reconstruct(workspace)
    >>> done.run, done.frames, done.nmse_db < 1
    ('default', 26, True)
    """
    location = Location.of(workspace)
    features = FeatureSet.open(location)
    run = chosen_run(location) if run is None else run
    model_sha256 = _model_sha256(location, run)
    features, store = _begin(location, run, features, model_sha256)
    blocks = range(blocks_of(store.rows), blocks_of(features.rows))
    written: list[bool] = []
    if blocks:  # else no cluster need start
        location.ensure_conditions()  # of publication, before hours of work
        prepared = _prepare(location, run, model_sha256, device, features, store, mapper)
        tasks = _tasks(location, run, model_sha256, device, features, blocks, prepared)
        results = mapper(
            reconstruct_shard, tasks, label="reconstruct", total=len(blocks), unit="shards"
        )
        written += metrics.written("reconstruct", results)
    if len(written) != len(blocks):
        raise TransientError(f"{len(blocks) - len(written)} blocks are missing; run this again")
    published = _publish(run, store, features, model_sha256)
    publish_listing(location)
    return _summary(run, published, features, sum(written))


def reconstruct_again(
    location: Location,
    run: str,
    blocks: Iterable[int],
    *,
    device: str = "auto",
    mapper: Mapper = map_serially,
) -> None:
    """Write published blocks again that were found damaged and forgotten: the same bytes.

    Raises TransientError where the run's model is no longer the one that made them.
    """
    features = FeatureSet.open(location)
    model_sha256 = _model_sha256(location, run)
    store = FrameStore.open(location, reconstruction_path(run))
    _ensure_same_model(store, model_sha256)
    prepared = store.read(PREPARED) if PREPARED in store.names else None
    tasks = _tasks(location, run, model_sha256, device, features, blocks, prepared)
    for _ in mapper(reconstruct_shard, tasks, label="repair", unit="shards"):
        pass


def reconstruct_shard(task: ReconstructTask) -> bool:
    """Compute and write one block; return whether it had to be. The unit of work.

    A pure function of features and model: done twice, it writes the same bytes.
    """
    # Imported where there is work: a driver that finds nothing to do needs no torch.
    from fadae.stages.resynthesis import loaded_codec, resynthesize

    path = reconstruction_path(task.run)
    if FrameStore.open(task.location, path).has_block(task.block, task.token):
        return False
    features = FeatureSet.open(task.location, has_tombstones=False)  # the driver has looked
    transform = features.transform
    start, last = task.block * BLOCK_FRAMES, task.spans[-1]
    end = last.frame_start + last.frame_count
    stop = min(start + BLOCK_FRAMES, end)
    # The last hop is heard from its own frame and the next one, which may be the next block's.
    c = features.read("features", start, min(stop + 1, end))
    inside = _inside(task.spans, start, stop, transform.hop_samples)
    silent = [slice(max(a - start, 0), max(b - start, 0)) for a, b in task.silent]
    for part in silent:
        c[part], inside[part] = 0, False
    codec = loaded_codec(task.location, task.run, task.model_sha256, task.device)
    prepared = None if task.prepared is None else _by_frame(task, start, len(c))
    rows = resynthesize(codec, transform, c, inside, prepared)
    # Looked at again: a driver of a newer model may have begun this store anew meanwhile.
    store = FrameStore.open(task.location, path)
    _ensure_same_model(store, task.model_sha256)
    for name, values in rows.items():
        for part in silent:
            values[part] = store.array(name).fill_value
    block = {name: _padded(values, store.array(name).fill_value) for name, values in rows.items()}
    store.write_block(task.block, block, under=task.token)
    return True


def prepare_recordings(task: PrepareTask) -> list[tuple[int, float]]:
    """Return (row of the table, the number its frames are encoded with) of some recordings."""
    from fadae.model import PREPARED_FRAMES
    from fadae.stages.resynthesis import loaded_codec

    features = FeatureSet.open(task.location, has_tombstones=False)
    codec = loaded_codec(task.location, task.run, task.model_sha256, task.device)
    return [
        (
            span.recording,
            codec.prepare(features.sample(span.frame_start, span.frame_count, PREPARED_FRAMES)),
        )
        for span in task.spans
    ]


def _prepare(
    location: Location,
    run: str,
    model_sha256: str,
    device: str,
    features: FeatureSet,
    store: FrameStore,
    mapper: Mapper,
) -> Array | None:
    """Return [recordings] what each is encoded with, found now for new ones; None if nothing.

    Found and written before any block is encoded, so that the blocks a recording spans agree and
    each can be encoded alone. Readers see it with the rows.
    """
    if PREPARED not in store.names:
        return None
    known, table = store.recording_rows, features.recordings
    values = np.full(len(table), np.nan)
    values[:known] = store.read(PREPARED)
    wanted = table.canonical & (table.frame_count > 0)
    wanted[features.forgotten.silent] = False
    new = np.flatnonzero(wanted)
    new = new[new >= known]
    parts = np.array_split(new, -(-len(new) // _PREPARED_AT_A_TIME)) if len(new) else []
    tasks = (
        PrepareTask(
            location,
            run,
            model_sha256,
            device,
            tuple(_span(features, row) for row in part.tolist()),
        )
        for part in parts
    )
    found: list[list[tuple[int, float]]] = []
    if parts:  # else no cluster need start
        found += mapper(
            prepare_recordings, tasks, label="prepare", total=len(parts), unit="parts of the table"
        )
    numbers = dict(itertools.chain.from_iterable(found))
    if len(numbers) != len(new):
        raise TransientError("some recordings are not prepared; run this again")
    values[list(numbers)] = list(numbers.values())
    values = np.where(table.same_as >= 0, values[table.same_as], values)
    store.write_recordings(known, {PREPARED: values[known:]})
    return values


def _by_frame(task: ReconstructTask, start: int, count: int) -> Array:
    """Return [count] what each frame from `start` on is encoded with: its recording's number."""
    assert task.prepared is not None
    values = np.zeros(count)
    for span, value in zip(task.spans, task.prepared, strict=True):
        first = max(span.frame_start - start, 0)
        values[first : max(span.frame_start + span.frame_count - start, 0)] = value
    return values


def _inside(spans: tuple[Span, ...], start: int, stop: int, hop_samples: int) -> Array:
    """Return [stop - start, H] bool: which samples of each hop lie within their recording."""
    samples = np.zeros(stop - start, np.int64)
    for span in spans:
        rows = np.arange(
            max(span.frame_start, start), min(span.frame_start + span.frame_count, stop)
        )
        samples[rows - start] = span.samples - (rows - span.frame_start) * hop_samples
    return np.asarray(np.arange(hop_samples) < samples[:, None])


def _padded(rows: Array, fill: Any) -> Array:
    """Return a whole block: the rows, then the array's fill value."""
    if len(rows) == BLOCK_FRAMES:
        return rows
    block = np.full((BLOCK_FRAMES, *rows.shape[1:]), fill, rows.dtype)
    block[: len(rows)] = rows
    return block


def _begin(
    location: Location, run: str, features: FeatureSet, model_sha256: str
) -> tuple[FeatureSet, FrameStore]:
    """Return the features and the run's store: the one this model made of them, or a new one.

    What another driver has made of features published since is no reason to start over: then
    they are those.
    """
    path = reconstruction_path(run)
    store = FrameStore.find(location, path)
    if store is not None:
        if not _is_bound(store, features, model_sha256):
            features = FeatureSet.open(location)
        if _is_bound(store, features, model_sha256):
            return features, store
        if _model_sha256(location, run) != model_sha256:  # and another driver has begun with it
            raise TransientError(f"run {run!r} was trained again meanwhile; reconstruct again")
        log.info("run %s or the features are new since it was reconstructed: starting over", run)
    location.delete(path)  # what another model left, or a deletion cut short
    from fadae.stages.resynthesis import loaded_codec

    codec = loaded_codec(location, run, model_sha256, "cpu")
    if codec.feature_size != features.transform.size:
        raise UsageError(
            f"run {run!r} takes frames of {codec.feature_size} coefficients; the features here "
            f"have {features.transform.size}: train another run on them"
        )
    specs = reconstruction_specs(features, codec.code, codec.prepares)
    attrs = reconstruction_attrs(features, run, model_sha256)
    return features, FrameStore.create(location, path, specs, attrs)


def _span(features: FeatureSet, row: int) -> Span:
    """Return a recording's place on the frame axis."""
    table = features.recordings
    return Span(
        row, int(table.frame_start[row]), int(table.frame_count[row]), int(table.samples[row])
    )


def _is_bound(store: FrameStore, features: FeatureSet, model_sha256: str) -> bool:
    """Return whether a store was made by this model, of recordings the features begin with."""
    return (
        attrs_of(store)["model_sha256"] == model_sha256
        and store.rows <= features.rows
        and attrs_of(store)["features_sha256"] == features_sha256(features, store.recording_rows)
    )


def _ensure_same_model(store: FrameStore, model_sha256: str) -> None:
    if attrs_of(store)["model_sha256"] != model_sha256:
        raise TransientError(
            f"{store.path}: its run was trained again meanwhile; reconstruct again"
        )


def _model_sha256(location: Location, run: str) -> str:
    """Return the SHA-256 of a run's model file."""
    runs = location.names(paths.RUNS)
    if runs and run not in runs:
        raise unknown("run", run, runs)
    try:
        return hashlib.sha256(
            location.read_bytes(paths.run_path(run, "model.safetensors"))
        ).hexdigest()
    except FileNotFoundError as error:
        raise NoInputError(
            f"{location.url} holds no trained run {run!r}; run `fadae train --run {run}` first"
        ) from error


def _tasks(
    location: Location,
    run: str,
    model_sha256: str,
    device: str,
    features: FeatureSet,
    blocks: Iterable[int],
    prepared: Array | None,
) -> Iterator[ReconstructTask]:
    """Yield the units of work: each block with the recordings that lie in it."""
    table = features.recordings
    own = np.flatnonzero(table.canonical)
    own = own[np.argsort(table.frame_start[own], kind="stable")]
    starts = table.frame_start[own]
    stops = starts + table.frame_count[own]
    digests, gone = table.column("pcm_sha256"), set(features.forgotten.silent.tolist())
    for block in blocks:
        first = int(np.searchsorted(stops, block * BLOCK_FRAMES, side="right"))
        last = int(np.searchsorted(starts, (block + 1) * BLOCK_FRAMES, side="left"))
        spans = tuple(_span(features, row) for row in own[first:last].tolist())
        content = [model_sha256, features.transform.config_sha256]
        content += [f"{digests[span.recording]} {span}" for span in spans]
        silent = tuple(
            (span.frame_start, span.frame_start + span.frame_count)
            for span in spans
            if span.recording in gone
        )
        content += [f"silent {one}" for one in silent]
        token = sha256_hex(canonical_json(content))[:32]
        numbers = None
        if prepared is not None:
            numbers = tuple(float(prepared[span.recording]) for span in spans)
        yield ReconstructTask(
            location, run, model_sha256, device, block, token, spans, numbers, silent
        )


def _publish(run: str, store: FrameStore, features: FeatureSet, model_sha256: str) -> FrameStore:
    """Score the new recordings and show them with their rows; return the store as published."""
    while True:
        store = FrameStore.open(store.location, store.path)
        _ensure_same_model(store, model_sha256)
        if store.rows >= features.rows and store.recording_rows >= len(features.recordings):
            return store  # nothing is new, or another driver published it
        with contextlib.suppress(OvertakenError):  # by another driver: look again
            return publish_scored(run, store, features)


def _summary(run: str, store: FrameStore, features: FeatureSet, written: int) -> ReconstructSummary:
    scores, attrs = scores_of(totals_of(store, features)), attrs_of(store)
    about = features.transform
    size = code_size(store, about.hop_samples / about.sample_rate_hz)
    return ReconstructSummary(
        run=run,
        frames=features.frames,
        shards_written=written,
        shards_kept=blocks_of(features.rows) - written,
        nmse_db=scores["nmse_db"],
        audio_snr_db=scores["snr_db"],
        audio_si_sdr_db=scores["si_sdr_db"],
        log_spectral_distance_db=scores["log_spectral_distance_db"],
        **side_scores(attrs),
        model_sha256=attrs["model_sha256"],
        bytes_a_row=size.bytes_a_row if size else None,
        kbps=size.kbps if size else None,
    )
