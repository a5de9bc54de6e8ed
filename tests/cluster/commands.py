"""A scheduler and workers started as commands, as an operator of a cluster starts them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.hangs import HANG_SECONDS

# Small steps, so that tests of loss do not wait for production's time-outs.
ENVIRONMENT = {
    "DASK_DISTRIBUTED__SCHEDULER__LOCKS__LEASE_TIMEOUT": "3s",
    "DASK_DISTRIBUTED__SCHEDULER__LOCKS__LEASE_VALIDATION_INTERVAL": "500ms",
    "PYTHONUNBUFFERED": "1",
}

NOTHING: Mapping[str, str] = MappingProxyType({})


class Command:
    """A running command whose log can be read; killed at the end of its block."""

    address = ""  # of a scheduler

    def __init__(self, arguments: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                arguments, stdout=out, stderr=out, env={**os.environ, **ENVIRONMENT, **environment}
            )

    def wait_for(self, text: str, seconds: float = HANG_SECONDS) -> str:
        """Return the first line of the log with the text in it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if text in line:
                    return line
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in {self.log.read_text()}")

    def kill(self) -> None:
        """Kill -9, at once, as a lost node."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def scheduler(
    folder: Path,
    port: int = 0,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] = NOTHING,
) -> Iterator[Command]:
    """Run `dask scheduler`; `.address` is where it listens."""
    command = Command(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--no-dashboard",
            *arguments,
        ],
        folder / f"scheduler-{time.monotonic_ns()}.log",
        **environment,
    )
    try:
        line = command.wait_for("Scheduler at:")
        command.address = line.split()[-1]
        yield command
    finally:
        command.kill()


@contextlib.contextmanager
def worker(
    address: str,
    folder: Path,
    name: str,
    *,
    wrapper: tuple[str, ...] = (),
    code: str = "",
    environment: Mapping[str, str] = NOTHING,
) -> Iterator[Command]:
    """Run `dask worker` without a nanny, so that a kill is the loss of the node.

    wrapper: a command to run it under. code: Python to run in the worker before it starts.
    """
    start = f"{code}\nfrom distributed.cli.dask_worker import main; main()"
    command = Command(
        [
            *wrapper,
            sys.executable,
            "-c",
            start,
            address,
            "--host",
            "127.0.0.1",
            "--name",
            name,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--death-timeout",
            "1000",
            "--local-directory",
            str(folder / "dask"),
        ],
        folder / f"worker-{name}.log",
        **environment,
    )
    try:
        command.wait_for("Registered to:")
        yield command
    finally:
        command.kill()
