"""Interleavings by number: `python -m tests.simulation --seeds 10000 --processes 2`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.interleaving import interleave
from tests.simulation.laboratory import laboratory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    started, found = time.process_time(), 0
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else [asked.seed]
    with laboratory():
        for seed in seeds:
            if failure := interleave(seed):
                found += 1
                text = str(failure)
                print(text if asked.seed is not None else text.splitlines()[0][:300], flush=True)
    print(f"{len(seeds)} interleavings, {found} fail, {time.process_time() - started:.1f} s of CPU")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
