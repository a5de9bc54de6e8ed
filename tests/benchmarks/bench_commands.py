"""What a user waits for: whole commands, cold, beside FFmpeg decoding alone.

    python -m tests.benchmarks.bench_commands [--folder OF OGG FILES] [--sizes 6 18 36] [--rounds 5]

Each command is started anew and fills an empty workspace. Processor time is that of all its
processes. Start-up drops out of a slope: the cost at the greatest size minus that at the least.
Rounds go through all sizes in turn, so that a busy machine troubles all alike; a ratio is of one
round.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from sys import executable

from tests.benchmarks.corpus import make_corpora
from tests.benchmarks.figures import report
from tests.benchmarks.weigh import FADAE, Cost, cost_of
from tests.conftest import shared_dir

RATE_HZ = 11025
MUST, AIM = 1.5, 1.35
ROLES = ("command", "worker", "decoder")
_DECODE = f"""
import sys
from pathlib import Path
from fadae.audio.decode import decode
files = sorted(Path(sys.argv[1]).glob("*.ogg"))
print(sum(len(block) for file in files for block in decode(file, {RATE_HZ})))
"""


@dataclass(frozen=True)
class Job:
    """What one corpus cost in one round; two: both commands, their waits in seconds."""

    decode: Cost
    ingest: Cost
    extract: Cost
    two: float

    @property
    def one(self) -> float:
        """The wait for both commands with one worker, in seconds."""
        return self.ingest.seconds + self.extract.seconds

    def most(self, role: str) -> float:
        """The most that such a process held in either command, in MB."""
        return max(cost.mb_by_role.get(role, 0.0) for cost in (self.ingest, self.extract))

    @property
    def hours(self) -> float:
        """Of audio."""
        return int(self.decode.printed) / RATE_HZ / 3600


def measured(folder: Path, scratch: Path) -> Job:
    """Decode a folder alone, then ingest and extract it by one worker, then by two."""
    decode = cost_of(executable, "-c", _DECODE, str(folder))
    ingest, extract = _job(folder, scratch, 1)
    return Job(decode, ingest, extract, sum(cost.seconds for cost in _job(folder, scratch, 2)))


def _job(folder: Path, scratch: Path, workers: int) -> tuple[Cost, Cost]:
    with tempfile.TemporaryDirectory(dir=scratch) as workspace:
        shared = ("-w", workspace, "--workers", str(workers))
        ingest = cost_of(*FADAE, "ingest", "--folder", str(folder), *shared)
        return ingest, cost_of(*FADAE, "extract", *shared)


Rounds = list[dict[int, Job]]


def slopes(rounds: Rounds, of: Callable[[Job], float], first: int, last: int) -> list[float]:
    """Return what the recordings between two sizes cost, of each round."""
    return [of(jobs[last]) - of(jobs[first]) for jobs in rounds]


def report_cost(rounds: Rounds, first: int, last: int) -> None:
    """Processor time of a recording, start-up left out, beside decoding it."""
    hours = slopes(rounds, lambda job: job.hours, first, last)
    decode = slopes(rounds, lambda job: job.decode.cpu, first, last)
    ingest = slopes(rounds, lambda job: job.ingest.cpu, first, last)
    extract = slopes(rounds, lambda job: job.extract.cpu, first, last)
    which = f"slope {first} to {last}"
    report(
        f"OGG to features / decoding, {which}",
        [(i + e) / d for i, e, d in zip(ingest, extract, decode, strict=True)],
        "x",
        limit=MUST,
        beside=f"processors, one worker; aim {AIM}",
    )
    for name, spent in (("decoding alone", decode), ("ingest", ingest), ("extract", extract)):
        each = [cpu / h for cpu, h in zip(spent, hours, strict=True)]
        report(f"{name}, {which}", each, "s/audio h", beside="processors")


def report_memory(rounds: Rounds, sizes: list[int]) -> None:
    """The most that a process held at each size: it should not grow."""
    for role in ROLES:
        held = {size: [jobs[size].most(role) for jobs in rounds] for size in sizes}
        for size in sizes:
            report(f"memory of the {role}, {size} recordings", held[size], "MB")
        growth = [b / a for a, b in zip(held[sizes[0]], held[sizes[-1]], strict=True)]
        report(f"memory of the {role}, greatest / least", growth, "x", limit=1.2)


def report_workers(rounds: Rounds, first: int, last: int) -> None:
    """What a second worker gains, beside what one and its decoder leave of two cores."""
    one = slopes(rounds, lambda job: job.one, first, last)
    two = slopes(rounds, lambda job: job.two, first, last)
    cpu = slopes(rounds, lambda job: job.ingest.cpu + job.extract.cpu, first, last)
    busy = report("cores that one worker fills", [c / s for c, s in zip(cpu, one, strict=True)])
    report(
        "one worker / two, wait, slope",
        [a / b for a, b in zip(one, two, strict=True)],
        "x",
        limit=1.85,
        better="higher",
        beside=f"two cores allow {2 / busy.median:.2f}",
    )


def report_start(music: Path, rounds: int, scratch: Path) -> None:
    """From the key press to the exit, where there is next to nothing to do."""
    workspace = scratch / "small"
    folder = scratch / "one"
    folder.mkdir()
    shortest = min(music.glob("*.ogg"), key=lambda path: path.stat().st_size)
    (folder / shortest.name).write_bytes(shortest.read_bytes())
    cost_of(*FADAE, "ingest", "--folder", str(folder), "-w", str(workspace))
    cost_of(*FADAE, "extract", "-w", str(workspace))
    told: dict[str, list[Cost]] = {"python": [], "info": [], "ingest": []}
    for number in range(rounds):
        told["python"].append(cost_of(executable, "-c", "pass"))
        told["info"].append(cost_of(*FADAE, "info", "-w", str(workspace)))
        new = ("-w", str(scratch / f"start-{number}"))
        told["ingest"].append(cost_of(*FADAE, "ingest", "--folder", str(folder), *new))
    limits = {"python": None, "info": 0.6, "ingest": 2.5}
    names = {"python": "python -c pass", "info": "fadae info", "ingest": "fadae ingest of one file"}
    for key, costs in told.items():
        seconds = [cost.seconds for cost in costs]
        report(f"{names[key]}, wait", seconds, "s", limit=limits[key])
        report(f"{names[key]}, processors", [cost.cpu for cost in costs], "s")
        report(f"{names[key]}, largest process", [cost.mb for cost in costs], "MB")


def main(arguments: list[str] | None = None) -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=shared_dir() / "recordings")
    parser.add_argument("--sizes", type=int, nargs="+", default=[6, 18, 36])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    sizes = sorted(given.sizes)
    with tempfile.TemporaryDirectory(prefix="fadae-bench-") as name:
        scratch = Path(name)
        corpora = make_corpora(given.folder, scratch / "corpora", sizes)
        report_start(corpora[sizes[0]], given.rounds, scratch)
        rounds = [
            {size: measured(folder, scratch) for size, folder in corpora.items()}
            for _ in range(given.rounds)
        ]
    report_cost(rounds, sizes[0], sizes[-1])
    if len(sizes) > 2:
        for first, last in pairwise(sizes):
            report_cost(rounds, first, last)
    report_workers(rounds, sizes[0], sizes[-1])
    report_memory(rounds, sizes)


if __name__ == "__main__":
    main()
