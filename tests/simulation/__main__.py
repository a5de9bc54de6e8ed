"""Interleavings by number: many of them, or one with all that happens in it.

`python -m tests.simulation [SEED] [--first N] [--seeds N] [--processes N]`; the exit code is 1
where an interleaving goes wrong. Each that does is told by its number, and the first one in full,
with no more turns than it takes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.interleaving import Outcome, interleaving, play, simplest
from tests.simulation.laboratory import laboratory

_SEEDS_A_TASK = 50
_MOST_WRONG = 20
_TOLD_EVERY = 500


def wrong_among(seeds: range) -> list[tuple[int, Outcome]]:
    """Return those of some interleavings that go wrong: the unit of work."""
    with laboratory():
        played = ((seed, play(*interleaving(seed))) for seed in seeds)
        return [(seed, simplest(outcome)) for seed, outcome in played if outcome.wrong]


def all_wrong(seeds: range, processes: int) -> Iterator[list[tuple[int, Outcome]]]:
    """Yield what goes wrong in each of many tasks, in their order."""
    tasks = [seeds[low : low + _SEEDS_A_TASK] for low in range(0, len(seeds), _SEEDS_A_TASK)]
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(wrong_among, tasks)
        finally:
            pool.shutdown(cancel_futures=True)


def show(seed: int) -> bool:
    """Tell one interleaving; return whether it goes wrong."""
    with laboratory():
        outcome = simplest(play(*interleaving(seed)))
    print(f"seed {seed}: {outcome}")
    return bool(outcome.wrong)


def run(seeds: range, processes: int) -> bool:
    """Run many interleavings; return whether any goes wrong."""
    started, ran, wrong = time.monotonic(), 0, 0
    for found in all_wrong(seeds, processes):
        ran += _SEEDS_A_TASK
        for seed, outcome in found:
            print(f"seed {seed}: {outcome if not wrong else outcome.wrong}", flush=True)
            wrong += 1
        if ran % _TOLD_EVERY == 0:
            print(f"{ran} of {len(seeds)}, {wrong} go wrong", file=sys.stderr, flush=True)
        if wrong >= _MOST_WRONG:
            break
    seconds, ran = time.monotonic() - started, min(ran, len(seeds))
    print(f"{ran} interleavings from {seeds.start} on in {seconds:.0f} s: {wrong} go wrong")
    return bool(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="?", help="only this one, with all that happens")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    if asked.seed is not None:
        return show(asked.seed)
    return run(range(asked.first, asked.first + asked.seeds), asked.processes)


if __name__ == "__main__":
    sys.exit(main())
