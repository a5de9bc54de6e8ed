"""Random kills at 1 to 4 ranks: `python -m tests.benchmarks.bench_kills [KILLS]`.

Trains undisturbed, then again with kill -9 sent to a random process of the command (its ranks or
the command itself) at random moments, the command being started again whenever it ended without
success; both must leave the same model.safetensors. Slow: every process imports torch anew.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time

import psutil

from fadae.store.location import Location
from tests.training.features import write_features
from tests.training.small import model_hash


def command(location: Location, run: str, ranks: int, reduction: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "fadae",
        "train",
        "-w",
        location.url,
        "--run",
        run,
        "--ranks",
        str(ranks),
        "--reduction",
        reduction,
        "--widths",
        "128,32",
        "--lr",
        "1e-3",
        "--epochs",
        "30",
        "--checkpoint-steps",
        "5",
        "--json",
    ]


def kill_somebody(process: subprocess.Popen[bytes]) -> str:
    """Kill the command or one of its ranks; return which."""
    try:
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        victim = random.choice(family)
        name = "command" if victim.pid == process.pid else "rank"
        victim.kill()
    except psutil.NoSuchProcess:
        return "nobody"
    return name


def train_through_kills(asked: list[str], kills: int) -> list[str]:
    """Run the command until it succeeds, killing so many times; return who was killed."""
    killed: list[str] = []
    while True:
        process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            try:
                process.wait(timeout=random.uniform(4, 12) if len(killed) < kills else None)
            except subprocess.TimeoutExpired:
                killed.append(kill_somebody(process))
        if process.returncode == 0:
            return killed
        assert process.returncode in (75, -9), process.returncode


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        location = Location(folder)
        write_features(location, [300, 200, 150, 100, 90], silent=(3,), failed=(7,))
        for ranks, reduction in ((1, "fast"), (2, "fast"), (3, "fast"), (4, "fast"), (4, "exact")):
            started = time.perf_counter()
            name = f"{reduction}-{ranks}"
            subprocess.run(
                command(location, name, ranks, reduction),
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            undisturbed = model_hash(location, name)
            killed = train_through_kills(
                command(location, f"{name}-killed", ranks, reduction), kills
            )
            same = model_hash(location, f"{name}-killed") == undisturbed
            differing += not same
            print(
                f"{name:<10} killed {', '.join(killed):<40} {undisturbed[:12]} "
                f"{'same bytes' if same else 'DIFFERENT'}  {time.perf_counter() - started:.0f} s",
                flush=True,
            )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
