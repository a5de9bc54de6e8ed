"""What each stage hands back: one frozen summary a stage, and the JSON that it is printed as.

A summary's values are attributes (`summary.frames`). It is a read-only mapping as well, of what
`--json` prints (`summary["frames"]`, `dict(summary)`); there undefined numbers are NaN or None, and
null in JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fadae.errors import Summary
from fadae.records import (
    CodeSize,
    ComparedLine,
    FailureLine,
    ProblemLine,
    PrunedKind,
    RecordingCounts,
)


@dataclass(frozen=True, eq=False)
class StageSummary(Mapping[str, Any]):
    """The base of the summaries: a frozen dataclass and the mapping of its own JSON."""

    def to_dict(self) -> dict[str, object]:
        """Return what `--json` prints, by its keys and in their order."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())


@dataclass(frozen=True, eq=False)
class IngestSummary(StageSummary):
    """What a selection came to, what was done before included.

    >>> summary = IngestSummary(recordings=2, ok=2, audio_seconds=7.5)
    >>> summary.ok, summary["audio_seconds"], summary.failures
    (2, 7.5, [])
    """

    recordings: int = 0  # ok + failed + quarantined
    ok: int = 0  # decoded and staged
    failed: int = 0  # for a passing reason: they may be had later
    quarantined: int = 0  # they will never be had
    audio_seconds: float = 0.0
    bytes: int = 0  # of the sources' files
    forgotten: int = 0  # listed, and not asked for: tombstones say so; counted nowhere else
    excluded: int = 0  # listed, and not asked for: --exclude names them
    failures: Sequence[FailureLine] = field(default_factory=list)  # the first 1000, by id


