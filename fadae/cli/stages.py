"""The commands that run stages: `run`, `demo`, `ingest`, `extract`, `train`, `reconstruct`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, plain
from fadae.config import ExtractConfig, IngestConfig, Job, JobConfig, TrainConfig, cluster_of

if TYPE_CHECKING:
    from fadae.store import Location

log = logging.getLogger("fadae.cli")

DemoFolder = Annotated[Path, typer.Option("--to", help="Folder to write to.")]


def run(job: Job, ingest: IngestConfig, extract: ExtractConfig, train: TrainConfig) -> Summary:
    """Ingest, extract, train and reconstruct; what is done already is left alone."""
    from fadae.archive import sources_of
    from fadae.cluster import cluster_mapper
    from fadae.errors import UsageError
    from fadae.stages import pipeline
    from fadae.store import Location

    if train.launcher == "torchrun":
        raise UsageError(
            "--launcher torchrun starts one rank of a training, not a whole job: run the stages "
            "one by one, or use --launcher local or dask"
        )
    training = trained(job, train)
    if training.launcher == "auto":
        training = dataclasses.replace(training, launcher="local")
    config = JobConfig(ingest=ingest, extract=extract, train=training)
    location, sources = Location(job.workspace), sources_of(ingest)
    with (
        served(job.metrics_port, job.metrics_host, location, training.run),
        cluster_mapper(location, job.cluster, job.workers) as mapper,
    ):
        return pipeline.run(location, sources, config, mapper=mapper, generation=job.generation)


def ingest(
    config: IngestConfig,
    workspace: str = picked(Job, "workspace"),
    sample_rate: int = picked(ExtractConfig, "sample_rate"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
    generation: str | None = picked(Job, "generation"),
    metrics_port: int | None = picked(Job, "metrics_port"),
    metrics_host: str = picked(Job, "metrics_host"),
) -> Summary:
    """Fetch, decode and stage recordings."""
    from fadae.archive import sources_of
    from fadae.cluster import cluster_mapper
    from fadae.stages import ingest as stage
    from fadae.store import Location, generations

    location, sources = Location(workspace), sources_of(config)
    cluster = cluster_of(scheduler, scheduler_file)
    settings = config.settings(sample_rate, generations.checked(generation))
    with (
        served(metrics_port, metrics_host, location),
        cluster_mapper(location, cluster, workers) as mapper,
    ):
        summary = stage.ingest(location, sources, settings, mapper=mapper)
    generations.note_summary(location, generation, summary)
    return summary


def extract(
    config: ExtractConfig,
    workspace: str = picked(Job, "workspace"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
    generation: str | None = picked(Job, "generation"),
    metrics_port: int | None = picked(Job, "metrics_port"),
    metrics_host: str = picked(Job, "metrics_host"),
) -> Summary:
    """Extract features of all that is ingested and not yet extracted."""
    from fadae.cluster import cluster_mapper
    from fadae.stages import extract as stage
    from fadae.store import Location, generations

    location = Location(workspace)
    cluster = cluster_of(scheduler, scheduler_file)
    generations.checked(generation)
    with (
        served(metrics_port, metrics_host, location),
        cluster_mapper(location, cluster, workers) as mapper,
    ):
        summary = stage.extract(
            location,
            preset=config.preset,
            sample_rate_hz=config.sample_rate,
            dtype=config.dtype,
            keep_staging=config.keep_staging,
            mapper=mapper,
        )
    generations.note_summary(location, generation, summary)
    return summary


def train(
    config: TrainConfig,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    device: str = picked(Job, "device"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    generation: str | None = picked(Job, "generation"),
    metrics_port: int | None = picked(Job, "metrics_port"),
    metrics_host: str = picked(Job, "metrics_host"),
) -> Summary:
    """Train an autoencoder on the features, from wherever the run stands."""
    from fadae.store import Location, generations
    from fadae.training import launch

    location = Location(workspace)
    generations.checked(generation)
    job = Job(
        workspace=workspace,
        run=run,
        device=device,
        scheduler=scheduler,
        scheduler_file=scheduler_file,
    )
    config = trained(job, config)
    with served(metrics_port, metrics_host, location, config.run):
        summary = launch.train(location, config)
    generations.note_summary(location, generation, summary)
    return summary


@contextlib.contextmanager
def served(
    port: int | None, host: str, location: Location, run: str | None = None
) -> Iterator[None]:
    """Serve /metrics in the block where a port is given; of the ranks of torchrun by the first."""
    if port is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    from fadae import metrics
    from fadae.query import training_samples

    more = functools.partial(training_samples, location, run)
    with metrics.serving(port, host, more) as address:
        log.info("metrics at %s", address)
        yield


def trained(job: Job, config: TrainConfig) -> TrainConfig:
    """Return a training's settings with what all commands share."""
    return dataclasses.replace(
        config, run=job.run or TrainConfig.run, device=job.device, scheduler=job.cluster
    )


def reconstruct(
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    device: str = picked(Job, "device"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
    generation: str | None = picked(Job, "generation"),
    metrics_port: int | None = picked(Job, "metrics_port"),
    metrics_host: str = picked(Job, "metrics_host"),
) -> Summary:
    """Write what a run makes of all features: codes, features, audio, scores."""
    from fadae.cluster import cluster_mapper
    from fadae.stages import reconstruct as stage
    from fadae.store import Location, generations

    location = Location(workspace)
    cluster = cluster_of(scheduler, scheduler_file)
    # --on-growth new may have trained another run than the one that was named.
    run = generations.noted(location, generation, "train").get("run", run)
    with (
        served(metrics_port, metrics_host, location, run),
        cluster_mapper(location, cluster, workers) as mapper,
    ):
        summary = stage.reconstruct(location, run, device=device, mapper=mapper)
    generations.note_summary(location, generation, summary)
    return summary


def demo(to: DemoFolder = Path("demo"), workers: int | None = picked(Job, "workers")) -> Summary:
    """Run the four stages on Bach from the embedded archive, with no network."""
    from fadae import demo as demonstration
    from fadae.cluster import cluster_mapper

    folder = to.absolute()
    with cluster_mapper(demonstration.demo_location(folder), None, workers) as mapper:
        summary = demonstration.demo(folder, mapper=mapper)
    return closing(summary, to)


def closing(summary: Summary, to: Path) -> Shown:
    """Return the summary with the command that opens the result as its last line."""
    serve = f"fadae serve -w {shlex.quote(str(to / 'workspace'))}"
    page = f"The codes beside the original: {to / 'index.html'}"
    return Shown(summary, f"{plain(summary)}\n\n{page}\nTo listen in a browser:\n{serve}")
