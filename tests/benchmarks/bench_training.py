"""How fast the trainer is, as ratios in one run: `python -m tests.benchmarks.bench_training`.

Compared with the same step on tensors already in memory, with the trainer of zounds (a plain
per-batch loop with Adam as a for-loop over parameters), bf16 with fp32, exact with fast, two ranks
with one, and with and without checkpoints. The sizes are the seed's; one thread a rank.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from fadae.config.job import TrainConfig
from fadae.memory import keep_freed_memory
from fadae.model.dense import Dense
from fadae.store.location import Location
from fadae.summaries import TrainSummary
from fadae.training.launch import train
from fadae.training.optimizer import Adam
from fadae.training.ranks import Ranks
from fadae.training.reduction import make_reduction
from tests.training.features import write_features

ROWS = [1200, 1200, 1200, 1200]
SIZE, WIDTHS = 8192, (1024, 512, 256)


def steps_a_second(step: Callable[[], object], steps: int) -> float:
    """Median of five measurements of so many steps, after two for warming up."""
    for _ in range(2):
        step()
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        rates.append(steps / (time.perf_counter() - started))
    return statistics.median(rates)


def batch_of(size: int) -> torch.Tensor:
    values = torch.randn(size, SIZE, generator=torch.Generator().manual_seed(0))
    return values / values.abs().amax(1, keepdim=True)


def zounds_step(size: int) -> Callable[[], object]:
    """zounds' PyTorch trainer: a batch sliced, forward, loss, backward, Adam as a for-loop."""
    torch.manual_seed(0)
    model = Dense(SIZE, WIDTHS)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-5, foreach=False, fused=False)
    loss = torch.nn.MSELoss()
    batch = batch_of(size)

    def step() -> None:
        model.zero_grad(set_to_none=False)
        loss(model(batch), batch).backward()
        optimizer.step()

    return step


def bare_step(size: int, **settings: Any) -> Callable[[], object]:
    """fadae's own step on a batch in memory: what the trainer adds to it is its overhead."""
    torch.manual_seed(0)
    model = Dense(SIZE, WIDTHS)
    config = TrainConfig(ranks=1, batch_size=size, **settings)
    reduction = make_reduction(model, config, Ranks(0, 1, torch.device("cpu")), SIZE)
    optimizer = Adam(model.named_parameters(), 0.0)
    leaves = len(reduction.groups())
    parts = batch_of(size).chunk(leaves)

    def step() -> None:
        reduction.backward(parts, size, 0).item()
        optimizer.step(5e-5)

    return step


def trained(location: Location, name: str, **settings: Any) -> TrainSummary:
    """A run of a hundred steps or so: its summary."""
    chosen: dict[str, Any] = {
        "ranks": 1,
        "holdout": 0.5,
        "precision": "fp32",
        "checkpoint_seconds": 1e9,
        "fresh": True,
    }
    return train(location, TrainConfig(run=name, **chosen | settings))


RACES: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "fp32, 2 ranks": {"ranks": 2},
    "exact, 2 ranks": {"ranks": 2, "reduction": "exact"},
}
TARGET_LOSS = 0.03


def seconds_to_loss(location: Location, name: str, **settings: Any) -> float:
    """Seconds of a run at the seed's recipe until its held-out loss is below the target."""
    run = name.replace(", ", "-").replace(" ", "-")
    trained(location, run, epochs=6, evaluate_epochs=1, learning_rate=1e-3, **settings)
    text = location.read_bytes(f"runs/{run}/metrics.jsonl").decode()
    for line in map(json.loads, text.splitlines()):
        if line.get("holdout_loss", math.inf) < TARGET_LOSS:
            return float(line["seconds"])
    return math.nan


def report(name: str, value: float, limit: str) -> None:
    print(f"{name:<58} {value:8.2f}   {limit}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    zounds = 64 * steps_a_second(zounds_step(64), 4)
    keep_freed_memory()  # as every rank does; zounds' trainer ran without it
    bare64 = 64 * steps_a_second(bare_step(64), 4)
    fp32 = 256 * steps_a_second(bare_step(256), 2)
    bf16 = 256 * steps_a_second(bare_step(256, precision="bf16"), 4)
    exact = 64 * steps_a_second(bare_step(64, reduction="exact"), 2)
    exact256 = 256 * steps_a_second(bare_step(256, reduction="exact"), 1)
    print(
        f"samples a second: zounds {zounds:.0f}, batch 64 fp32 {bare64:.0f}, "
        f"batch 256 fp32 {fp32:.0f}, bf16 {bf16:.0f}"
    )
    report("step / zounds' step, batch 64 fp32", bare64 / zounds, "at least 2")
    report("bf16 / fp32, batch 256", bf16 / fp32, "at least 1.8")
    report("exact / fast, batch 64, one rank", exact / bare64, "at least 0.69")
    report("exact / fast, batch 256, one rank", exact256 / fp32, "")
    with tempfile.TemporaryDirectory() as folder:
        location = Location(folder)
        write_features(location, ROWS)
        # Epoch 1 reads from disk, later ones from the cache; both count.
        run = trained(location, "plain", max_steps=120)
        again = 64 * steps_a_second(bare_step(64), 4)
        bare = (bare64 + again) / 2
        report("trainer / bare step, batch 64", run["samples_per_second"] / bare, "at least 0.95")
        report("share of time waiting for data", run["waited_share"], "below 0.02")
        saving = trained(location, "saving", max_steps=120, checkpoint_seconds=5.0)
        lost = 1 - saving["samples_per_second"] / run["samples_per_second"]
        # A save every 5 s; the default is every 120 s.
        report("time lost to checkpoints at the default interval", lost * 5 / 120, "below 0.03")
        two = trained(location, "two", max_steps=120, ranks=2)
        report(
            "2 ranks / 1 rank, batch 64 (2 cores)",
            two["samples_per_second"] / run["samples_per_second"],
            "",
        )
        print("seconds to a held-out loss:")
        for name, more in RACES.items():
            report(f"  {name}", seconds_to_loss(location, f"race-{name}", **more), "")
        wide = {"batch_size": 512, "max_steps": 30}
        one = trained(location, "wide1", **wide)
        two = trained(location, "wide2", ranks=2, **wide)
        report(
            "2 ranks / 1 rank, batch 512 (2 cores)",
            two["samples_per_second"] / one["samples_per_second"],
            "",
        )


if __name__ == "__main__":
    main()
