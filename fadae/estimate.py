"""What a job costs before it is run: bytes, objects, requests, core-hours and hours a stage.

Arithmetic on a few measured constants, each with where it comes from. Speeds are those of the
preset `seed`; sizes are those of the preset that is asked for.
`python -m tests.benchmarks.bench_estimate` measures those of a machine again, beside these.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fadae.query import WorkspaceStatus

SECONDS_PER_HOUR = 3600.0
TYPICAL_HOURS = (1e3, 1e5, 1e7)
BLOCK_FRAMES = 1024  # rows of a shard: one task's work, one object an array
CHUNK_FRAMES = 64  # rows of a chunk: the least that is read at once
CHECKPOINT_SECONDS = 120.0  # between two, by default
WEIGHT_BYTES = 4 * 18_087_936  # float32
CHECKPOINT_BYTES = 3 * WEIGHT_BYTES  # weights and Adam's two moments
# Of a workspace of 11 recordings, by part: a commit; a recording in the table, its index, a plan
# and a listing; a row's times and recording; arrays of the bands and all documents.
COMMIT_BYTES, RECORDING_BYTES, ROW_BYTES, TABLE_BYTES = 550, 1500, 3.0, 30_000
# Requests to the bucket, counted before a real S3 server. Of a block: look whether it is done, read
# the store's root, mark it as done; stage 4 reads roots, rows, recordings and sums besides.
REQUESTS_PER_EXTRACTED_BLOCK = 3 + 4
REQUESTS_PER_RECONSTRUCTED_BLOCK = 10 + 5

_HERE = "bench_estimate, one of two AMD EPYC cores, both busy"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number with its unit and its source."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Constants:
    """What the estimate multiplies with: layout, music, machine, archive."""

    rate_hz: Constant = Constant(11025, "samples/s", "preset seed")
    hop_samples: Constant = Constant(3750, "samples/row", "preset seed")
    coefficients: Constant = Constant(8192, "coefficients/row", "preset seed")
    code: Constant = Constant(256, "values/row", "the seed's autoencoder")
    feature_bytes: Constant = Constant(2, "bytes/coefficient", "float16, the default")
    feature_ratio: Constant = Constant(0.943, "stored/raw", f"zstd 1 on 21 min of music; {_HERE}")
    audio_ratio: Constant = Constant(0.90, "stored/raw", f"zstd 1 on 21 min of music; {_HERE}")
    source_rate: Constant = Constant(
        15_900,
        "bytes/s of audio",
        "12 Ogg Vorbis files of 21 minutes; VBR MP3 has about twice that",
    )
    recording_seconds: Constant = Constant(240, "s", "assumed: a track of four minutes")
    item_tracks: Constant = Constant(12, "tracks/item", "assumed: an album")
    ingest_rate: Constant = Constant(730, "audio s/core-s", f"Ogg to staged PCM; {_HERE}")
    extract_rate: Constant = Constant(1460, "audio s/core-s", f"PCM to shards; {_HERE}")
    reconstruct_rate: Constant = Constant(390, "audio s/core-s", f"all of stage 4; {_HERE}")
    train_rate: Constant = Constant(600, "frames/core-s", f"dense, fp32, batch 64; {_HERE}")
    transfer_rate: Constant = Constant(
        1e6, "bytes/s a transfer", "assumed of archive.org; --downloads of them at a time"
    )
    driver_seconds: Constant = Constant(
        0.002, "s/task", "the limit that the drivers are tested against"
    )


PRESETS = {
    "seed": Constants(),
    "critical": Constants(
        coefficients=Constant(3750, "coefficients/row", "preset critical at 11025 Hz"),
        feature_ratio=Constant(0.944, "stored/raw", f"zstd 1 on 21 min of music; {_HERE}"),
    ),
}


@dataclass(frozen=True, slots=True)
class WorkspaceEstimate:
    """Bytes that a workspace holds when all is extracted, by part, and those of one run more.

    Until they are published, samples are staged beside that: `staged_at_most`, if all is ingested
    first. A run is that of the seed's autoencoder, with two checkpoints and the best weights.
    """

    staging: int  # commits
    features: int
    audio: int
    recordings: int  # their table and its index, plans and listings
    total: int
    staged_at_most: int
    run: int
    reconstructions: int


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage of a job costs. Requests are those to the bucket."""

    bytes_read: float
    bytes_written: float
    objects_written: float
    requests: float
    core_hours: float
    wall_hours: float
    bound_by: str

    def scaled(self, share: float) -> StageEstimate:
        """Return the cost of a share of the stage, 0 to 1."""
        numbers = {
            one.name: getattr(self, one.name) * share
            for one in dataclasses.fields(self)
            if one.name != "bound_by"
        }
        return StageEstimate(**numbers, bound_by=self.bound_by)


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked: how much audio, on how much machine.

    workers: processes of one core each. ranks: of the training, one core each. train_frames: the
    sample that is trained on, as `--max-frames` takes it. preset: one of `PRESETS`.
    """

    audio_hours: float
    workers: int = 16
    downloads: int = 4
    ranks: int = 1
    epochs: int = 100
    train_frames: int = 500_000
    holdout: float = 0.5
    preset: str = "seed"
    gpu_rate: float | None = None
    """Frames learned a second by one GPU: the ranks are GPUs then, and their hours GPU hours."""

    @property
    def audio_seconds(self) -> float:
        """The same in seconds."""
        return self.audio_hours * SECONDS_PER_HOUR


def estimate(job: Job, constants: Constants | None = None) -> dict[str, StageEstimate]:
    """Return what each of the four stages costs, by name.

    >>> hours = estimate(Job(audio_hours=1000, workers=16))
    >>> round(hours["extract"].bytes_written / 1e9), hours["ingest"].bound_by
    (235, 'the archive')
    """
    of = _Figures(job, constants or PRESETS[job.preset])
    return {
        "ingest": of.ingest(),
        "extract": of.extract(),
        "train": of.train(),
        "reconstruct": of.reconstruct(),
    }


def estimate_workspace(job: Job, constants: Constants | None = None) -> WorkspaceEstimate:
    """Return what a workspace holds.

    >>> round(estimate_workspace(Job(audio_hours=10)).total / 1e9, 2)
    2.35
    >>> round(estimate_workspace(Job(audio_hours=10, preset="critical")).total / 1e9, 2)
    1.47
    """
    return _Figures(job, constants or PRESETS[job.preset]).workspace()


def expected_hours(status: WorkspaceStatus) -> float:
    """Return the hours of audio of a workspace once all that is listed is ingested."""
    ingest = status.stages["ingest"]
    usable = max(ingest.done, (ingest.total or 0) - (ingest.failed or 0))
    return status.audio_hours * usable / max(1, ingest.done)


def remaining(status: WorkspaceStatus, job: Job) -> dict[str, StageEstimate]:
    """Return what is left to do in a workspace, by stage; `job` is about all of its audio.

    A stage's cost falls as what is done grows: in recordings, in blocks, in steps.
    """
    costs = estimate(job)
    blocks = _Figures(job, PRESETS[job.preset]).blocks
    whole = status.stages["ingest"]
    is_ingested = whole.total is not None and whole.done + (whole.failed or 0) >= whole.total
    left = {}
    for name, cost in costs.items():
        stage = status.stages[name]
        done, total = stage.done + (stage.failed or 0), stage.total
        if name in ("extract", "reconstruct") and not (is_ingested and total and done >= total):
            total = math.ceil(max(blocks, total or 0))
        share = max(0.0, 1 - done / total) if total else 1.0
        left[name] = cost.scaled(share)
    return left


class _Figures:
    """The quantities that several stages share, and each stage's sums."""

    def __init__(self, job: Job, constants: Constants) -> None:
        self.job, self.of = job, constants
        seconds = job.audio_seconds
        self.recordings = seconds / constants.recording_seconds.value
        self.pcm_bytes = 2 * seconds * constants.rate_hz.value
        hops = seconds * constants.rate_hz.value / constants.hop_samples.value
        self.frames = hops + self.recordings  # the last hop of a recording is seen by two frames
        self.blocks = max(1.0, self.frames / BLOCK_FRAMES)
        row = constants.coefficients.value * constants.feature_bytes.value
        self.row_bytes = row * constants.feature_ratio.value
        self.audio_bytes = self.pcm_bytes * constants.audio_ratio.value

    def workspace(self) -> WorkspaceEstimate:
        """Add up what stays."""
        staging = COMMIT_BYTES * self.recordings
        features = self.frames * self.row_bytes
        recordings = TABLE_BYTES + RECORDING_BYTES * self.recordings + ROW_BYTES * self.frames
        return WorkspaceEstimate(
            staging=round(staging),
            features=round(features),
            audio=round(self.audio_bytes),
            recordings=round(recordings),
            total=round(staging + features + self.audio_bytes + recordings),
            staged_at_most=round(self.pcm_bytes),
            run=2 * CHECKPOINT_BYTES + 2 * WEIGHT_BYTES,
            reconstructions=round(self.reconstruct().bytes_written),
        )

    def ingest(self) -> StageEstimate:
        """Per recording: look for its commit, write PCM and commit; a page of listing an item."""
        read = self.job.audio_seconds * self.of.source_rate.value
        items = self.recordings / self.of.item_tracks.value
        return self._mapped(
            read=read,
            written=self.pcm_bytes + 1000 * self.recordings,
            objects=2 * self.recordings + items,
            requests=3 * self.recordings + 2 * items,
            rate=self.of.ingest_rate,
            tasks=self.recordings,
            transfer_hours=read
            / self.job.downloads
            / self.of.transfer_rate.value
            / SECONDS_PER_HOUR,
        )

    def extract(self) -> StageEstimate:
        """Per recording: read its commit and its PCM, in as many parts as blocks it lies in."""
        parts = self.recordings + self.blocks
        return self._mapped(
            read=self.pcm_bytes,
            written=self.frames * self.row_bytes + self.audio_bytes,
            objects=5 * self.blocks,
            requests=self.recordings + parts + REQUESTS_PER_EXTRACTED_BLOCK * self.blocks,
            rate=self.of.extract_rate,
            tasks=self.recordings + self.blocks,
        )

    def train(self) -> StageEstimate:
        """Read once, kept in memory; a sample's chunks are at least half used."""
        job = self.job
        wanted = min(self.frames, job.train_frames)
        shards = min(self.blocks, 2 * wanted / CHUNK_FRAMES)
        rows = min(self.frames, 2 * wanted)
        seen = wanted * (1 - job.holdout) * job.epochs
        core_hours = seen / (job.gpu_rate or self.of.train_rate.value) / SECONDS_PER_HOUR
        wall_hours = core_hours / job.ranks
        checkpoints = 1 + wall_hours * SECONDS_PER_HOUR / CHECKPOINT_SECONDS
        return StageEstimate(
            bytes_read=rows * self.row_bytes,
            bytes_written=checkpoints * CHECKPOINT_BYTES,  # most of it deleted again
            objects_written=12,
            requests=2 * shards + 5 * checkpoints,
            core_hours=core_hours,
            wall_hours=wall_hours,
            bound_by="cores",
        )

    def reconstruct(self) -> StageEstimate:
        """Per block: read the features and the next row's; write five arrays."""
        code_bytes = 4 * (self.of.code.value + 1) + 8 * 6
        return self._mapped(
            read=self.frames * self.row_bytes,
            written=self.frames * (self.row_bytes + code_bytes) + self.audio_bytes,
            objects=6 * self.blocks,
            requests=REQUESTS_PER_RECONSTRUCTED_BLOCK * self.blocks,
            rate=self.of.reconstruct_rate,
            tasks=self.blocks,
        )

    def _mapped(
        self,
        *,
        read: float,
        written: float,
        objects: float,
        requests: float,
        rate: Constant,
        tasks: float,
        transfer_hours: float = 0.0,
    ) -> StageEstimate:
        """Return a mapped stage: it takes as long as the slowest of cores, archive and driver."""
        core_hours = self.job.audio_seconds / rate.value / SECONDS_PER_HOUR
        hours = {
            "cores": core_hours / self.job.workers,
            "the archive": transfer_hours,
            "the driver": tasks * self.of.driver_seconds.value / SECONDS_PER_HOUR,
        }
        bound_by = max(hours, key=lambda name: hours[name])
        return StageEstimate(
            read, written, math.ceil(objects), requests, core_hours, hours[bound_by], bound_by
        )


