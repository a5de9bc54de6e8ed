"""Stage 2: the ledger's PCM to features.zarr. A driver, and one plain unit of work.

plan (or adopt a plan) -> fill its blocks, each one task's -> publish; until nothing is new. Then
the staged PCM of what is published goes, each recording's once it reads back the same.
Killed anywhere, the next run adopts the plan and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging

import numpy as np

from fadae import metrics
from fadae._version import __version__
from fadae.arrays import Array, Int16
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.records import TransformConfig, canonical_json
from fadae.similarity import write_prints
from fadae.store import (
    BLOCK_FRAMES,
    CHUNK_FRAMES,
    FEATURES,
    NO_RECORDING,
    NO_SAMPLE,
    PCM_SCALE,
    BlockTask,
    DamagedError,
    FeatureSet,
    FrameStore,
    LedgerRuns,
    Location,
    Mapper,
    Part,
    Plan,
    PublishedRecordings,
    Tombstones,
    create_plan,
    feature_attrs,
    feature_specs,
    forget_marks,
    heard_span,
    keep_forgotten,
    keep_root,
    map_serially,
    publish,
    publish_listing,
    published_plans,
    read_ledger,
    read_tombstones,
    release_staging,
    restore_lost_root,
    samples_of,
)
from fadae.summaries import ExtractSummary
from fadae.transform import Transform, to_float16, transform_from_config
from fadae.transform import preset as preset_transform

DTYPES = ("float16", "float32")
# Analyzed at a time: 8 MB of coefficients stay in the caches until rounded, and a call's own cost
# is spread (64 frames at a time cost 1.8x as much, 1024 at a time 1.06x).
_PIECE_FRAMES = 256
_ENERGY_CHUNKS = 64
_NEARLY_ALL = 0.99

log = logging.getLogger("fadae.extract")


def extract(
    workspace: Location | str,
    *,
    preset: str = "seed",
    sample_rate_hz: int = 11025,
    dtype: str = "float16",
    keep_staging: bool = False,
    mapper: Mapper = map_serially,
) -> ExtractSummary:
    """Extract what is ingested and not yet published; return the summary.

    Staged PCM goes once it is published and its rows read back the same, unless `keep_staging`.

    Raises UsageError where the existing features were made with another configuration,
    NoInputError where nothing was ingested.

    >>> done = fadae.extract(workspace)
    >>> done.recordings, done.frames, round(done.energy_kept, 2)
    (2, 26, 1.0)
    """
    location = Location.of(workspace)
    if dtype not in DTYPES:
        raise UsageError(f"features are stored as {' or '.join(DTYPES)}, not {dtype!r}")
    if preset == "zounds":
        raise UsageError(
            "preset 'zounds' is for comparison only; extract offers seed, full and critical"
        )
    transform = preset_transform(preset, sample_rate_hz)
    written, stale = 0, list[str]()
    tombstones = read_tombstones(location)
    while True:
        store = restore_lost_root(location)
        if store is not None:
            made = FeatureSet(store).attrs
            _ensure_asked(FEATURES, made["transform"], made["dtype"], transform, dtype)
        plan = Plan.read(location, published_plans(store))
        if plan is None and not _plan(location, store, transform, dtype, mapper, stale, tombstones):
            break
        if plan is not None:
            plan = plan.without(store, tombstones)
            what, header = "the unfinished plan of this workspace", plan.header
            _ensure_asked(what, header.transform, header.dtype, transform, dtype)
            written += fill(plan, mapper)
            publish(plan)
    if store is not None:
        keep_root(store)  # a driver may have been killed before it did
        keep_forgotten(store)
        _settle(store, stale, keep_staging, mapper)
        publish_listing(location)
    return _summary(location, store, written)


def _settle(store: FrameStore, stale: list[str], keep_staging: bool, mapper: Mapper) -> None:
    """Let go of the staged PCM of what is published, or at least of its marks."""
    if keep_staging:
        forget_marks(store.location, stale)
    else:
        release_staging(store, stale, mapper)


def fill(plan: Plan, mapper: Mapper) -> int:
    """Write all blocks of a plan that are not there yet; return how many this call wrote."""
    plan.location.ensure_conditions()  # of publication, before hours of work
    transform = transform_from_config(plan.header.transform)
    FrameStore.create(
        plan.location,
        FEATURES,
        feature_specs(transform, plan.header.dtype),
        feature_attrs(plan.header.transform, plan.header.dtype),
    )
    blocks = len(plan.blocks)
    if not blocks:  # repeated PCM only: no cluster need start
        return 0
    results = mapper(extract_shard, plan.tasks(), label="extract", total=blocks, unit="shards")
    written = list(metrics.written("extract", results))
    if len(written) != blocks:  # published, the missing ones would read as padding
        raise TransientError(f"{blocks - len(written)} shards are missing; run this again")
    return sum(written)


def extract_shard(task: BlockTask) -> bool:
    """Compute and write one block; return whether it had to be. The unit of work.

    A pure function of samples and configuration: done twice, it writes the same bytes. Samples
    are those staged, of a published block those published.
    """
    store = FrameStore.open(task.location, FEATURES)
    if store.has_block(task.block, task.plan):
        return False
    attrs = FeatureSet(store).attrs
    transform = transform_from_config(attrs["transform"])
    rows = _empty_rows(transform, attrs["dtype"])
    try:
        for part in task.parts:
            low, high = heard_span(transform, part)
            _fill_part(transform, part, low, samples_of(store, task, part, low, high), rows)
    except NoInputError:
        if store.has_block(task.block, task.plan):  # by another driver, which let the PCM go
            return False
        _ensure_none_erased(task)
        raise
    write_prints(task.location, task.block, rows, transform.sample_rate_hz)
    store.write_block(task.block, rows, under=task.plan)
    return True


def _ensure_none_erased(task: BlockTask) -> None:
    """Raise TransientError where a recording of a block was erased since it was planned."""
    erased = read_tombstones(task.location).erasing
    for part in task.parts:
        if erased.match(part.recording_id, part.recording_id.partition("/")[0]):
            raise TransientError(
                f"{part.recording_id} was erased meanwhile; run the same command again"
            )


def _plan(
    location: Location,
    store: FrameStore | None,
    transform: Transform,
    dtype: str,
    mapper: Mapper,
    stale: list[str],
    tombstones: Tombstones,
) -> bool:
    """Plan what was ingested since; return whether there is anything new.

    `stale` becomes the keys of what is published and has a mark.
    """
    published = None
    if store is not None:
        published = PublishedRecordings(store, FeatureSet(store).forgotten)
    with LedgerRuns(tombstones) as runs:
        stale[:] = read_ledger(location, published, mapper, into=runs)
        if runs.recordings:
            create_plan(
                location,
                runs,
                published,
                number=published_plans(store),
                published_rows=store.rows if store else 0,
                transform=transform,
                dtype=dtype,
                fadae_version=__version__,
            )
        return runs.recordings > 0


def _ensure_asked(
    what: str, config: TransformConfig, made_dtype: str, asked: Transform, dtype: str
) -> None:
    """Refuse to mix configurations in one dataset, saying what differs."""
    if config == json.loads(canonical_json(asked.config())) and made_dtype == dtype:
        return
    rate_hz = config["sample_rate_hz"]
    had = f"preset {config['name']!r} at {rate_hz} Hz as {made_dtype}"
    asks = f"{asked.name!r} at {asked.sample_rate_hz} Hz as {dtype}"
    raise UsageError(
        f"{what} was extracted with {had}; this run asks for {asks}. Use another workspace or "
        f"pass --preset {config['name']} --sample-rate {rate_hz} --dtype {made_dtype}."
    )


def _empty_rows(transform: Transform, dtype: str) -> dict[str, Array]:
    """Return a block of padding rows, to be filled."""
    return {
        "audio": np.full((BLOCK_FRAMES, transform.hop_samples), NO_SAMPLE, np.int16),
        "features": np.full((BLOCK_FRAMES, transform.size), np.nan, np.dtype(dtype)),
        "frame_recording": np.full(BLOCK_FRAMES, NO_RECORDING, np.int32),
        "frame_time": np.full(BLOCK_FRAMES, np.nan, np.float64),
    }


def _fill_part(
    transform: Transform, part: Part, low: int, pcm: Int16, rows: dict[str, Array]
) -> None:
    """Fill a recording's rows of a block from its samples from `low` on.

    Frames [a, b) hear silence outside the recording; their audio is samples [aH, bH).
    """
    hop = transform.hop_samples
    first, stop_frame = part.first_frame, part.first_frame + part.frames
    heard = transform.heard_samples(first, stop_frame)
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


def _analyze_into(transform: Transform, signal: Array, out: Array) -> None:
    """Write the frames of a signal to `out`, [F, size], in pieces that stay in the caches."""
    begin, _ = transform.heard_samples(0, len(out))
    for first in range(0, len(out), _PIECE_FRAMES):
        piece = out[first : first + _PIECE_FRAMES]
        start, stop = transform.heard_samples(first, first + len(piece))
        frames = transform.analyze_frames(signal[start - begin : stop - begin])
        piece[:] = to_float16(frames) if out.dtype == np.float16 else frames


def _summary(location: Location, store: FrameStore | None, written: int) -> ExtractSummary:
    if store is None or not store.recording_rows:
        location.ensure_workspace()
        raise NoInputError(f"{location.url} holds no decoded recordings; run `fadae ingest` first")
    features = FeatureSet(store)
    return ExtractSummary(
        recordings=store.recording_rows,
        frames=features.frames,
        audio_seconds=features.audio_seconds,
        shards_written=written,
        shards_kept=-(-store.rows // BLOCK_FRAMES) - written,
        energy_kept=_told(features, energy_kept(features)),
    )


def energy_kept(features: FeatureSet) -> float | None:
    """Return the share of the recordings' energy that the transform's bands hear, 0 to 1.

    What the transform's own synthesis gives back. Measured on every fourth frame of at most 64
    chunks of 64 rows, spread evenly over the store, so it costs the same for any amount of music:
    some tenths of a second. None where these are silent.
    """
    transform = features.transform
    chunks = -(-features.rows // CHUNK_FRAMES)
    sample = np.unique(np.linspace(0, chunks - 1, min(chunks, _ENERGY_CHUNKS)).astype(int))

    def energies(chunk: int) -> Array:
        """Return [2]: the energy of a chunk's frames in the bands, and in all."""
        first = chunk * CHUNK_FRAMES
        try:
            stop = min(first + CHUNK_FRAMES, features.rows)
            hops = features.read("audio", first, stop)
            recording = features.read("frame_recording", first, stop)
        except DamagedError:  # `verify` tells and repairs it; a measure can do without
            return np.zeros(2)
        samples = np.where(hops == NO_SAMPLE, 0, hops) * np.float32(PCM_SCALE)
        frames = np.concatenate([samples[:-1], samples[1:]], axis=1)
        # A frame is two hops of one recording: not the last of one and the first of the next.
        inside = (recording[1:] == recording[:-1]) | (recording[1:] == NO_RECORDING)
        return np.array(transform.heard_energy(frames[inside][::4]))

    kept, total = sum(features.store.location.concurrently(energies, sample.tolist()), np.zeros(2))
    return float(kept / total) if total > 0 else None


def _told(features: FeatureSet, kept: float | None) -> float | None:
    """Say in one line what share of the energy the features keep; return it."""
    if kept is not None:
        about = features.transform
        hint = "" if kept > _NEARLY_ALL else "; --preset full keeps all of it"
        log.info(
            "kept %.0f %% of the energy, the bands from %.0f to %.0f Hz%s",
            100 * kept,
            about.band_low_hz[0],
            about.band_high_hz[-1],
            hint,
        )
    return kept
