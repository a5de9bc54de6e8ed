"""What a job is asked for: what all commands share, then a section of options a stage.

The options are declared here and nowhere else; `fadae.config.options` says what follows from it.
The defaults are the 2017 experiment's.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from fadae.config.files import build, load_recipe, load_settings
from fadae.config.options import Section, check, option
from fadae.errors import UsageError
from fadae.licences import LicencePolicy
from fadae.memory import cache_within, memory_limit_bytes
from fadae.records import Failure

DEFAULT_ITEM = "AOC11B"

# How a sample of frames is drawn and an exact sum is added up. Runs keep the rules they began with:
# 1 draws single rows (`RowSet.thinned`), adds up each leaf's whole gradient; 2 draws whole chunks
# (`RowSet.in_chunks`), adds up the leaves' gradients of a Linear in tiles that fit a cache.
NEWEST_RULES = 2


class WhichFailures(StrEnum):
    """Which recordings that failed before are tried again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    ALL = "all"
    NONE = "none"

    def covers(self, failure: Failure) -> bool:
        """Return whether a failure is one to try again."""
        return self is WhichFailures.ALL or self.value == failure.failure_class.value


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording may cost; beyond it is quarantined with a reason."""

    decoded_seconds: float = 4 * 3600.0
    channels: int = 32
    source_rate_hz: int = 384_000
    file_bytes: int = 4 << 30
    wall_seconds: float = 1800.0
    """For one recording in the sandbox, whatever its length."""
    stall_seconds: float = 120.0
    """Without any PCM from the sandbox."""
    memory_bytes: int = 384 << 20
    """Of the sandbox, above what it needs to start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to ingest, whatever the selection."""

    rate_hz: int = 11025
    downloads: int = 4
    """Transfers from the archive at a time, over the whole cluster."""
    limit: int | None = None
    """At most so many usable recordings, over all sources, in the order of their listings.

    What is quarantined does not count: the next of the listing comes in its place. What failed in
    passing does: it may be had by the next call."""
    keep_source: bool = False
    keep_damaged: bool = False
    retry: WhichFailures = WhichFailures.TRANSIENT
    refresh: bool = False
    generation: str | None = None
    """With `refresh`: what was listed in this generation is not listed again."""
    fail_over: float | None = None
    """End when more than this share of a selection is quarantined, 0 to 1."""
    licence: LicencePolicy | None = None
    """Which licences are admitted; others are quarantined. None: all."""
    exclude: str = ""
    """Ids, items and patterns that are passed over, a line each."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all commands share: where the job lies and where it runs."""

    section: ClassVar[str] = "job"
    workspace: str = option("./workspace", short="-w", help="Folder or URL of the job.")
    run: str | None = option(
        None,
        help="Training run. `train` makes or continues it (default: `default`). Other commands "
        "take the only run there is; of several, the best on held-out frames.",
    )
    device: str = option("auto", help="Device: auto, cpu, cuda, or one GPU as cuda:1.")
    scheduler: str | None = option(
        None,
        env="DASK_SCHEDULER_ADDRESS",
        help="Address of a Dask scheduler, or gateway://NAME of a cluster of Dask Gateway. Without "
        "one, a cluster starts here.",
    )
    scheduler_file: str | None = option(
        None, help="File that `dask scheduler --scheduler-file` writes, instead of an address."
    )
    workers: int | None = option(
        None, minimum=1, help="Workers of the cluster here; default one a core."
    )
    generation: str | None = option(
        None,
        help="Name of this pass over the stages: each notes in the workspace that it ended, as "
        "`wait --generation` asks; `ingest --refresh` lists once in each.",
    )
    metrics_port: int | None = option(
        None, minimum=0, maximum=65535, help="Port to serve /metrics for Prometheus on; 0: any."
    )
    metrics_host: str = option(
        "127.0.0.1", help="Address to serve /metrics on; the default is this computer only."
    )

    @property
    def cluster(self) -> str | None:
        """Where the scheduler is, in one value: see `cluster_of`."""
        return cluster_of(self.scheduler, self.scheduler_file)


FILE_SCHEME = "file:"  # of a scheduler whose address a file holds


