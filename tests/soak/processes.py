"""The processes that commands start: who they are, how much memory they take, and their end.

Linux only: a process whose parent was killed comes to this one, which waits for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

PR_SET_CHILD_SUBREAPER = 36
LABEL = "FADAE_SOAK_COMMAND"
# What a process is, by what its command line holds; else it is the command itself.
ROLES = {
    "decode_worker": "decoder",
    "fadae.training.worker": "rank",
    "resource_tracker": "tracker",
    "spawn_main": "worker",
}
VICTIMS = ("driver", "worker", "decoder", "rank")
LOOK_SECONDS = 0.3
FEWEST = 5  # processes of a half that say what a role takes: some find nothing to do
ORPHAN_SECONDS = 60.0  # for a process to notice that its command was killed


@dataclass
class Seen:
    """One process: whose it is, and the most memory it was seen to have taken."""

    label: str  # of the command it belongs to: its name and number
    role: str
    process: psutil.Process
    born: float
    peak_mb: float = 0.0
    orphan_since: float | None = None

    @property
    def command(self) -> str:
        return self.label.partition("-")[0]

    @property
    def name(self) -> str:
        return f"{self.command} {self.role}"


@dataclass
class Family:
    """All processes below this one that commands of ours have started."""

    began: float = field(default_factory=time.monotonic)
    seen: dict[tuple[int, float], Seen] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    overdue: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)  # labels of commands that nothing disturbed
    _started: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _alive: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Adopt the processes whose parents are killed."""
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot adopt the processes of a command")

    def start(
        self, label: str, command: list[str], env: Mapping[str, str], logs: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command; what it prints goes to files of its label in `logs`."""
        own = {**env, LABEL: label}
        prints = logs / f"{label}.out", logs / f"{label}.err"
        with prints[0].open("wb") as out, prints[1].open("wb") as err, self._lock:
            process = subprocess.Popen(
                command, env=own, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
            self._started[process.pid] = process
        return process

    def look(self) -> None:
        """Note who is there and how much each has taken; wait for adopted ones that ended."""
        with self._lock:
            now, alive = time.monotonic() - self.began, list[Seen]()
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError, IndexError, KeyError):
                    found = self._known(process, now)
                    if process.status() == psutil.STATUS_ZOMBIE:
                        self._bury(process)
                        continue
                    status = Path(f"/proc/{process.pid}/status").read_text("utf-8", "replace")
                    found.peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
                    self._note_orphan(found, now)
                    alive.append(found)
            self._alive = alive

    def _known(self, process: psutil.Process, now: float) -> Seen:
        key = (process.pid, process.create_time())
        if key not in self.seen:
            line = " ".join(process.cmdline())
            role = next((role for sign, role in ROLES.items() if sign in line), "driver")
            label = process.environ()[LABEL]  # the S3 server has none
            if line:  # between fork and exec it has its parent's
                self.seen[key] = Seen(label, role, process, now)
        return self.seen[key]

    def _bury(self, process: psutil.Process) -> None:
        if process.pid not in self._started and process.ppid() == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)

    def _note_orphan(self, found: Seen, now: float) -> None:
        if found.process.pid in self._started or found.process.ppid() != os.getpid():
            return
        if found.orphan_since is None:
            found.orphan_since = now
        elif now - found.orphan_since > ORPHAN_SECONDS and found.orphan_since >= 0:
            line = " ".join(found.process.cmdline())[:200]
            self.overdue.append(f"{found.name}, {now - found.orphan_since:.0f} s: {line}")
            found.orphan_since = -1.0  # told once

    def kill_one(self, drawn: random.Random) -> str:
        """Kill a random process of a random command; return whose it was."""
        with self._lock:
            victims: dict[str, list[Seen]] = defaultdict(list)
            for one in self._alive:
                if one.role in VICTIMS and one.orphan_since is None:
                    victims[one.command].append(one)
            if not victims:
                return ""
            victim = drawn.choice(victims[drawn.choice(sorted(victims))])
            try:
                victim.process.send_signal(signal.SIGKILL)  # psutil looks that it is still the same
            except psutil.NoSuchProcess:
                return ""
            self.kills[victim.name] += 1
            return victim.name

    def commands(self) -> int:
        """Return how many commands are running."""
        return len({one.label for one in self._alive if one.orphan_since is None})

    def living(self) -> list[str]:
        """Return who is still there."""
        return [f"{one.name} {one.process.pid}" for one in self._alive]

    def end(self) -> None:
        """Kill all that is left of the commands."""
        self.look()
        for one in self._alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.process.kill()

    def memory(self) -> dict[str, tuple[list[float], list[float]]]:
        """Return by role the peaks, in MB, of processes born in the first half and the second.

        Of commands that came to their end: one that was killed had no time to take what it takes.
        """
        ended = time.monotonic() - self.began
        halves: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for one in self.seen.values():
            if one.peak_mb and one.label in self.done:
                halves[one.name][one.born > ended / 2].append(one.peak_mb)
        return dict(sorted(halves.items()))


def grown(halves: Mapping[str, tuple[list[float], list[float]]]) -> list[str]:
    """Return the roles whose greatest peak grew by more than a tenth and 20 MB.

    >>> first = [100.0, 300.0, 90.0, 90.0, 90.0]
    >>> grown({"a": (first, [320.0] * 5), "b": (first, [331.0] * 5), "few": (first, [999.0])})
    ['b']
    """
    return [
        name
        for name, (first, second) in halves.items()
        if min(len(first), len(second)) >= FEWEST
        and max(second) > max(1.1 * max(first), max(first) + 20)
    ]


def lines(halves: Mapping[str, tuple[list[float], list[float]]]) -> Iterable[str]:
    """Yield a line a role: how many, the median and the most, of the first half and the second."""
    for name, parts in halves.items():
        told = [
            f"{len(part):4d} {median(part):6.0f} {max(part):6.0f}"
            if part
            else f"{0:4d}{'-':>7}{'-':>7}"
            for part in parts
        ]
        yield f"{name:<22} {told[0]}   {told[1]}"
