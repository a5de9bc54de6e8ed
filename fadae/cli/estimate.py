"""`fadae estimate`: what a job will cost, before it is run."""

from __future__ import annotations

from typing import Annotated

import typer

from fadae.cli.options import Downloads, Summary

Hours = Annotated[
    list[float] | None,
    typer.Option(min=0.001, help="Hours of audio; repeatable. Default 1000, 100000, 10000000."),
]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes, one core each.")]
Ranks = Annotated[int, typer.Option(min=1, help="Ranks of the training, one core each.")]
Epochs = Annotated[int, typer.Option(min=1, help="Times over the training frames.")]
MaxFrames = Annotated[int, typer.Option(min=1, help="Frames to train on.")]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Tables instead, with the constants' sources.")
]


def estimate(
    hours: Hours = None,
    workers: Workers = 16,
    downloads: Downloads = 4,
    ranks: Ranks = 2,
    epochs: Epochs = 100,
    max_frames: MaxFrames = 500_000,
    markdown: Markdown = False,
) -> Summary | None:
    """Estimate bytes, objects, requests, core-hours and hours of every stage."""
    import dataclasses

    from fadae import estimate as costs

    jobs = [
        costs.Job(
            audio_hours=amount, workers=workers, downloads=downloads, ranks=ranks, epochs=epochs,
            train_frames=max_frames,
        )
        for amount in hours or costs.TYPICAL_HOURS
    ]  # fmt: skip
    if markdown:
        print(costs.table(jobs), costs.sources(), sep="\n\n")
        return None
    return {
        f"{job.audio_hours:g} h": {
            stage: dataclasses.asdict(cost) for stage, cost in costs.estimate(job).items()
        }
        for job in jobs
    }
