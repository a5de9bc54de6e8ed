"""The commands about a job: status, verify, prune, wait, estimate, config, check."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import origins, picked
from fadae.cli.output import Shown, Summary, printable
from fadae.config import TOP, ExtractConfig, IngestConfig, Job, TrainConfig, declared

if TYPE_CHECKING:
    from fadae.estimate import Job as EstimatedJob
    from fadae.estimate import StageEstimate
    from fadae.prices import Prices
    from fadae.query import WorkspaceStatus
    from fadae.store import Location

Repair = Annotated[bool, typer.Option("--repair", help="Compute damaged shards again.")]

log = logging.getLogger("fadae.wait")

Keep = Annotated[
    str,
    typer.Option(
        help="newest: of each run the newest checkpoint, with early stopping its best weights too; "
        "best: the best weights in any case."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")]

Stages = Annotated[
    list[str], typer.Argument(metavar="STAGE", help="ingest, extract, train or reconstruct.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait in all; then exit 75.")]
Every = Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")]

EstimateHours = Annotated[
    list[float] | None,
    typer.Option(min=0.001, help="Hours of audio; repeatable. Default 1000, 100000, 10000000."),
]
EstimateWorkers = Annotated[int, typer.Option(min=1, help="Worker processes, one core each.")]
EstimateRanks = Annotated[int, typer.Option(min=1, help="Ranks of the training, one core each.")]
EstimateEpochs = Annotated[int, typer.Option(min=1, help="Times over the training frames.")]
EstimateFrames = Annotated[int, typer.Option(min=1, help="Frames to train on.")]
EstimatePreset = Annotated[str, typer.Option(help="seed or critical, for sizes.")]
EstimateWorkspace = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Estimate what is left to do in a workspace instead."),
]
PriceFile = Annotated[
    Path | None,
    typer.Option("--price", help="Prices by provider, a TOML file: docs/examples/prices.toml."),
]
Months = Annotated[float, typer.Option(min=0, help="How long the workspace is paid for.")]
GpuRate = Annotated[
    float | None,
    typer.Option(
        min=0.001, help="Frames a GPU learns a second, as measured: --ranks are GPUs then."
    ),
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Tables instead, with the constants' sources.")
]


Watch = Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")]


def status(
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    watch: Watch = False,
    every: Every = 10.0,
) -> Iterator[Summary]:
    """Say how far each stage is, from the workspace alone: done, of, failed, rate, left, bytes."""
    from fadae.query import status_of
    from fadae.store import Location

    location = Location(workspace)
    clear = "\x1b[H\x1b[2J" if watch and sys.stdout.isatty() else ""
    try:
        while True:
            summary = status_of(location, run)
            yield Shown(summary, clear + _as_table(summary))
            if not watch:
                return
            time.sleep(every)
    except KeyboardInterrupt:  # how watching ends
        return


def _as_table(summary: WorkspaceStatus) -> str:
    """Return a status as a person reads it; ~ is before what samples tell."""
    rows = [("stage", "done", "of", "failed", "rate", "left", "bytes", "last commit")]
    sized = "" if summary.bytes_exact else "~"
    for name, stage in summary.stages.items():
        about = "" if stage.exact else "~"
        last, rate = stage.last_commit_seconds, stage.rate
        rows.append(
            (
                name,
                f"{about}{stage.done:,}",
                f"{about}{stage.total:,} {stage.unit}" if stage.total is not None else "-",
                "-" if stage.failed is None else f"{about}{stage.failed:,}",
                "-" if rate is None else f"{rate:.3g}/s",
                "-" if stage.eta_seconds is None else f"{stage.eta_seconds / 3600:,.2f} h",
                f"{sized}{stage.bytes:,}",
                "-" if last is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    run = "" if summary.run is None else f", run {printable(summary.run)}"
    title = f"{printable(summary.workspace)}: {summary.audio_hours:,.1f} h of audio{run}"
    return "\n".join([title, *lines])


def verify(
    workspace: str = picked(Job, "workspace"),
    repair: Repair = False,
    scheduler: str | None = picked(Job, "scheduler"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Read every chunk, index and staged sample; say what is missing or damaged."""
    from fadae.cluster import cluster_mapper
    from fadae.errors import FadaeError
    from fadae.stages.extract import extract_shard
    from fadae.stages.reconstruct import reconstruct_again
    from fadae.store import Location
    from fadae.store import verify as verification

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        summary = verification.verify(
            location,
            recompute=extract_shard if repair else None,
            reconstruct=functools.partial(reconstruct_again, location, mapper=mapper)
            if repair
            else None,
            mapper=mapper,
        )
    left = summary["problems_found"] - summary["problems_repaired"]
    if left:
        first = next(p for p in summary["problems"] if not p["repaired"])
        hint = "" if repair else "; --repair computes damaged shards again"
        raise FadaeError(
            f"{left} missing or damaged, first {first['path']}: {first['problem']}{hint}", summary
        )
    return summary