@dataclass(frozen=True, eq=False)
class WatchSummary(StageSummary):
    """What a watch over a folder has done, and what the workspace holds."""

    folder: str
    looks: int = 0
    ok: int = 0  # files taken by this watch
    failed: int = 0  # files that are left, for a passing reason
    quarantined: int = 0  # files that can never be read
    changed: int = 0  # files that were other ones later: what was taken of them stays
    left_out: int = 0  # files that are forgotten, or excluded
    recordings: int = 0  # published, in all
    audio_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ExtractSummary(StageSummary):
    """What the features hold, repeated PCM counted once, and what this call did."""

    recordings: int
    frames: int
    audio_seconds: float
    shards_written: int  # blocks of 1024 frames, by this call
    shards_kept: int
    energy_kept: float | None  # share that the bands hear, 0 to 1


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSummary(StageSummary):
    """What a run has come to; None where a figure is not known, or not yet.

    >>> TrainSummary(run="a", steps=3, figures={"code_bytes": 12.5})["holdout_code_bytes"]
    12.5
    """

    run: str
    model: str | None = None
    steps: int | None = None
    epochs: float | None = None
    train_loss: float | None = None  # of the last whole epoch
    holdout_loss: float | None = None
    holdout_nmse_db: float | None = None  # of the companded, scaled values
    holdout_nmse_linear_db: float | None = None  # of the coefficients
    pca_nmse_db: float | None = None
    pca_nmse_linear_db: float | None = None
    pca_components: int | None = None
    best_step: int | None = None
    best_holdout_nmse_db: float | None = None
    train_frames: int | None = None
    holdout_frames: int | None = None
    stale_recordings: int | None = None  # published since the run began, unknown to it
    padding_rows: int | None = None
    silent_rows: int | None = None
    failed_rows: int | None = None
    model_sha256: str | None = None
    samples_per_second: float | None = None
    waited_share: float | None = None
    ranks: int | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)  # the model's own, held out
    bytes_a_row: float | None = None  # of a frame's code; held out, where it varies
    kbps: float | None = None  # the same, by time
    published_step: int | None = None  # of the weights in the model's file, once it is written

    @property
    def code_size(self) -> CodeSize | None:
        """What the codes of the frames held out take; None where that is not known."""
        if self.bytes_a_row is None or self.kbps is None:
            return None
        return CodeSize(self.bytes_a_row, self.kbps)

    def to_dict(self) -> dict[str, object]:
        """Return what `--json` prints: a model's figures as holdout_<name>, at the end."""
        values = super().to_dict()
        del values["figures"]
        published = values.pop("published_step")
        values |= {f"holdout_{name}": value for name, value in self.figures.items()}
        return values if published is None else {**values, "published_step": published}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that `to_dict` wrote; what an earlier fadae did not tell is None."""
        names = {one.name for one in dataclasses.fields(cls)} - {"figures"}
        known = {name: value for name, value in values.items() if name in names}
        own = {
            name.removeprefix("holdout_"): value
            for name, value in values.items()
            if name.startswith("holdout_") and name not in names
        }
        return cls(**known, figures=own)


@dataclass(frozen=True, eq=False)
class ReconstructSummary(StageSummary):
    """What a run makes of the features, in dB; NaN where there is nothing to compare."""

    run: str
    frames: int
    shards_written: int  # blocks of 1024 frames, by this call
    shards_kept: int
    nmse_db: float  # companded, pooled over all frames
    audio_snr_db: float  # against the transform's own synthesis
    audio_si_sdr_db: float
    log_spectral_distance_db: float
    held_out_nmse_db: float  # pooled over the frames that the run held out
    held_out_audio_snr_db: float
    trained_nmse_db: float  # ... and over those it trained on
    trained_audio_snr_db: float
    model_sha256: str
    bytes_a_row: float | None  # of the codes, without their scale; None in an earlier fadae's store
    kbps: float | None


@dataclass(frozen=True, eq=False)
class VerifySummary(StageSummary):
    """What was checked, what is missing or damaged, and what of it was repaired."""

    recordings_checked: int
    shards_checked: int
    shards_damaged: int
    shards_repaired: int
    problems_found: int
    problems_repaired: int
    problems: Sequence[ProblemLine] = field(default_factory=list)  # the first 1000


@dataclass(frozen=True, eq=False)
class JobSummary(StageSummary):
    """The four stages in a row; None for those that were not reached."""

    ingest: IngestSummary | None = None
    extract: ExtractSummary | None = None
    train: TrainSummary | None = None
    reconstruct: ReconstructSummary | None = None

    def including(self, summary: Summary | None) -> Self:
        """Return the summary with that of a stage in its place; without any it stays."""
        match summary:
            case IngestSummary():
                return dataclasses.replace(self, ingest=summary)
            case ExtractSummary():
                return dataclasses.replace(self, extract=summary)
            case TrainSummary():
                return dataclasses.replace(self, train=summary)
            case ReconstructSummary():
                return dataclasses.replace(self, reconstruct=summary)
        return self

    def to_dict(self) -> dict[str, object]:
        """Return an object for each stage that was reached."""
        return {
            name: value.to_dict() if isinstance(value, StageSummary) else value
            for name, value in super().to_dict().items()
            if value is not None
        }


@dataclass(frozen=True, eq=False)
class DemoSummary(JobSummary):
    """The four stages of the demonstration, how the codes compare, and what lies where."""

    compared: Sequence[ComparedLine] = field(default_factory=list)
    wrote: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReportSummary(StageSummary):
    """Where a report was written, and what it is of."""

    run: str
    recordings: int
    files: int
    folder: str
    index: str


@dataclass(frozen=True, eq=False)
class WorkspaceSummary(StageSummary):
    """What a workspace holds."""

    workspace: str
    recordings: RecordingCounts
    frames: int
    audio_seconds: float
    transform: str | None
    rate_hz: int | None
    runs: Sequence[str]
    reconstructions: Sequence[str]
    codes: Mapping[str, str]  # what a run's code takes, of those of which it is known
    sizes: Mapping[str, int]  # bytes by part: staging, features, audio, runs ...; total
    sizes_estimated: Sequence[str]  # the parts of which a sample tells
    failures: Sequence[FailureLine]  # the first 1000
    # Published recordings by licence, as SPDX names it, or `unknown`; of many a sample tells.
    licences: Mapping[str, int] = field(default_factory=dict)
    licences_estimated: bool = False
    forgotten: int = 0  # published recordings that tombstones hide: counted nowhere else
    tombstones: int = 0
    # Runs that trained on recordings forgotten since, and on how many.
    learned_forgotten: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PruneSummary(StageSummary):
    """What a workspace could do without: by kind, how many objects and bytes went, or would."""

    dry_run: bool
    bytes: int
    objects: int
    kinds: Mapping[str, PrunedKind]


@dataclass(frozen=True, eq=False)
class ExportSummary(StageSummary):
    """What an export holds, and what this call wrote of it."""

    to: str
    format: str
    run: str | None  # whose codes, or whose split
    recordings: int
    pieces: int  # samples, or rows
    audio_seconds: float
    splits: Mapping[str, int]  # recordings of each
    shards_written: int  # by this call
    shards_kept: int
    left_out: int  # recordings of other licences than asked for


@dataclass(frozen=True, eq=False)
class ForgetSummary(StageSummary):
    """What a workspace forgets: in all, and what of it a call wrote and erased."""

    tombstones: int  # in all
    new: int  # by this call
    recordings: int  # published ones that are hidden, in all
    erased_recordings: int  # looked through by this call: zero without --erase
    erased_frames: int  # rows that hold fill values now
    erased_blocks: int  # of features and reconstructions, with such rows
    learned: Mapping[str, int]  # runs that trained on what is forgotten, and on how many of it
