"""One container as a process: process 1 of its own namespaces, not root, on a read-only root."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hangs import HANG_SECONDS
from tests.k8s.rendering import K8S

# Mounts need a root of some user namespace; the program itself then runs as the image's user in
# a second one. $1 hosts file, $2 scratch folder, $3 host name, $4 user, the rest is the command.
_START = """
set -e
mount --bind "$1" /etc/hosts
mount --bind "$2" /tmp
mount -o remount,bind,ro /
hostname "$3"
cd /tmp
user=$4; shift 4
exec unshare --user --map-user="$user" --map-group="$user" "$@"
"""
_NAMESPACES = ("--user", "--map-root-user", "--mount", "--uts", "--pid", "--fork", "--mount-proc")
# Whatever ends the test, also a signal to it, ends the containers.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_UNSHARE = (*_WITH_PARENT, "unshare", *_NAMESPACES, "--kill-child", "sh", "-c", _START, "sh")


@functools.cache
def namespaces_work() -> bool:
    """Return whether this machine lets a process have all these namespaces and mounts."""
    # A folder of its own: others' mounts below /tmp would be in the way.
    with tempfile.TemporaryDirectory() as folder:
        trial = (*_UNSHARE, "/etc/hosts", folder, "trial", "10001", "true")
        try:
            return subprocess.run(trial, capture_output=True).returncode == 0
        except FileNotFoundError:
            return False


@functools.cache
def image_environment() -> dict[str, str]:
    """Return the ENV of the container image, with this environment's bin folder as its PATH."""
    text = (K8S / "image" / "Containerfile").read_text().replace("\\\n", " ")
    lines = re.findall(r"^ENV (.+)$", text.rpartition("\nFROM ")[2], re.M)
    environment = dict(pair.split("=", 1) for line in lines for pair in line.split())
    return environment | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


@dataclass(frozen=True)
class Sandbox:
    """Where a pod's containers run: its host name, its user, its files."""

    hostname: str
    user: int
    hosts: Path
    scratch: Path


class ContainerProcess:
    """A started container."""

    def __init__(
        self, argv: list[str], environment: Mapping[str, str], sandbox: Sandbox, log: Path
    ) -> None:
        """Start the command; stdout goes to log with suffix .out, stderr to .err."""
        self.log = log
        start = (str(sandbox.hosts), str(sandbox.scratch), sandbox.hostname, str(sandbox.user))
        with log.with_suffix(".out").open("ab") as out, log.with_suffix(".err").open("ab") as err:
            self._outer = subprocess.Popen(
                [*_UNSHARE, *start, *argv],
                env=image_environment() | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Return the exit code, 128 + signal for a death by one, None while it runs."""
        code = self._outer.poll()
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        """Send a signal to process 1 of the container."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        deadline = time.monotonic() + HANG_SECONDS
        while self.exit_code() is None and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if pids := children.read_text().split():
                    os.kill(int(pids[0]), number)  # takes the whole namespace along
                    return
            time.sleep(0.01)

    def signal_child(self, number: int) -> None:
        """Send a signal to the child of the container's program."""
        deadline = time.monotonic() + HANG_SECONDS
        pids = [self._outer.pid]
        while len(pids) < 3:  # unshare, the program, its child
            assert time.monotonic() < deadline
            found = Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children").read_text().split()
            pids = [*pids, int(found[0])] if found else [self._outer.pid]
        os.kill(pids[-1], number)

    def kill(self) -> None:
        """End it and everything it started, at once."""
        self.signal(signal.SIGKILL)
        self._outer.wait(HANG_SECONDS)

    @property
    def out(self) -> str:
        """What it has written to stdout."""
        return self.log.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr."""
        return self.log.with_suffix(".err").read_text()
