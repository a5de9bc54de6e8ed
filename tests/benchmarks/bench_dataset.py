"""How fast `Workspace.torch` gives rows, beside the trainer's own loader on the same store.

`python -m tests.benchmarks.bench_dataset`: both read every row of an epoch, nothing kept from one
to the next, the trainer's with the preparation that its model asks for. Rows are the seed's, 8192
coefficients of float16; one thread a process beside the loader's own.
"""

from __future__ import annotations

import tempfile
import time

import torch

import fadae
from fadae.config.job import TrainConfig
from fadae.data import DataOrder, Loader, UnitReader
from fadae.model.dense import Dense
from fadae.query.torch_rows import LANES, WINDOW_ROWS
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.training.batches import Frames, prepare
from fadae.training.runs import every_row
from tests.benchmarks.figures import report
from tests.training.features import write_features

ROWS = [2048] * 10
ROUNDS = 5
BATCH = 64


def trainers_rate(location: Location) -> float:
    """Rows a second of the trainer's loader over one epoch."""
    features = FeatureSet.open(location)
    rows = every_row(features)
    order = DataOrder(rows, 0, BATCH, LANES, WINDOW_ROWS)
    reader = UnitReader(
        lambda low, high: features.read("features", low, high), order, 0, features.rows
    )
    code, device = Dense(8192, (8,)).code, torch.device("cpu")

    def prepared(read: object) -> Frames:
        return prepare(read, device, code)  # type: ignore[arg-type]

    started, seen = time.perf_counter(), 0
    with Loader(reader, order, [range(LANES)], prepared, 8192, "float16", 0, 0) as loader:
        for _ in range(order.steps):
            seen += sum(len(part.values) for part in loader.next().parts)
    assert seen == rows.count
    return seen / (time.perf_counter() - started)


def dataset_rate(location: Location, **options: object) -> float:
    """Rows a second of the data set over one epoch."""
    dataset = fadae.open(location.url).torch(batch_size=BATCH, **options)  # type: ignore[arg-type]
    started, seen = time.perf_counter(), 0
    for batch in dataset:
        lengths = batch.get("length")
        seen += len(batch["features"]) if lengths is None else int(lengths.sum())
    assert seen == dataset.rows
    return seen / (time.perf_counter() - started)


def main() -> None:
    """Measure in alternation, and report."""
    torch.set_num_threads(TrainConfig().threads)
    with tempfile.TemporaryDirectory() as folder:
        location = Location(folder)
        write_features(location, ROWS)
        found: list[tuple[float, float, float]] = []
        for turn in range(ROUNDS + 1):
            rates = (
                trainers_rate(location),
                dataset_rate(location),
                dataset_rate(location, seconds=5.0),
            )
            found += [rates] if turn else []
    trainer, rows, stretches = map(list, zip(*found, strict=True))
    report("trainer's loader, 8192 coefficients", trainer, "rows/s", better="higher")
    report("Workspace.torch, rows", rows, "rows/s", better="higher")
    report(
        "Workspace.torch / trainer's loader, rows",
        [a / b for a, b in zip(rows, trainer, strict=True)],
        "x",
        limit=0.8,
        better="higher",
    )
    report(
        "Workspace.torch / trainer's loader, stretches of 5 s",
        [a / b for a, b in zip(stretches, trainer, strict=True)],
        "x",
        limit=0.8,
        better="higher",
    )


if __name__ == "__main__":
    main()
