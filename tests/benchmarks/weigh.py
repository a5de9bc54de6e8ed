"""What a whole command costs, all its processes counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
FADAE = (sys.executable, "-m", "fadae")


@dataclass(frozen=True)
class Cost:
    """A command's seconds, from its start to its end, and those of processors in all processes.

    mb: the most that one of its processes held; mb_by_role: the same of "command", "worker" and
    "decoder", by looks at them every 0.2 s. printed: the last line of its stdout.
    """

    seconds: float
    cpu: float
    mb: float
    mb_by_role: dict[str, float]
    printed: str


def cost_of(*command: str, env: dict[str, str] | None = None) -> Cost:
    """Run a command to its end. Raises subprocess.CalledProcessError where it fails."""
    done = subprocess.run(
        [sys.executable, "-S", str(_LAUNCH), *command],
        env={**os.environ, **ONE_THREAD, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)
    *printed, cost = done.stdout.splitlines()
    return Cost(**json.loads(cost), printed=printed[-1] if printed else "")
