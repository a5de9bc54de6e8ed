"""The same bytes wherever a signal is cut and with any threads, on every kernel of the BLAS.

Each kernel in a process of its own, which it must be told before NumPy is loaded. Between
kernels, bytes may differ in a float32's last bit: that is the contract (see `adaptive`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.threads import threads

# What each kernel of OpenBLAS needs of an x86 processor, in the words of /proc/cpuinfo.
NEEDS = {
    "default": set(),
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


def cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def hashes(kernel: str, count: int, *cuts: int) -> str:
    env = os.environ | threads(count)
    env.pop("OPENBLAS_CORETYPE", None)
    if kernel != "default":
        env["OPENBLAS_CORETYPE"] = kernel
    command = [sys.executable, "-m", "tests.transform.alike", *map(str, cuts)]
    child = subprocess.run(command, env=env, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.parametrize("kernel", NEEDS)
@pytest.mark.slow
def test_neither_cuts_nor_threads_change_a_bit(kernel: str) -> None:
    if missing := NEEDS[kernel] - cpu_flags():
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")
    # What is cut has the bytes of the whole with three threads, and that those with one thread:
    # there the cut of most rows in another place of their block is enough.
    assert hashes(kernel, 3, 1, 5, 6, 13, 129) == hashes(kernel, 1, 13)
