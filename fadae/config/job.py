"""What a job is asked for: how to ingest, how to train, and the four stages' recipe."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from fadae.errors import (
    UsageError,
)
from fadae.records import Failure


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
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; the defaults of the recipe are those of the 2017 experiment.

    Raises UsageError on a value that cannot be meant.
    """

    run: str = "default"

    # The recipe: what the result is a function of, together with the published rows.
    model: str = "dense"
    widths: tuple[int, ...] = (1024, 512, 256)  # short for the option of that name
    options: Mapping[str, Any] = field(default_factory=dict)  # the model's own, by name
    epochs: int = 100
    max_steps: int | None = None
    batch_size: int = 64  # global: over all ranks
    learning_rate: float = 5e-5
    warmup_steps: int = 0
    schedule: str = "constant"  # or cosine, to 0 at the last step
    weight_decay: float = 0.0  # decoupled (AdamW)
    clip_norm: float | None = None
    holdout: float = 0.5
    max_frames: int | None = None
    seed: int = 0
    precision: str = "fp32"  # or bf16: autocast, the weights stay fp32
    reduction: str = "fast"  # or exact: the same bits at 1, 2, 4 ranks
    leaves: int = 4  # of the exact sum
    micro_batch: int | None = None  # rows at a time on a rank, their gradients accumulated
    lanes: int = 16
    window_rows: int = 1024
    threads: int = 1  # a rank's; the last bits of a matrix product depend on it
    evaluate_epochs: int | None = None  # evaluate every so many; None: about ten times a run
    early_stopping: int | None = None  # evaluations without a better one before stopping
    log_steps: int = 20

    # The placement: how this start carries it out.
    ranks: int = 2
    launcher: str = "local"
    device: str = "auto"
    scheduler: str | None = None
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int | None = None
    keep: int = 2
    cache_bytes: int = 4 * 2**30  # a rank's
    restarts: int = 3
    timeout_seconds: float = 300.0  # of every collective
    shutdown_seconds: float = 20.0  # from SIGTERM, or a peer's loss, to SIGKILL; a pod has 30
    tensorboard: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        object.__setattr__(self, "widths", tuple(self.widths))
        for wrong, message in self._mistakes():
            if wrong:
                raise UsageError(message)

    def _mistakes(self) -> list[tuple[bool, str]]:
        positive = [
            name
            for name in (
                "epochs",
                "max_steps",
                "batch_size",
                "learning_rate",
                "clip_norm",
                "max_frames",
                "leaves",
                "micro_batch",
                "lanes",
                "window_rows",
                "threads",
                "evaluate_epochs",
                "early_stopping",
                "log_steps",
                "ranks",
                "keep",
                "checkpoint_seconds",
                "checkpoint_steps",
                "timeout_seconds",
            )
            if getattr(self, name) is not None and not getattr(self, name) > 0
        ]
        return [
            (
                not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.run),
                f"--run {self.run!r}: letters, digits, '.', '_' and '-' only, at most 64",
            ),
            (self.run in _TAKEN, f"--run {self.run}: a source of every recording; choose another"),
            (bool(positive), f"{', '.join(positive)} must be above 0"),
            (not self.widths or min(self.widths) < 1, f"widths {self.widths}: one or more above 0"),
            (not 0 <= self.holdout < 1, f"--holdout {self.holdout}: a share from 0 to below 1"),
            (self.precision not in ("fp32", "bf16"), f"--precision {self.precision}: fp32 or bf16"),
            (
                self.reduction not in ("fast", "exact"),
                f"--reduction {self.reduction}: fast or exact",
            ),
            (
                self.schedule not in ("constant", "cosine"),
                f"schedule {self.schedule}: constant or cosine",
            ),
            (self.launcher not in LAUNCHERS, f"--launcher {self.launcher}: {', '.join(LAUNCHERS)}"),
            (
                self.warmup_steps < 0 or self.weight_decay < 0 or self.restarts < 0,
                "warmup_steps, weight_decay and restarts cannot be below 0",
            ),
            (self.seed < 0, f"--seed {self.seed}: 0 or above"),
        ]

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
        values = dataclasses.asdict(self)
        values["widths"] = list(self.widths)
        if not self.options:  # runs from before models had options go on
            del values["options"]
        return {name: value for name, value in values.items() if name not in _PLACEMENT}

    def model_options(self) -> dict[str, Any]:
        """Return the options of the model that were asked for, JSON-able."""
        if self.widths == type(self).widths:  # the default: each model's own
            return dict(self.options)
        return {"widths": list(self.widths), **self.options}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_dict` reads back."""
        return dataclasses.asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the config that `to_dict` wrote."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the four stages are asked for; the defaults are the 2017 experiment's."""

    settings: Settings = field(default_factory=Settings)
    preset: str = "seed"
    dtype: str = "float16"
    training: TrainConfig = field(default_factory=TrainConfig)


LAUNCHERS = ("local", "torchrun", "dask")
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
    "cache_bytes",
    "restarts",
    "timeout_seconds",
    "shutdown_seconds",
    "tensorboard",
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
