"""Environments of processes that compute with several threads."""

from __future__ import annotations


def threads(count: int) -> dict[str, str]:
    """Variables for so many threads, which sleep at once where they wait.

    By default they spin, which on a machine with fewer processors costs ten times the work.
    """
    names = (f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL"))
    idle = {"OPENBLAS_THREAD_TIMEOUT": "4", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    return dict.fromkeys(names, str(count)) | idle