def cluster_of(scheduler: str | None, scheduler_file: str | None) -> str | None:
    """Return a scheduler's address or the file that holds it as one value; None for neither.

    >>> cluster_of("tcp://host:8786", None), cluster_of(None, "shared/dask.json")
    ('tcp://host:8786', 'file:shared/dask.json')
    >>> cluster_of("tcp://host:8786", "dask.json")
    Traceback (most recent call last):
    fadae.errors.UsageError: --scheduler-file dask.json and --scheduler tcp://host:8786: give one
    """
    if not scheduler_file:
        return scheduler
    if scheduler:
        raise UsageError(f"--scheduler-file {scheduler_file} and --scheduler {scheduler}: give one")
    return f"{FILE_SCHEME}{scheduler_file}"


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Which recordings to ingest, and how."""

    section: ClassVar[str] = "ingest"
    items: tuple[str, ...] = option(
        (), positional=True, help=f"Internet Archive items; default {DEFAULT_ITEM}."
    )
    collection: tuple[str, ...] = option(
        (), env="FADAE_COLLECTIONS", help="All audio items of a collection; repeatable."
    )
    search: tuple[str, ...] = option(
        (), lines=True, help="All items that a query finds; repeatable."
    )
    folder: tuple[str, ...] = option(
        (), lines=True, help="Audio files below a folder or bucket; repeatable."
    )
    source: tuple[str, ...] = option(
        (),
        lines=True,
        unit="NAME:ADDRESS",
        help="A source of another installed package; repeatable.",
    )
    follow_links: bool = option(False, help="Follow symbolic links that lead out of a --folder.")
    formats: tuple[str, ...] = option(
        (), flag="--format", lines=True, help="Encodings in order of preference; repeatable."
    )
    archive_url: str = option("https://archive.org", help="The archive to ask.")
    contact: str = option("", help="Who the archive may write to: a URL or an address.")
    limit: int | None = option(
        None,
        minimum=1,
        help="At most this many usable recordings, in the order of the listing.",
    )
    downloads: int = option(
        4, minimum=1, help="Transfers from the archive at a time, over the whole cluster."
    )
    keep_source: bool = option(False, help="Keep the original files too.")
    keep_damaged: bool = option(False, help="Keep a damaged recording up to the damage.")
    retry: str = option(
        "transient",
        choices=tuple(WhichFailures),
        help="Which recordings that failed before to try again.",
    )
    refresh: bool = option(False, help="List the selection again.")
    fail_over: str | None = option(
        None,
        unit="PERCENT",
        help="End with exit code 66 when more than this share of the recordings is quarantined, "
        "as 5%, once 50 have been tried.",
    )
    licence: str | None = option(
        None,
        unit="POLICY",
        help="Quarantine recordings of other licences than these: cc0, pd, by, by-sa, by-nd, "
        "by-nc, by-nc-sa, by-nc-nd, unknown, or identifiers of SPDX, with commas between.",
    )
    exclude: str | None = option(
        None,
        unit="FILE",
        shared=False,
        help="Pass over what this file names: ids (item/file), items, patterns, a line each.",
    )
    max_hours: float = option(4.0, above=0, unit="hours", help="Longest recording.")
    max_channels: int = option(32, minimum=1, help="Most channels of a recording.")
    max_rate: int = option(
        384_000, minimum=1, unit="Hz", help="Highest sample rate of a recording."
    )
    max_megabytes: int = option(4_000, minimum=1, unit="MB", help="Largest file.")

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check(self)
        share_of(self.fail_over)
        policy_of(self.licence)

    def settings(self, rate_hz: int, generation: str | None = None) -> Settings:
        """Return how to ingest at a sample rate, whatever the selection."""
        limits = Limits(
            decoded_seconds=3600 * self.max_hours,
            channels=self.max_channels,
            source_rate_hz=self.max_rate,
            file_bytes=1_000_000 * self.max_megabytes,
        )
        return Settings(
            rate_hz=rate_hz,
            downloads=self.downloads,
            limit=self.limit,
            keep_source=self.keep_source,
            keep_damaged=self.keep_damaged,
            retry=WhichFailures(self.retry),
            refresh=self.refresh,
            generation=generation,
            fail_over=share_of(self.fail_over),
            licence=policy_of(self.licence),
            exclude=_text_of(self.exclude),
            limits=limits,
        )


def policy_of(licence: str | None) -> LicencePolicy | None:
    """Return the policy that an option says, None for none."""
    return None if licence is None else LicencePolicy.of(licence)


def _text_of(file: str | None) -> str:
    if file is None:
        return ""
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read --exclude {file}: {error}") from None


def share_of(percent: str | None) -> float | None:
    """Return the share that a text of percents says, 0 to 1; None for none.

    >>> share_of("5%"), share_of("12.5"), share_of(None)
    (0.05, 0.125, None)
    """
    if not percent:
        return None
    try:
        share = float(percent.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError(f"--fail-over {percent}: expected percents from 0 to below 100, as 5%")
    return share


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Which features to extract."""

    section: ClassVar[str] = "extract"
    preset: str = option(
        "seed",
        choices=("seed", "full", "critical"),
        help="Transform. seed keeps 297-3066 Hz, as the 2017 experiment did, often less than half "
        "of the music's energy; full keeps everything from 0 Hz to half the sample rate; critical "
        "too, in a quarter of the numbers, and is orthonormal.",
    )
    sample_rate: int = option(11025, minimum=1, unit="Hz", help="Sample rate. seed needs 11025 Hz.")
    dtype: str = option(
        "float16", choices=("float16", "float32"), help="Type of the stored features."
    )
    keep_staging: bool = option(
        False,
        help="Keep decoded sound in the staging area too when it is published. The features hold "
        "the same samples.",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; the defaults of the recipe are those of the 2017 experiment.

    Raises UsageError on a value that cannot be meant.
    """

    section: ClassVar[str] = "train"
    run: str = "default"

    # The recipe: what the result is a function of, together with the published rows.
    model: str = option(
        "dense",
        help="dense, pca; of preset critical also bytes and tables; or a model of another package.",
    )
    widths: tuple[int, ...] = option(
        (1024, 512, 256),
        joined=True,
        minimum=1,
        unit="N,N,...",
        help="Widths of the encoder's layers, the code's last.",
    )
    model_option: tuple[str, ...] = option(
        (), lines=True, unit="NAME=VALUE", help="An option of the model's own; repeatable."
    )
    options: Mapping[str, Any] = field(default_factory=dict)  # of the model's own, by name
    epochs: int = option(100, minimum=1, help="Passes over the training frames; may grow.")
    max_steps: int | None = option(None, minimum=1, help="Stop after this many steps; may grow.")
    batch_size: int = option(64, minimum=1, unit="frames", help="Batch size over all ranks.")
    learning_rate: float = option(5e-5, flag="--lr", above=0, help="Learning rate for Adam.")
    warmup_steps: int = option(0, minimum=0, help="Steps up to the learning rate.")
    schedule: str = option(
        "constant",
        choices=("constant", "cosine"),
        help="Learning rate over time; cosine ends at 0.",
    )
    weight_decay: float = option(0.0, minimum=0, help="Weight decay, decoupled (AdamW).")
    clip_norm: float | None = option(None, above=0, help="Largest norm of a gradient.")
    holdout: float = option(
        0.5,
        minimum=0,
        below=1,
        help="Fraction of recordings held out for evaluation, weighted by length.",
    )
    max_frames: int | None = option(
        None,
        minimum=1,
        unit="frames",
        help="Train on a seeded sample of frames, in stored chunks of 64 neighbours.",
    )
    seed: int = option(0, minimum=0, help="Seed for weights, holdout, samples and order.")
    precision: str = option(
        "auto",
        choices=("auto", "fp32", "bf16"),
        help="bf16 is autocast, weights stay fp32. auto: as the run began; a new one with bf16 "
        "where the device computes with it (AVX512-BF16, AMX, GPUs), with fp32 elsewhere, with "
        "--reduction exact and for byte codes.",
    )
    reduction: str = option(
        "fast",
        choices=("fast", "exact"),
        help="How ranks add gradients; exact gives the same bits at 1, 2 and 4 ranks.",
    )
    leaves: int = 4  # of the exact sum
    rules: int = NEWEST_RULES
    micro_batch: int | None = option(
        None, minimum=1, unit="frames", help="Frames at a time on a rank; gradients add up."
    )
    lanes: int = 16
    window_rows: int = 1024
    threads: int = 1  # a rank's; the last bits of a matrix product depend on it
    evaluate_epochs: int | None = option(
        None,
        minimum=1,
        unit="epochs",
        help="Epochs between evaluations; default about ten evaluations a run.",
    )
    early_stopping: int | None = option(
        None,
        minimum=1,
        help="Stop after this many evaluations without improvement, and publish the best.",
    )
    log_steps: int = 20

    # The placement: how this start carries it out.
    ranks: int | None = option(
        None,
        minimum=1,
        help="Processes that share every batch. Default one a GPU, without GPUs one: on two cores "
        "two ranks learn batches of 64 at 0.6 to 0.7 of the speed of one, which exchanges nothing.",
    )
    launcher: str = option(
        "auto",
        choices=("auto", "local", "torchrun", "dask"),
        help="How ranks start; auto is torchrun where RANK and WORLD_SIZE are set, else local.",
    )
    device: str = "auto"
    scheduler: str | None = None
    checkpoint_seconds: float = option(
        120.0, above=0, unit="seconds", help="Time between checkpoints."
    )
    checkpoint_steps: int | None = option(
        None, minimum=1, help="Steps between checkpoints as well."
    )
    keep: int = option(2, minimum=1, help="Newest checkpoints to keep.")
    cache_gb: str = option(
        "auto",
        unit="GB",
        help="Memory of a rank for frames; auto: half of what its container's limit leaves beside "
        "1 GiB, at most 4.",
    )
    on_growth: str = option(
        "keep",
        choices=("keep", "continue", "new", "refuse"),
        help="A finished run and new recordings: keep the run; continue it on all; train a new "
        "one, RUN-2; or refuse, exit 2.",
    )
    restarts: int = option(3, minimum=0, help="Times to start lost ranks again.")
    timeout_seconds: float = option(
        300.0, flag="--timeout", above=0, unit="seconds", help="Wait before a rank is lost."
    )
    shutdown_seconds: float = 20.0  # from SIGTERM, or a peer's loss, to SIGKILL; a pod has 30
    track: tuple[str, ...] = option(
        (),
        joined=True,
        choices=("tensorboard", "mlflow", "wandb"),
        unit="NAME,NAME",
        help="Log metrics to trackers too: tensorboard, mlflow, wandb (offline).",
    )
    fresh: bool = option(False, shared=False, help="Discard the run first.")

    def __post_init__(self) -> None:
        """Take the model's options together; refuse what cannot be meant."""
        options = {**self.options, **dict(map(model_option, self.model_option))}
        for name, value in (
            ("widths", tuple(self.widths)),
            ("track", tuple(self.track)),
            ("options", options),
            ("cache_gb", str(self.cache_gb)),
        ):
            object.__setattr__(self, name, value)
        check(self)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.run):
            raise UsageError(
                f"--run {self.run!r}: letters, digits, '.', '_' and '-' only, at most 64"
            )
        if self.run in _TAKEN:
            raise UsageError(f"--run {self.run}: a source of every recording; choose another")
        if not re.fullmatch(r"auto|\d+(\.\d*)?|\.\d+", self.cache_gb):
            raise UsageError(f"--cache-gb {self.cache_gb}: auto, or a number of GB from 0 on")
        if not self.widths:
            raise UsageError("--widths: give at least one width")
        if min(self.leaves, self.lanes, self.window_rows, self.threads, self.log_steps) < 1:
            raise UsageError("leaves, lanes, window_rows, threads and log_steps: at least 1")
        if not 1 <= self.rules <= NEWEST_RULES:
            raise UsageError(
                f"rules {self.rules}: a newer fadae began the run; this knows 1 to {NEWEST_RULES}"
            )

    @property
    def cache_bytes(self) -> int:
        """Memory of a rank for frames, in bytes."""
        if self.cache_gb == "auto":
            return cache_within(memory_limit_bytes())
        return int(float(self.cache_gb) * 2**30)

    def ranks_within(self, most: int) -> int:
        """Return the greatest number of ranks up to `most` that can share this run, at least 1.

        >>> TrainConfig(reduction="exact").ranks_within(3), TrainConfig().ranks_within(3)
        (2, 3)
        """
        exact = self.reduction == "exact"
        fitting = [n for n in range(1, 1 + self.lanes) if not exact or self.leaves % n == 0]
        return max(n for n in fitting if n <= max(1, most))

    def check_ranks(self, ranks: int) -> None:
        """Raise UsageError where this run cannot be shared by so many ranks."""
        if ranks > self.lanes:
            raise UsageError(f"{ranks} ranks cannot share {self.lanes} lanes; use fewer ranks")
        if self.reduction == "exact":
            if self.leaves & (self.leaves - 1) or self.lanes % self.leaves:
                raise UsageError(
                    f"leaves {self.leaves}: a power of two that divides the {self.lanes} lanes"
                )
            if self.leaves % ranks:
                raise UsageError(
                    f"--reduction exact sums {self.leaves} leaves: {ranks} ranks do not divide "
                    "them; use 1, 2, 4 ... or --reduction fast"
                )

    def recipe(self) -> dict[str, Any]:
        """Return what a run is bound to, JSON-able."""
        values = self.to_dict()
        if not self.options:  # runs from before models had options go on
            del values["options"]
        if self.rules == 1:  # as do those from before there were others
            del values["rules"]
        return {name: value for name, value in values.items() if name not in _PLACEMENT}

    def continuing(self, recorded: Mapping[str, Any]) -> Self:
        """Return the config for going on with a run of this recipe: what nobody asks is its own."""
        precision = recorded["precision"] if self.precision == "auto" else self.precision
        rules = recorded.get("rules", 1)
        return dataclasses.replace(self, precision=precision, rules=rules)

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model that were asked for, JSON-able."""
        if self.widths == type(self).widths:  # the default: each model's own
            return dict(self.options)
        return {"widths": list(self.widths), **self.options}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_dict` reads back."""
        values = dataclasses.asdict(self) | {"widths": list(self.widths)}
        del values["model_option"]  # they are among the options
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the config that `to_dict` wrote."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How `fadae encode` compresses a file; no job has it."""

    section: ClassVar[str] = "encode"
    code_bytes: int = option(
        256,
        minimum=16,
        maximum=8192,
        unit="bytes",
        shared=False,
        help="Bytes a row of 0.34 s, on average or at most; 256 are 6 kbps.",
    )
    rate: Literal["average", "constant"] = option(
        "average",
        choices=("average", "constant"),
        shared=False,
        help="average: bytes go where the sound needs them; constant: no row takes more.",
    )
    sample_rate: int | None = option(
        None,
        minimum=100,
        maximum=384_000,
        unit="Hz",
        shared=False,
        help="Sample rate of the code; default the run's, else 11025.",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check(self)


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """What the four stages are asked for."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


SECTIONS: tuple[type[Section], ...] = (Job, IngestConfig, ExtractConfig, TrainConfig)
"""All that fadae.toml may hold."""


def load_config(path: str | Path | None = None, recipe: str | None = None) -> JobConfig:
    """Return the stages' settings of a file like fadae.toml, of a recipe, or of both.

    The file wins over the recipe, which it may name itself. Raises UsageError for a file or a
    recipe that is not there or is not right.

    >>> load_config(recipe="seed").train.widths
    (1024, 512, 256)
    """
    layers = [] if path is None else [load_settings(Path(path), SECTIONS)]
    recipe = recipe or (layers[0].recipe if layers else None)
    if recipe:
        layers.append(load_recipe(recipe, SECTIONS))
    return JobConfig(
        ingest=build(IngestConfig, layers),
        extract=build(ExtractConfig, layers),
        train=build(TrainConfig, layers),
    )


def model_option(text: str) -> tuple[str, object]:
    """Return the name and the value of a model's option, JSON or a plain text.

    >>> model_option("keep=16"), model_option("rate=average"), model_option("widths=[32, 8]")
    (('keep', 16), ('rate', 'average'), ('widths', [32, 8]))
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--model-option {text}: NAME=VALUE, as keep=16")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


# Free to change from one start to the next: they change no bit of what is learned (ranks with
# --reduction fast apart, whose sums round differently at another number of ranks).
_PLACEMENT = {
    "run",
    "ranks",
    "launcher",
    "device",
    "scheduler",
    "checkpoint_seconds",
    "checkpoint_steps",
    "keep",
    "cache_gb",
    "on_growth",
    "restarts",
    "timeout_seconds",
    "shutdown_seconds",
    "track",
    "fresh",
}
_TAKEN = ("original", "transform")  # sources of `Workspace.audio`, as runs are
_MAY_GROW = ("epochs", "max_steps")


def changed_settings(recorded: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Return what differs between two recipes, apart from epochs and max_steps having grown.

    >>> old = {"epochs": 1, "max_steps": 9, "seed": 0}
    >>> changed_settings(old, {"epochs": 2, "max_steps": None, "seed": 0})
    []
    >>> changed_settings(old, {"epochs": 1, "max_steps": 8, "seed": 7})
    ['max_steps 9 -> 8', 'seed 0 -> 7']
    """
    changed = []
    for name in sorted(recorded.keys() | asked.keys()):
        old, new = recorded.get(name), asked.get(name)
        grown = name in _MAY_GROW and (new is None or (old is not None and new >= old))
        if old != new and not grown:
            changed.append(f"{name} {old} -> {new}")
    return changed
