"""How fast the trainer is, as ratios in one run: `python -m tests.benchmarks.bench_training
[--race]`.

Compared with the same step on tensors already in memory, with the trainer of zounds (a plain
per-batch loop with Adam as a for-loop over parameters), bf16 with fp32, exact with fast, two ranks
with one, and with and without checkpoints; with `--race` how soon each reaches a loss. The sizes
are the seed's; one thread a rank.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
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
from tests.benchmarks.figures import report
from tests.training.features import write_features

ROWS = [1200, 1200, 1200, 1200]
SIZE, WIDTHS, SAMPLES = 8192, (1024, 512, 256), 512


ROUNDS, PAIRS = 5, 3


def rates_of(*steps: tuple[Callable[[], object], int]) -> list[list[float]]:
    """Samples a second of each step with its batch, the steps in alternation, warmed up before."""
    rates: list[list[float]] = [[] for _ in steps]
    for turn in range(ROUNDS + 1):
        for (step, batch), found in zip(steps, rates, strict=True):
            count = max(1, SAMPLES // batch)
            started = time.perf_counter()
            for _ in range(count):
                step()
            if turn:
                found.append(count * batch / (time.perf_counter() - started))
    return rates


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


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


def report_steps() -> None:
    """The step alone, on tensors in memory."""
    (zounds,) = rates_of((zounds_step(64), 64))
    keep_freed_memory()  # as every rank does; zounds' trainer ran without it
    bare, exact = rates_of((bare_step(64), 64), (bare_step(64, reduction="exact"), 64))
    fp32, bf16, exact256 = rates_of(
        (bare_step(256), 256),
        (bare_step(256, precision="bf16"), 256),
        (bare_step(256, reduction="exact"), 256),
    )
    report("step, batch 64 fp32", bare, "rows/s", better="higher")
    report("step, batch 256 bf16", bf16, "rows/s", better="higher")
    report("step / zounds' step, batch 64", ratios(bare, zounds), "x", limit=2, better="higher")
    report("bf16 / fp32, batch 256", ratios(bf16, fp32), "x", limit=1.8, better="higher")
    report("exact / fast, batch 64", ratios(exact, bare), "x", limit=0.69, better="higher")
    report("exact / fast, batch 256", ratios(exact256, fp32), "x", better="higher")


def report_trainer(location: Location) -> None:
    """The trainer beside the step in memory, two ranks beside one, a pair at a time."""
    shares, waits, lost, two = [], [], [], []
    step = bare_step(64)
    for pair in range(PAIRS):
        # Epoch 1 reads from disk, later ones from the cache; both count.
        run = trained(location, f"plain-{pair}", max_steps=120)["samples_per_second"]
        (bare,) = rates_of((step, 64))
        shares.append(run / statistics.median(bare))
        saving = trained(location, f"saving-{pair}", max_steps=120, checkpoint_seconds=5.0)
        # A save every 5 s; the default is every 120 s.
        lost.append((1 - saving["samples_per_second"] / run) * 5 / 120)
        waits.append(saving["waited_share"])
        both = trained(location, f"two-{pair}", max_steps=120, ranks=2)
        two.append(both["samples_per_second"] / run)
    beside = "the same step on tensors in memory"
    report("trainer / step, batch 64", shares, "x", limit=0.95, better="higher", beside=beside)
    report("share of time waiting for data", waits, limit=0.02)
    report("time lost to checkpoints every 120 s", lost, limit=0.03)
    report("2 ranks / 1 rank, batch 64", two, "x", better="higher", beside="on two cores")


def report_race(location: Location) -> None:
    """How long each way takes to the same held-out loss; two ranks at a large batch."""
    for name, more in RACES.items():
        report(f"to a held-out loss, {name}", [seconds_to_loss(location, name, **more)], "s")
    wide = {"batch_size": 512, "max_steps": 30}
    one = trained(location, "wide1", **wide)["samples_per_second"]
    two = trained(location, "wide2", ranks=2, **wide)["samples_per_second"]
    report("2 ranks / 1 rank, batch 512", [two / one], "x", better="higher", beside="on two cores")


def main() -> None:
    torch.set_num_threads(1)
    report_steps()
    with tempfile.TemporaryDirectory() as folder:
        location = Location(folder)
        write_features(location, ROWS)
        report_trainer(location)
        if "--race" in sys.argv:
            report_race(location)


if __name__ == "__main__":
    main()
