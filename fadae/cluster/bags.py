"""The mapped stages on a cluster: bags of small values, drawn as they are needed."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, TypeVar

import dask.bag
from distributed import CancelledError, Client, KilledWorker, as_completed, futures_of

from fadae import logs, progress, tracing
from fadae.cluster.client import (
    check_worker,
    no_shared_workspace,
    own_versions,
    read_token,
    worker_name,
)
from fadae.errors import TransientError, UsageError
from fadae.memory import keep_freed_memory

log = logging.getLogger("fadae.cluster")

Value = TypeVar("Value")
Result = TypeVar("Result")

# A task costs the scheduler about 1 ms and 10 kB: few enough tasks for any corpus, and graphs of
# at most some MB whatever its size.
MAX_PARTITIONS = 10_000
PARTITIONS_A_BAG = 500
VALUES_A_BAG = 5_000
# Where nobody knows how many values will come, partitions grow with those drawn so far: a million
# values make 12,000 partitions, a hundred million 19,000.
GROWING_FROM = 1_500
# A bag that fills slowly, as a listing at one request a second does, is sent as it is after this.
FILLING_SECONDS = 2.0
RETRIES = 3


def map_bag(
    client: Client,
    function: Callable[[Value], Result],
    values: Iterable[Value],
    *,
    label: str,
    partition_size: int | None = None,
    retries: int = RETRIES,
    total: int | None = None,
    unit: str = "items",
) -> Iterator[Result]:
    """Yield function(value) of every value, in the order in which they finish.

    function: importable by the workers, by name (a partial of such a one too); values and results
    small. Values are drawn as they are needed, never all at once. `label` names the tasks in the
    dashboard and the progress shown.

    A task lost with its worker runs again elsewhere, so function must be repeatable. Raises what
    function raised after `retries` more tries, TransientError where the scheduler or again and
    again workers were lost, UsageError for a function that workers cannot import.
    """
    _check_importable(function)
    if total is None and isinstance(values, Sized):
        total = len(values)
    bags = _bags(iter(values), partition_size, total)
    with tracing.stage(label) as span, progress.track(label, total, unit) as shown:
        stage = _Stage(client, label, function, span)
        for results in _partitions(client, stage, bags, retries):
            for result in results:
                shown.advance()
                yield result


class _Stage:
    """What a task calls on its partition; `__name__` is what the dashboard shows."""

    def __init__(
        self,
        client: Client,
        label: str,
        function: Callable[[Any], Any],
        span: Mapping[str, str],
    ) -> None:
        # On this machine the workers share the driver's terminal: its progress bar stays whole.
        quiet = client.cluster is not None and sys.stderr.isatty()
        self.__name__ = label
        self._function, self._span = function, span
        self._workspace: tuple[str, str] | None = getattr(client, "fadae_workspace", None)
        self._versions = own_versions()
        self._log_format = logs.current_format()
        self._log_level = logging.WARNING if quiet else logging.INFO

    def __call__(self, partition: _Partition) -> list[Any]:
        _prepare_worker(self._versions, self._workspace, self._log_format, self._log_level)
        return [self._result(value) for value in partition.values]

    def _result(self, value: Any) -> Any:
        with tracing.task(self.__name__, self._span):
            return self._function(value)


@functools.lru_cache(maxsize=16)
def _prepare_worker(
    versions: tuple[tuple[str, str], ...],
    workspace: tuple[str, str] | None,
    log_format: str,
    log_level: int,
) -> None:
    """Once a process and job: check a worker that joined late, and let fadae's log be seen."""
    keep_freed_memory()
    check_worker(versions)
    if workspace and not read_token(*workspace):
        raise no_shared_workspace(workspace[0], worker_name())
    if not logging.getLogger().handlers:
        logs.set_up(log_format, log_level, worker=worker_name())


def _partitions(
    client: Client, stage: _Stage, bags: Iterator[list[list[Any]]], retries: int
) -> Iterator[list[Any]]:
    """Yield the partitions' results; the next bag starts before the last one's tail has ended."""
    finished = as_completed(with_results=True, raise_errors=True, loop=client.loop)
    running, low_water = set[Any](), 0
    try:
        while True:
            while len(running) <= low_water:
                bag = next(bags, None)
                if bag is None:
                    break
                futures = _submit(client, stage, bag, retries)
                finished.update(futures)
                running.update(futures)
                low_water = 2 * _threads(client)
            if not running:
                return
            future, results = next(finished)
            if isinstance(results, CancelledError):  # given, not raised, whatever raise_errors says
                raise results
            running.discard(future)
            future.release()
            yield results
    except CancelledError as error:  # Dask's: the futures went with the scheduler
        raise TransientError(
            f"{stage.__name__}: lost the Dask scheduler ({error}); run the same command again"
        ) from error
    except KilledWorker as error:
        raise TransientError(
            f"{stage.__name__}: workers died again and again ({error}); look into their logs for "
            "memory, then run the same command again"
        ) from error
    finally:
        for unwanted in running:  # only dropped, they would be kept by what watches them
            unwanted.release()


def _submit(client: Client, stage: _Stage, parts: list[list[Any]], retries: int) -> list[Any]:
    """Start a bag and return its partitions' futures.

    The bag is written out, one task a partition: from_sequence and map_partitions make two (the
    second an alias after optimization), and tasks are what a scheduler's time goes into.
    """
    name = f"{stage.__name__}-{uuid.uuid4().hex}"
    graph = {(name, index): (stage, _Partition(part)) for index, part in enumerate(parts)}
    bag = dask.bag.Bag(graph, name, len(graph))
    futures: list[Any] = futures_of(client.persist(bag, retries=retries, optimize_graph=False))
    return futures


class _Partition:
    """A partition's values, opaque to Dask, which looks for tasks inside lists and tuples."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values


def _threads(client: Client) -> int:
    """Return how many tasks the cluster runs at a time, at least 1."""
    try:
        threads: dict[str, int] = client.nthreads()
    except OSError as error:
        raise TransientError(
            f"lost the Dask scheduler ({error}); run the same command again"
        ) from error
    return max(1, sum(threads.values()))


def _bags(
    values: Iterator[Value], partition_size: int | None, total: int | None
) -> Iterator[list[list[Value]]]:
    """Yield bags, lists of partitions, drawing values only when the next bag is asked for.

    >>> [len(bag) for bag in _bags(iter(range(1200)), None, None)]
    [500, 500, 200]
    """
    drawn = 0
    while True:
        size = partition_size or partition_size_of(total, drawn)
        wanted = max(1, min(PARTITIONS_A_BAG, VALUES_A_BAG // size))
        deadline = time.monotonic() + FILLING_SECONDS
        bag: list[list[Value]] = []
        while len(bag) < wanted and (not bag or time.monotonic() < deadline):
            partition = list(itertools.islice(values, size))
            if not partition:
                break
            bag.append(partition)
            drawn += len(partition)
        if not bag:
            return
        yield bag


def partition_size_of(total: int | None, drawn: int = 0) -> int:
    """Return how many values a partition holds so that there are never too many partitions.

    >>> partition_size_of(total=1_000_000), partition_size_of(total=None, drawn=15_000)
    (100, 10)
    """
    if total is None:
        return max(1, drawn // GROWING_FROM)
    return max(1, math.ceil(total / MAX_PARTITIONS))


def _check_importable(function: Callable[..., Any]) -> None:
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", repr(inner))
    if "<" in name or getattr(inner, "__module__", "__main__") == "__main__":
        raise UsageError(
            f"workers cannot import {name}: define the function in a module, not in a script or "
            "inside another function"
        )
