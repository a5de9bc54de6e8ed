"""Trackers by name: are they installed, open them, log a whole run to them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence

from fadae.errors import UsageError
from fadae.records import MetricsRow, RunConfig
from fadae.store import Location
from fadae.tracking.tracker import TrackedRun, Tracker


def _tensorboard(location: Location, run: TrackedRun) -> Tracker:
    from fadae.tracking.tensorboard import TensorBoard

    return TensorBoard(location, run)


def _mlflow(location: Location, run: TrackedRun) -> Tracker:
    from fadae.tracking.mlflow import MLflow

    return MLflow(run)


def _wandb(location: Location, run: TrackedRun) -> Tracker:
    from fadae.tracking.wandb import WandB

    return WandB(run)


_TRACKERS: Mapping[str, Callable[[Location, TrackedRun], Tracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}


def ensure_trackers(names: Iterable[str], location: Location) -> None:
    """Raise UsageError where a tracker is unknown, is not installed or cannot take this run."""
    for name in names:
        if name not in _TRACKERS:
            raise UsageError(f"--track {name}: one of {', '.join(_TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"--track {name} needs its package: pip install 'fadae[{name}]'")
        if name == "tensorboard" and not location.is_local:
            raise UsageError(f"TensorBoard's events go to local folders only, not {location.url}")


def open_trackers(
    names: Iterable[str], location: Location, run: str, config: RunConfig
) -> list[Tracker]:
    """Return trackers of a run; raises UsageError as `ensure_trackers`, and TrackingError."""
    named = list(names)
    ensure_trackers(named, location)
    tracked = TrackedRun.of(location, run, config)
    return [_TRACKERS[name](location, tracked) for name in named]


def export(trackers: Sequence[Tracker], lines: Sequence[MetricsRow], *, done: bool) -> None:
    """Log to trackers what they do not have of a run, and close them all; raises TrackingError.

    The last line of a run that is not `done` may get more figures: it waits.
    """
    with contextlib.ExitStack() as closing:
        for tracker in trackers:
            closing.callback(tracker.close, done)
        for tracker in trackers:
            tracker.take(lines if done else lines[:-1])
