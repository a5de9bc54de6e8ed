"""Measures what `fadae estimate` multiplies with, on this machine and real music.

    python -m tests.benchmarks.bench_estimate

One core, one thread, a local folder; every stage by its own driver without Dask, so the figures
are the units of work. Prints each constant beside the one in fadae/estimate.py.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fadae.archive.folder import FolderSource
from fadae.estimate import Constants
from fadae.stages.extract import extract
from fadae.stages.ingest.driver import ingest
from fadae.stages.reconstruct import reconstruct
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from tests.conftest import shared_dir

WARM_STEPS, TRAIN_STEPS = 20, 220


class Clock:
    """Processor seconds, of this process and of its children that ended or stand idle."""

    seconds = 0.0


@contextmanager
def core_seconds() -> Iterator[Clock]:
    clock, before = Clock(), _used()
    yield clock
    clock.seconds = _used() - before


def _used() -> float:
    """Processor seconds of this process, and of its living children (the decoder's sandbox)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = os.sysconf("SC_CLK_TCK")
    living = 0.0
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            living += (int(fields[11]) + int(fields[12])) / ticks
    return time.process_time() + ended.ru_utime + ended.ru_stime + living


def measure(folder: Path, music: Path) -> dict[str, float]:
    """Return the measured constants by name."""
    location = Location(str(folder))
    with core_seconds() as ingesting:
        done = ingest(location, [FolderSource(str(music))])
    seconds = done["audio_seconds"]
    with core_seconds() as extracting:
        extract(location)
    frames = FeatureSet.open(location)
    rows = int(frames.recordings.frame_count.sum())
    trained = _train_rate(location)
    with core_seconds() as reconstructing:
        reconstruct(location, device="cpu")
    return {
        "source_rate": done["bytes"] / seconds,
        "ingest_rate": seconds / ingesting.seconds,
        "extract_rate": seconds / extracting.seconds,
        "train_rate": trained,
        "reconstruct_rate": seconds / reconstructing.seconds,
        "feature_ratio": _size(folder, "features") / (rows * frames.transform.size * 2),
        "audio_ratio": _size(folder, "audio") / (seconds * 11025 * 2),
    }


def _train_rate(location: Location) -> float:
    """Return frames per core-second of the seed's trainer, one rank.

    Two calls do the same beside their steps (evaluation, PCA, saving): their difference is steps.
    """
    import torch

    from fadae.config.job import TrainConfig
    from fadae.training.launch import train

    torch.set_num_threads(1)
    spent = []
    for steps in (WARM_STEPS, 2 * WARM_STEPS, 2 * WARM_STEPS + TRAIN_STEPS):
        config = TrainConfig(
            ranks=1, max_steps=steps, launcher="local", device="cpu", precision="fp32"
        )
        with core_seconds() as training:
            train(location, config)
        spent.append(training.seconds)
    return (TRAIN_STEPS - WARM_STEPS) * 64 / (spent[2] - spent[1])


def _size(folder: Path, array: str) -> int:
    """Return the bytes of an array's objects."""
    files = (folder / "features.zarr" / array / "c").rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    """Measure and print."""
    music = shared_dir() / "recordings"
    if not music.is_dir():
        print(f"skipped: no recordings at {music}")
        return
    folder = Path(tempfile.mkdtemp(prefix="fadae-estimate-"))
    try:
        found = measure(folder, music)
    finally:
        shutil.rmtree(folder)
    print(f"{'constant':<20}{'here':>12}{'estimate':>12}  unit")
    for name, value in found.items():
        known = getattr(Constants(), name, None)
        print(f"{name:<20}{value:>12.4g}{known.value if known else '':>12}", end="  ")
        print(known.unit if known else "s")


if __name__ == "__main__":
    main()
