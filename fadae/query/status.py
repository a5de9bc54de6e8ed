"""How far a job is, from its workspace alone: no driver and no scheduler is asked.

Counts are exact where little is there; of much, samples tell (`looks`): some 1500 requests for a
million recordings as for a thousand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fadae.metrics import Sample
from fadae.query.looks import (
    Ledger,
    Look,
    last_lines,
    look_at_blocks,
    look_at_ledger,
    look_at_listings,
    next_plan,
)
from fadae.query.sizes import sizes_of
from fadae.records import MetricsRow
from fadae.store import (
    BLOCK_FRAMES,
    FeatureSet,
    FrameStore,
    Location,
    paths,
    plan_header,
    published_plans,
)
from fadae.summaries import StageSummary
from fadae.training import run_config, run_summary

STAGES = ("ingest", "extract", "train", "reconstruct")
# Which parts of `fadae info`'s sizes are a stage's results.
_PARTS = {
    "ingest": (paths.STAGING, paths.SOURCES, paths.INGESTS),
    "extract": ("features", "audio", "recordings", "similarity", paths.PLANS),
    "train": (paths.RUNS, "checkpoints"),
    "reconstruct": (paths.RECONSTRUCTIONS,),
}
_RATE_LINES = 20  # of metrics, that a training's rate is of


@dataclass(frozen=True, slots=True)
class StageStatus:
    """How far a stage is; None where that is not known."""

    unit: str
    done: int = 0
    total: int | None = None
    failed: int | None = None
    exact: bool = True  # else told by samples, or more may come
    rate: float | None = None  # units a second of the last ten minutes
    eta_seconds: float | None = None
    bytes: int = 0  # of its results in the workspace
    last_commit_seconds: float | None = None  # since 1970


@dataclass(frozen=True, eq=False)
class WorkspaceStatus(StageSummary):
    """How far the four stages of a job are."""

    workspace: str
    run: str | None
    audio_hours: float  # of what is decoded
    sizes: Mapping[str, int]  # bytes by part, as `fadae info` tells them
    bytes_exact: bool
    stages: Mapping[str, StageStatus]

    def to_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        told = {name: dataclasses.asdict(stage) for name, stage in self.stages.items()}
        return {**StageSummary.to_dict(self), "stages": told}


def status_of(
    location: Location, run: str | None = None, now: float | None = None
) -> WorkspaceStatus:
    """Return how far a job is; raises NoInputError where there is no workspace.

    run: whose training and reconstruction; default the one begun last. now: in s since 1970.
    """
    location.ensure_workspace()
    now = time.time() if now is None else now
    run = _newest_run(location) if run is None else run
    store = FrameStore.find(location, paths.FEATURES)
    ledger = look_at_ledger(location, store, now)
    stages = {
        "ingest": _ingest(location, ledger),
        "extract": _extract(location, store, ledger, now),
        "train": _train(location, run),
        "reconstruct": _reconstruct(location, store, run, now),
    }
    parts = sizes_of(location, store, ledger.decoded.count + ledger.failed)
    sizes = {part.name: part.size_bytes for part in parts}
    for name, stage in stages.items():
        taken = sum(sizes.get(part, 0) for part in _PARTS[name])
        stages[name] = dataclasses.replace(stage, bytes=taken)
    return WorkspaceStatus(
        workspace=location.url,
        run=run,
        audio_hours=_audio_seconds(store, ledger) / 3600,
        sizes=sizes,
        bytes_exact=all(part.exact for part in parts),
        stages=stages,
    )


def _stage(
    unit: str, look: Look, total: int | None, exact: bool, failed: int | None
) -> StageStatus:
    left = None if total is None else max(0, total - look.count - (failed or 0))
    eta = left / look.rate if left is not None and look.rate else None
    return StageStatus(
        unit=unit,
        done=look.count,
        total=total,
        failed=failed,
        exact=exact and look.is_exact,
        rate=look.rate,
        eta_seconds=0.0 if left == 0 else eta,
        last_commit_seconds=look.last_seconds,
    )


def _ingest(location: Location, ledger: Ledger) -> StageStatus:
    listed = look_at_listings(location)
    there = ledger.decoded.count + ledger.failed
    return _stage(
        "recordings", ledger.decoded, max(listed.count, there), listed.is_exact, ledger.failed
    )


def _extract(
    location: Location, store: FrameStore | None, ledger: Ledger, now: float
) -> StageStatus:
    """Count blocks: those published and those of the plan that is being carried out."""
    published = 0 if store is None else -(-store.rows // BLOCK_FRAMES)
    plan = plan_header(location, published_plans(store))
    if plan is None:
        last = None if store is None else location.modified_seconds(f"{store.path}/zarr.json")
        total = None if ledger.unpublished else published  # a plan will tell
        return _stage("shards", Look(published, last_seconds=last), total, True, None)
    blocks = range(plan.start_row // BLOCK_FRAMES, -(-plan.stop_row // BLOCK_FRAMES))
    look = Look(0)
    if store is not None and blocks:
        look = look_at_blocks(store, blocks, next_plan(store), now)
    look = dataclasses.replace(look, count=blocks.start + look.count)
    is_all = ledger.unpublished <= plan.recordings
    return _stage("shards", look, blocks.stop, is_all, None)


def _train(location: Location, run: str | None) -> StageStatus:
    config = None if run is None else run_config(location, run)
    recipe, dataset = (config.get("recipe"), config.get("dataset")) if config else (None, None)
    if run is None or not recipe or not dataset:  # not begun, or it does not say
        return StageStatus("steps")
    total = recipe["epochs"] * -(-dataset["train_frames"] // recipe["batch_size"])
    most = recipe.get("max_steps")
    total = total if most is None else min(total, most)
    rows = _metrics(location, run)
    step, rate = _step_and_rate(rows)
    summary = run_summary(location, run)
    if summary.model_sha256 is not None and summary.steps is not None and summary.steps >= step:
        step = total = summary.steps  # done, be it early
    look = Look(step, rate=rate, last_seconds=_written(location, run))
    return _stage("steps", look, total, True, None)


def _reconstruct(
    location: Location, features: FrameStore | None, run: str | None, now: float
) -> StageStatus:
    total = 0 if features is None else -(-features.rows // BLOCK_FRAMES)
    store = None if run is None else FrameStore.find(location, paths.reconstruction_path(run))
    if store is None:
        return StageStatus("shards", total=total)
    published = -(-store.rows // BLOCK_FRAMES)
    look = Look(0)
    if published < total:
        look = look_at_blocks(store, range(published, total), "", now)
    else:
        written = location.modified_seconds(f"{store.path}/zarr.json")
        look = dataclasses.replace(look, last_seconds=written)
    look = dataclasses.replace(look, count=published + look.count)
    return _stage("shards", look, total, True, None)


def training_samples(location: Location, run: str | None) -> Iterator[Sample]:
    """Yield step, loss and speed of a run's last lines of metrics, for Prometheus.

    Read from the workspace: ranks are other processes, often of other machines.
    """
    run = _newest_run(location) if run is None else run
    rows = [] if run is None else _metrics(location, run)
    if run is None or not rows:
        return
    step, rate = _step_and_rate(rows)
    yield Sample("fadae_train_step", run, step)
    losses = [row["train_loss"] for row in rows if row.get("train_loss") is not None]
    if losses and losses[-1] is not None:
        yield Sample("fadae_train_loss", run, losses[-1])
    config = run_config(location, run)
    recipe = config.get("recipe") if config else None
    if rate is not None and recipe:
        yield Sample("fadae_train_samples_per_second", run, rate * recipe["batch_size"])


def samples(status: WorkspaceStatus) -> Iterator[Sample]:
    """Yield a status for Prometheus; what is not known has no sample."""
    for name, stage in status.stages.items():
        told = {
            "done": stage.done,
            "expected": stage.total,
            "failed": stage.failed,
            "rate": stage.rate,
            "bytes": stage.bytes,
            "last_commit_seconds": stage.last_commit_seconds,
        }
        for key, value in told.items():
            if value is not None and math.isfinite(value):
                yield Sample(f"fadae_stage_{key}", name, value)


def _metrics(location: Location, run: str) -> list[MetricsRow]:
    lines = last_lines(location, paths.run_path(run, "metrics.jsonl"))
    return [json.loads(line) for line in lines]


def _step_and_rate(rows: list[MetricsRow]) -> tuple[int, float | None]:
    """Return the last step, and steps a second of the last lines of one start."""
    timed = [row for row in rows if "seconds" in row][-_RATE_LINES:]
    while len(timed) > 1 and timed[0]["seconds"] >= timed[-1]["seconds"]:
        timed = timed[1:]  # of the start before: time began anew
    rate = None
    if len(timed) > 1 and timed[-1]["seconds"] > timed[0]["seconds"]:
        span = timed[-1]["seconds"] - timed[0]["seconds"]
        rate = (timed[-1]["step"] - timed[0]["step"]) / span
    return (rows[-1]["step"] if rows else 0), rate


def _written(location: Location, run: str) -> float | None:
    for name in ("summary.json", "metrics.jsonl", "config.json"):
        with contextlib.suppress(FileNotFoundError):
            return location.modified_seconds(paths.run_path(run, name))
    return None


def _newest_run(location: Location) -> str | None:
    """Return the run that was begun last, None where there is none."""
    begun: dict[str, float] = {}
    for name in location.names(paths.RUNS):
        with contextlib.suppress(FileNotFoundError):
            begun[name] = location.modified_seconds(paths.run_path(name, "config.json"))
    return max(sorted(begun), key=begun.__getitem__) if begun else None


def _audio_seconds(store: FrameStore | None, ledger: Ledger) -> float:
    """Return the seconds of all decoded recordings: of those published by their frames."""
    published = 0.0 if store is None or not store.rows else FeatureSet(store).audio_seconds
    return published + ledger.unpublished * ledger.seconds
