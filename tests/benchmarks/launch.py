"""Run a command as a user types it and weigh all its processes; print one JSON line.

    python -S tests/benchmarks/launch.py COMMAND...

A script of its own without libraries: the most memory that a process is said to have held counts
that of the process it was forked from. It adopts the processes whose parents end before them
(decoders of workers, say), waits for all, and asks the kernel what they spent. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.2
# A process is named by what its command line holds, else it is the command itself.
ROLES = {
    "decode_worker": "decoder",
    "resource_tracker": "tracker",
    "spawn_main": "worker",
}


def _descendants() -> dict[int, str]:
    """Return the command lines of all processes below this one, by their ids."""
    parents, found = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    for process in parents:
        above = process
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and process != above:
            with contextlib.suppress(OSError):
                found[process] = Path(f"/proc/{process}/cmdline").read_text("utf-8", "replace")
    return found


def _watch(peaks: dict[int, tuple[str, float]], ended: threading.Event) -> None:
    """Note the most memory of each process, in MB, as long as the command runs."""
    while not ended.wait(POLL_SECONDS):
        for process, line in _descendants().items():
            role = next((name for sign, name in ROLES.items() if sign in line), "command")
            with contextlib.suppress(OSError, IndexError):  # it has ended
                status = Path(f"/proc/{process}/status").read_text("utf-8", "replace")
                held = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
                peaks[process] = (role, held)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def main(command: list[str]) -> int:
    """Run the command; its output comes first, its cost is the last line."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt the processes of a command")
    peaks: dict[int, tuple[str, float]] = {}
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(peaks, ended))
    watching.start()
    start = time.perf_counter()
    done = subprocess.run(command, check=False)
    seconds = time.perf_counter() - start
    _reap()
    ended.set()
    watching.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    by_role: dict[str, float] = {}
    for role, held in peaks.values():
        by_role[role] = max(held, by_role.get(role, 0.0))
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": used.ru_utime + used.ru_stime,
                "mb": used.ru_maxrss / 1e3,
                "mb_by_role": by_role,
            }
        )
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
