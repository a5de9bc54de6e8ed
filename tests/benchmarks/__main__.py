"""All benchmarks, or some: each in a process of its own, their figures in one JSON file.

python -m tests.benchmarks [run] [PART ...] [--all] [--to FILE] [OPTIONS OF THE ONLY PART]
python -m tests.benchmarks compare A.json B.json
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from tests.benchmarks import figures
from tests.benchmarks.weigh import ONE_THREAD

# What a run without names measures. The other parts take long, or tell what they find in words.
QUICK = ("commands", "transform", "training", "reconstruct")
PARTS = tuple(sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*")))
LIBRARIES = ("numpy", "scipy", "torch", "dask", "zarr", "av", "soxr")


def run(parts: list[str], to: Path, options: tuple[str, ...] = ()) -> int:
    """Run some parts, write their figures; return 1 where one failed or missed a limit."""
    results: figures.Results = {
        "commit": commit(),
        "machine": machine(),
        "versions": {name: metadata.version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "seconds": 0.0,
        "load_before": round(os.getloadavg()[0], 1),
        "failed": [],
        "figures": [],
    }
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "figures.jsonl"
        env = {**os.environ, **ONE_THREAD, figures.TO: str(told)}
        try:
            for part in parts:
                print(f"\n=== {part}", flush=True)
                command = [sys.executable, "-m", f"tests.benchmarks.bench_{part}", *options]
                if subprocess.run(command, check=False, env=env).returncode:
                    results["failed"].append(part)
        finally:  # what stops a run loses nothing
            results["figures"] = figures.read_lines(told)
            results["seconds"] = round(time.perf_counter() - start)
            to.parent.mkdir(parents=True, exist_ok=True)
            figures.write(to, results)
    missed = [figure.name for figure in results["figures"] if not figure.kept]
    for what, names in (("failed", results["failed"]), ("limits missed", missed)):
        if names:
            print(f"{what}: {', '.join(names)}")
    print(f"figures in {to}, load {results['load_before']} before")
    return int(bool(results["failed"] or missed))


def commit() -> str:
    """Return the commit that is measured, with a mark where files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def machine() -> dict[str, str | float]:
    """Return what of a machine moves figures, without its name."""
    cpu = platform.machine()
    known = Path("/proc/cpuinfo")
    if known.exists():
        lines = known.read_text("utf-8").splitlines()
        cpu = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), cpu)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    cores = len(os.sched_getaffinity(0))
    return {"cpu": cpu, "cores": cores, "memory_gb": round(memory, 1), "system": platform.system()}


def main(arguments: list[str]) -> int:
    """Run or compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help=f"measure; quick: {', '.join(QUICK)}")
    running.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    running.add_argument("--all", action="store_true", help="every part; takes hours")
    running.add_argument("--to", type=Path, help="JSON file; default build/bench/COMMIT.json")
    comparing = commands.add_parser("compare", help="say what changed between two runs")
    comparing.add_argument("a", type=Path)
    comparing.add_argument("b", type=Path)
    given, options = parser.parse_known_args(arguments or ["run"])
    if given.command == "compare":
        if options:
            parser.error(f"compare has no {' '.join(options)}")
        print("\n".join(figures.compared(figures.read(given.a), figures.read(given.b))))
        return 0
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"no part {', '.join(unknown)}: choose among {', '.join(PARTS)}")
    parts = list(PARTS) if given.all else given.parts or list(QUICK)
    if options and len(parts) > 1:
        parser.error(f"{' '.join(options)}: options are for one part alone")
    return run(parts, given.to or Path("build/bench") / f"{commit()}.json", tuple(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