def table(jobs: list[Job], constants: Constants | None = None) -> str:
    """Return the estimates as a Markdown table, a row a stage."""
    lines = [
        "| hours | stage | read | written | objects | requests | core-hours | wall | bound by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for job in jobs:
        for stage, cost in estimate(job, constants).items():
            cells = [
                f"{job.audio_hours:,.0f}",
                stage,
                _scaled(cost.bytes_read, "B"),
                _scaled(cost.bytes_written, "B"),
                _scaled(cost.objects_written),
                _scaled(cost.requests),
                _scaled(cost.core_hours),
                _duration(cost.wall_hours),
                cost.bound_by,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sources(constants: Constants | None = None) -> str:
    """Return the constants as a Markdown table: value, unit, where it comes from."""
    constants = constants or Constants()
    lines = ["| constant | value | unit | from |", "|---|---|---|---|"]
    for entry in dataclasses.fields(constants):
        one: Constant = getattr(constants, entry.name)
        name = entry.name.replace("_", " ")
        lines.append(f"| {name} | {one.value:,g} | {one.unit} | {one.source} |")
    return "\n".join(lines)


def _scaled(value: float, unit: str = "") -> str:
    """Return a number to three digits, with a decimal prefix.

    >>> _scaled(172_345_000_000, "B"), _scaled(12)
    ('172 GB', '12')
    """
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def _duration(hours: float) -> str:
    """Return a time as a person would say it.

    >>> _duration(0.5), _duration(30), _duration(24 * 800)
    ('30 min', '30 h', '2.2 years')
    """
    if hours < 1:
        return f"{hours * 60:.0f} min"
    if hours < 72:
        return f"{hours:.3g} h"
    days = hours / 24
    return f"{days:.0f} days" if days < 730 else f"{days / 365.25:.1f} years"
