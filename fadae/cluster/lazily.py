"""A stage's mapper on a cluster that is only started when there is work for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from distributed import Client

from fadae.cluster.bags import map_bag
from fadae.cluster.connection import connect
from fadae.store.location import Location
from fadae.store.mapping import Mapper


@contextlib.contextmanager
def cluster_mapper(
    location: Location, scheduler: str | None, workers: int | None
) -> Iterator[Mapper]:
    """Give `map_bag` of a cluster that starts with its first use: nothing to do costs nothing."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def client() -> Client:
            return stack.enter_context(connect(scheduler, workers, location))

        def mapper(
            function: Callable[[Any], Any], values: Iterable[Any], **options: Any
        ) -> Iterator[Any]:
            return map_bag(client(), function, values, **options)

        yield mapper
