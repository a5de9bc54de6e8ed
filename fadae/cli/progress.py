"""The commands about how far a job is and what it costs: `status`, `estimate`."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, printable
from fadae.config import IngestConfig, Job

if TYPE_CHECKING:
    from fadae.estimate import Job as EstimatedJob
    from fadae.estimate import StageEstimate
    from fadae.prices import Prices
    from fadae.query import WorkspaceStatus

Every = Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")]
Watch = Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")]

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
