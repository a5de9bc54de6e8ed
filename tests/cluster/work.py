"""Functions that the tests' workers run: importable, as map_bag asks for."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from fadae.cluster.client import read_token
from fadae.store.location import Location
from tests.hangs import wait_until

log = logging.getLogger("fadae.tests")


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.02)
    return number * number


def named(number: int) -> str:
    log.info("number %d", number)
    return f"{number}"


def process_id(number: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def fails_twice(folder: str) -> str:
    tries = len(list(Path(folder).glob("try-*")))
    (Path(folder) / f"try-{tries}").touch()
    if tries < 2:
        raise OSError("not yet")
    return "done"


def kills_its_worker_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def all_wait_but_the_first(gate: str) -> str:
    """Return at once to the first who asks, to the others when the file `gate` is there."""
    try:
        Path(f"{gate}.asked").touch(exist_ok=False)
    except FileExistsError:
        wait_until(Path(gate).exists)
        return "another"
    return "the first"


def looks_or_dies(marker: str, url: str, token: str) -> bool:
    kills_its_worker_once(marker)
    return read_token(url, token)


def always_fails(number: int) -> int:
    raise ZeroDivisionError(f"number {number}")


def identity(value: object) -> object:
    return value


def exists(url: str, name: str) -> bool:
    return Location(url).exists(name)


def task_prefixes(dask_scheduler: Any = None) -> list[str]:
    return [str(prefix) for prefix in dask_scheduler.task_prefixes]
