"""At most so many at a time over a whole cluster, wherever the tasks run."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ClusterSemaphore:
    """A limit that travels: called, it gives the context of one turn, waiting until one is free.

    On Dask workers the scheduler counts, per name and limit; the turns of a lost worker come back
    with their leases' time-out. Elsewhere this process counts.
    """

    name: str
    limit: int

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold a turn while the block runs."""
        with _semaphore(self.name, self.limit, _on_worker()):
            yield


@functools.lru_cache(maxsize=32)
def _semaphore(name: str, limit: int, scheduler: str) -> Any:
    if not scheduler:
        return threading.BoundedSemaphore(limit)
    from distributed import Semaphore

    # The limit is part of the name: the scheduler refuses one name with two limits.
    return Semaphore(max_leases=limit, name=f"{name} at most {limit}")


def _on_worker() -> str:
    """Return the address of the scheduler this worker belongs to; empty outside of a worker."""
    if "distributed" not in sys.modules:  # a worker has it; nobody else need load it
        return ""
    from distributed import get_worker

    try:
        return str(get_worker().scheduler.address)
    except ValueError:
        return ""
