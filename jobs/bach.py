"""The 2017 experiment as a whole: python jobs/bach.py -w ./bach

Bach from the Internet Archive, 0.68 s frames at 11025 Hz, 300 geometric bands, mu-law and
per-frame scaling, a tanh autoencoder down to 256 numbers, a hundred epochs; then reconstructions
to listen to and random codes, which sounded "like someone banging on a piano".
"""

from pathlib import Path

import typer

import fadae
from fadae.archive import CONTACT, ArchiveSource
from fadae.audio.write import write
from fadae.cli import Summary, picked, reporting
from fadae.cluster import cluster_mapper
from fadae.config import ExtractConfig, IngestConfig, Job, JobConfig, TrainConfig, cluster_of
from fadae.stages.pipeline import run
from fadae.store import Location

ITEM = "AOC11B"


def recipe(epochs: int, ranks: int | None, device: str, downloads: int) -> JobConfig:
    """Return the experiment's settings, every number of it spelled out."""
    return JobConfig(
        ingest=IngestConfig(downloads=downloads),
        extract=ExtractConfig(preset="seed", sample_rate=11025),
        train=TrainConfig(
            run="bach",
            widths=(1024, 512, 256),
            epochs=epochs,
            batch_size=64,
            learning_rate=5e-5,
            holdout=0.5,
            max_frames=500_000,
            ranks=ranks,
            device=device,
        ),
    )


def job(
    workspace: str = picked(Job, "workspace"),
    archive_url: str = picked(IngestConfig, "archive_url"),
    contact: str = picked(IngestConfig, "contact"),
    downloads: int = picked(IngestConfig, "downloads"),
    epochs: int = picked(TrainConfig, "epochs"),
    ranks: int | None = picked(TrainConfig, "ranks"),
    device: str = picked(Job, "device"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Repeat the experiment; write a recording, its reconstruction and random codes as sound."""
    location = Location(workspace)
    cluster = cluster_of(scheduler, scheduler_file)
    with cluster_mapper(location, cluster, workers) as mapper:
        source = ArchiveSource((ITEM,), url=archive_url, contact=contact or CONTACT)
        summary = run(location, [source], recipe(epochs, ranks, device, downloads), mapper=mapper)
    opened = fadae.open(workspace)
    first = opened.recordings[0].id
    sounds = {
        "original.ogg": opened.audio(first, slice(0, 20)),
        "reconstruction.ogg": opened.audio(first, slice(0, 20), source="bach"),
        "random-codes.ogg": opened.generate("bach", method="normal", seconds=20),
    }
    for name, samples in sounds.items():
        write(Path(name), samples, opened.rate_hz)
    return {**summary, "files": list(sounds)}


if __name__ == "__main__":
    typer.run(reporting(job))