def prune(
    workspace: str = picked(Job, "workspace"),
    keep: Keep = "newest",
    keep_staging: bool = picked(ExtractConfig, "keep_staging"),
    dry_run: DryRun = False,
    scheduler: str | None = picked(Job, "scheduler"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Remove what a workspace can do without: old checkpoints, published staging, leftovers."""
    from fadae import prune as pruning
    from fadae.cluster import cluster_mapper
    from fadae.errors import UsageError
    from fadae.store import Location

    if keep not in pruning.KEPT:
        raise UsageError(f"--keep {keep}: one of {', '.join(pruning.KEPT)}")
    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        summary = pruning.prune(
            location, keep=keep, keep_staging=keep_staging, dry_run=dry_run, mapper=mapper
        )
    verb = "would go" if dry_run else "gone"
    lines = [
        f"{kind:<12} {found['objects']:>9,} objects {found['bytes']:>19,} bytes {verb}"
        for kind, found in summary.kinds.items()
    ]
    return Shown(summary, "\n".join(lines))


def wait(
    stages: Stages,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    timeout: Timeout = 86_400.0,
    every: Every = 5.0,
) -> Summary:
    """Wait until stages have published something in the workspace."""
    from fadae.errors import TransientError, UsageError
    from fadae.store import Location

    unknown = [stage for stage in stages if stage not in _COMMITTED]
    if unknown:
        raise UsageError(f"no stage {unknown[0]!r}: choose from {', '.join(_COMMITTED)}")
    location, started = Location(workspace), time.monotonic()
    for stage in stages:
        while not _COMMITTED[stage](location, run or TrainConfig.run):
            waited = time.monotonic() - started
            if waited >= timeout:
                raise TransientError(
                    f"no {stage} in {location.url} after {waited:.0f} s; look at that stage's log"
                )
            log.info("waiting for %s in %s, %.0f s so far", stage, location.url, waited)
            time.sleep(min(every, timeout - waited))
    return {"stages": stages, "waited_seconds": round(time.monotonic() - started, 3)}


def _ingested(location: Location, run: str) -> bool:
    from fadae.store import paths

    return any(name.endswith(".json") for name in location.names(paths.INGESTS))


def _extracted(location: Location, run: str) -> bool:
    from fadae.store import paths

    return _has_rows(location, paths.FEATURES)


def _trained(location: Location, run: str) -> bool:
    from fadae.store import paths

    return location.exists(paths.run_path(run, "model.safetensors"))


def _reconstructed(location: Location, run: str) -> bool:
    from fadae.store import paths

    return _has_rows(location, paths.reconstruction_path(run))


def _has_rows(location: Location, path: str) -> bool:
    """Return whether something is published: a group alone is only its beginning."""
    from fadae.store import FrameStore

    store = FrameStore.find(location, path)
    return store is not None and store.rows > 0


def estimate(
    hours: EstimateHours = None,
    workspace: EstimateWorkspace = None,
    workers: EstimateWorkers = 16,
    downloads: int = picked(IngestConfig, "downloads"),
    ranks: EstimateRanks = 1,
    epochs: EstimateEpochs = 100,
    max_frames: EstimateFrames = 500_000,
    preset: EstimatePreset = "seed",
    price: PriceFile = None,
    months: Months = 1.0,
    gpu_rate: GpuRate = None,
    markdown: Markdown = False,
) -> Summary | None:
    """Estimate what every stage costs, in money too, and what the workspace takes in the end."""
    from fadae import estimate as costs
    from fadae.errors import UsageError
    from fadae.prices import read_prices
    from fadae.query import status_of
    from fadae.store import Location

    if preset not in costs.PRESETS:
        raise UsageError(f"--preset {preset}: one of {', '.join(costs.PRESETS)}")
    if workspace is not None and (hours or markdown):
        raise UsageError("-w estimates what is there: without --hours and --markdown")
    prices = {} if price is None else read_prices(price)

    def job(amount: float) -> costs.Job:
        return costs.Job(
            audio_hours=amount,
            workers=workers,
            downloads=downloads,
            ranks=ranks,
            epochs=epochs,
            train_frames=max_frames,
            preset=preset,
            gpu_rate=gpu_rate,
        )

    if workspace is not None:
        found = status_of(Location(workspace))
        whole = job(max(costs.expected_hours(found), 1e-9))
        left = costs.remaining(found, whole)
        stored = sum(found.sizes.values()) + sum(
            left[stage].bytes_written for stage in ("extract", "reconstruct")
        )
        return {"found": found.to_dict(), "remaining": _costs(left, whole, prices, stored, months)}
    jobs = [job(amount) for amount in hours or costs.TYPICAL_HOURS]
    if markdown:
        print(costs.table(jobs), costs.sources(costs.PRESETS[preset]), sep="\n\n")
        return None
    summary: dict[str, object] = {}
    for one in jobs:
        ends = costs.estimate_workspace(one)
        stored = ends.total + ends.run + ends.reconstructions
        told = _costs(costs.estimate(one), one, prices, stored, months)
        summary[f"{one.audio_hours:g} h"] = {**told, "workspace": dataclasses.asdict(ends)}
    return summary


def _costs(
    stages: Mapping[str, StageEstimate],
    job: EstimatedJob,
    prices: Mapping[str, Prices],
    stored_bytes: float,
    months: float,
) -> dict[str, object]:
    """Return what stages cost, and the bill of each provider, the reconstructions fetched once."""
    from fadae.estimate import estimate_workspace
    from fadae.prices import bill

    told: dict[str, object] = {name: dataclasses.asdict(cost) for name, cost in stages.items()}
    fetched = estimate_workspace(job).reconstructions
    bills = {
        name: bill(
            stages,
            one,
            stored_bytes=stored_bytes,
            months=months,
            fetched_bytes=fetched,
            on_gpus=job.gpu_rate is not None,
        )
        for name, one in prices.items()
    }
    if bills:
        told["money"] = {name: dataclasses.asdict(one) for name, one in bills.items()}
    return told


Kubernetes = Annotated[
    bool, typer.Option("--kubernetes", help="Print the data of a ConfigMap instead.")
]


def config(
    ctx: typer.Context,
    job: Job,
    ingest: IngestConfig,
    extract: ExtractConfig,
    train: TrainConfig,
    kubernetes: Kubernetes = False,
) -> Summary | None:
    """Print every setting of a job and where it comes from: flag, variable, file, default."""
    rows = [
        (one, getattr(section, one.name))
        for section in (job, ingest, extract, train)
        for one in declared(type(section))
        if one.about.shared
    ]
    if kubernetes:
        print("\n".join(f"{one.env}: {json.dumps(one.text(value))}" for one, value in rows))
        return None
    found = origins(ctx, [one for one, _ in rows])
    summary: dict[str, object] = {}
    for one, value in rows:
        key = one.key if one.section == TOP else f"{one.section}.{one.key}"
        summary[key] = {"value": value, "from": found[one.name]}
    width = max(map(len, summary))
    lines = [
        f"{key:<{width}}  {printable(one.text(value)) or '-':<28}  {found[one.name]}".rstrip()
        for key, (one, value) in zip(summary, rows, strict=True)
    ]
    return Shown(summary, "\n".join(lines))


def check() -> Summary:
    """Say whether this machine can do the work: one line a check, with what to do about it."""
    import dataclasses

    from fadae.check import run_checks
    from fadae.errors import TransientError, UsageError

    findings = run_checks()
    rows = [dataclasses.asdict(finding) for finding in findings]
    summary = Shown({"checks": rows}, "\n".join(printable(one.line()) for one in findings))
    for state, error in (("wrong", UsageError), ("away", TransientError)):
        failed = [finding for finding in findings if finding.state == state]
        if failed:
            first = failed[0]
            raise error(f"{first.check}: {first.says}; {first.remedy}", summary)
    return summary


_COMMITTED: dict[str, Callable[[Location, str], bool]] = {
    "ingest": _ingested,
    "extract": _extracted,
    "train": _trained,
    "reconstruct": _reconstructed,
}
