"""Where a stage's work runs: on a cluster that starts with its first use, or here."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any

from fadae.store import Location, Mapper, map_serially

if TYPE_CHECKING:  # Dask comes in when a cluster starts: two seconds that small jobs can save
    from distributed import Client


@contextlib.contextmanager
def cluster_mapper(
    location: Location, scheduler: str | None, workers: int | None
) -> Iterator[Mapper]:
    """Give `map_bag` of a cluster that starts with its first use: nothing to do costs nothing.

    One unit of work is done in this process, unless a scheduler is given: a cluster here would
    take longer to start than to help. Raises UsageError for memory:// with a scheduler.
    """
    location.ensure_shared(scheduler)  # before a listing that may take long
    with contextlib.ExitStack() as stack:

        @functools.cache
        def client() -> Client:
            from fadae.cluster.client import connect

            return stack.enter_context(connect(scheduler, workers, location))

        def mapper(
            function: Callable[[Any], Any],
            values: Iterable[Any],
            *,
            total: int | None = None,
            **options: Any,
        ) -> Iterator[Any]:
            if total is None and isinstance(values, Sized):
                total = len(values)
            drawn = iter(values)
            first = list(itertools.islice(drawn, 2))
            if len(first) < 2 and scheduler is None:
                return map_serially(function, first, total=total, **options)
            from fadae.cluster.bags import map_bag

            every = itertools.chain(first, drawn)
            return map_bag(client(), function, every, total=total, **options)

        yield mapper
