"""What a tracker is, and what it is told of a run beside its metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from fadae.errors import TransientError
from fadae.records import MetricsRow, RunConfig, canonical_json, sha256_hex
from fadae.store import Location

PROJECT = "fadae"  # of W&B, and the experiment of MLflow, where none is named
_MAY_GROW = ("epochs", "max_steps")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


class TrackingError(TransientError):
    """A tracker could not be told something; what is missing is told the next time."""

    def __init__(self, tracker: str, error: Exception) -> None:
        """Say which tracker and what went wrong, without credentials of its address."""
        what = " ".join(without_credentials(str(error)).split())
        super().__init__(f"{tracker}: not logged: {type(error).__name__}: {what[:400]}")


def without_credentials(text: str) -> str:
    """Return a text whose URLs name no user and no password.

    >>> without_credentials("no answer of http://me:secret@host/api")
    'no answer of http://host/api'
    """
    return _CREDENTIALS.sub("//", text)


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as trackers name it.

    `identity` is the same whenever and wherever a run goes on, and another one for a run of
    another workspace, with other settings, or begun anew on other rows. `settings` never change,
    `limits` (epochs and steps) may grow.
    """

    name: str
    identity: str
    workspace: str
    settings: Mapping[str, str | int | float | bool]
    limits: Mapping[str, str | int | float | bool]

    @classmethod
    def of(cls, location: Location, run: str, config: RunConfig) -> Self:
        """Return what a run's config.json says of it."""
        recipe: dict[str, object] = dict(config["recipe"])
        limits = {name: recipe.pop(name, None) for name in _MAY_GROW}
        dataset = config["dataset"]
        growths = dataset.get("growths", [])
        rows = growths[0]["rows"] if growths else dataset["rows"]  # that it began with
        begun = [location.url, run, recipe, rows, dataset["transform"]]
        settings = {**recipe, "rows": rows, "transform": dataset["transform"]["name"]}
        return cls(
            name=run,
            identity=sha256_hex(canonical_json(begun))[:16],
            workspace=without_credentials(location.url),
            settings=_flat(settings),
            limits=_flat(limits),
        )


def _flat(values: Mapping[str, object]) -> dict[str, str | int | float | bool]:
    """Return values as numbers and texts, those that are not given left out."""
    return {
        name: value if isinstance(value, str | int | float) else canonical_json(value)
        for name, value in values.items()
        if value is not None
    }


def figures(line: MetricsRow) -> dict[str, float]:
    """Return the finite numbers of a line of metrics, by name.

    >>> figures({"step": 3, "train_loss": 0.5, "holdout_loss": None})
    {'train_loss': 0.5}
    """
    return {
        name: float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


class Tracker(Protocol):
    """Where a run's metrics are logged as well. Both methods raise TrackingError."""

    def take(self, lines: Sequence[MetricsRow]) -> None:
        """Log what is new among all lines of the run so far; lines taken never change."""

    def close(self, done: bool) -> None:
        """Let go of the tracker; `done` says that the run is finished."""
