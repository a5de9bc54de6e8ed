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
from fadae.cli import Epochs, Ranks, reporting
from fadae.cluster import cluster_mapper
from fadae.config import (
    DEFAULT_ARCHIVE_URL,
    DEFAULT_WORKSPACE,
    ArchiveUrl,
    Contact,
    Device,
    Downloads,
    Recipe,
    Scheduler,
    Settings,
    Summary,
    TrainConfig,
    Workers,
    Workspace,
)
from fadae.stages.pipeline import run
from fadae.store import Location

ITEM = "AOC11B"


def recipe(epochs: int, ranks: int, device: str, downloads: int) -> Recipe:
    """Return the experiment's settings, every number of it spelled out."""
    return Recipe(
        settings=Settings(rate_hz=11025, downloads=downloads),
        preset="seed",
        training=TrainConfig(
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
    workspace: Workspace = DEFAULT_WORKSPACE,
    archive_url: ArchiveUrl = DEFAULT_ARCHIVE_URL,
    contact: Contact = "",
    downloads: Downloads = 4,
    epochs: Epochs = 100,
    ranks: Ranks = 2,
    device: Device = "auto",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Repeat the experiment; write a recording, its reconstruction and random codes as sound."""
    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
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
