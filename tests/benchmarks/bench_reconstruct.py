"""Reconstructing a store against the bare codec and synthesis of the same frames in memory.

The limit is 1.3 times the cost: reading, writing, the synthesis of the reference and the scores
included. Wall time on an otherwise idle machine decides; CPU time, that of all the process's
threads, tells what is compressed beside the computing thread. The two alternate; medians.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import fadae
from fadae.stages.reconstruct import reconstruct
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.store.paths import reconstruction_path
from fadae.transform.adaptive import MODEL_FLOOR
from tests.benchmarks.figures import report
from tests.synthetic import music, write_features, write_run

LIMIT = 1.3
ROUNDS = 3
SECONDS = 1390.0  # four blocks of 1024 frames, nearly full
WIDTHS = (1024, 512, 256)


def main() -> None:
    """Report both costs' ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        location = Location(str(Path(folder)))
        write_features(location, {"a/music.ogg": music(SECONDS)})
        write_run(location, widths=WIDTHS)
        codec = fadae.open(location.url).codec()
        features = FeatureSet.open(location)
        c = features.read("features", 0, features.frames).astype(np.float32)

        def bare() -> None:
            made = codec.reconstruct(c)
            features.transform.synthesize_hops(made, floor=MODEL_FLOOR)

        def whole() -> None:
            reconstruct(location, device="cpu")

        costs: dict[str, list[tuple[float, float]]] = {"bare": [], "whole": []}
        for _ in range(ROUNDS):
            costs["bare"].append(cost(bare))
            location.delete(reconstruction_path("default"))
            costs["whole"].append(cost(whole))
    for index, clock in enumerate(("wall", "CPU")):
        bare_times, whole_times = ([t[index] for t in times] for times in costs.values())
        each = f"{1e6 * statistics.median(whole_times) / len(c):.0f} us a frame"
        report(
            f"reconstruct / codec + synthesis in memory, {clock}",
            [high / low for low, high in zip(bare_times, whole_times, strict=True)],
            "x",
            limit=LIMIT if clock == "wall" else None,
            beside=each,
        )


def cost(work: Callable[[], None]) -> tuple[float, float]:
    """Return the wall and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
