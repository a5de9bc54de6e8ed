"""Interleavings by number: all of many, or one with all that happens in it.

`python -m tests.simulation [SEED] [--first N] [--seeds N] [--processes N]`; the exit code is 1
where an interleaving fails. Each failure is told as simply as it fails, and by its number.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.interleaving import Failure, interleave
from tests.simulation.laboratory import laboratory

_SEEDS_A_TASK = 50
_MOST_FAILURES = 20


def failures(seeds: range) -> list[Failure]:
    """Return what fails among some interleavings: the unit of work."""
    with laboratory():
        return [failure for seed in seeds if (failure := interleave(seed))]


def all_failures(seeds: range, processes: int) -> Iterator[list[Failure]]:
    """Yield the failures of each of many tasks, in their order."""
    tasks = [seeds[low : low + _SEEDS_A_TASK] for low in range(0, len(seeds), _SEEDS_A_TASK)]
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(failures, tasks)
        pool.shutdown(cancel_futures=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="?", help="only this one, with its trace")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    started = time.monotonic()
    if asked.seed is not None:
        found = failures(range(asked.seed, asked.seed + 1))
        print(found[0] if found else f"seed {asked.seed}: nothing wrong")
        return bool(found)
    seeds = range(asked.first, asked.first + asked.seeds)
    ran, wrong = 0, 0
    for found in all_failures(seeds, asked.processes):
        ran += _SEEDS_A_TASK
        wrong += len(found)
        for failure in found:
            print(failure if wrong <= 1 else f"seed {failure.seed}: {failure.wrong}", flush=True)
        if wrong >= _MOST_FAILURES:
            break
    seconds = time.monotonic() - started
    print(
        f"{min(ran, len(seeds))} interleavings from {asked.first} on in {seconds:.0f} s: {wrong} fail"
    )
    if wrong:
        print("make simulate SEED=N shows one of them")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
