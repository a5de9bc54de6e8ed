"""A stage's mapper on a cluster that is only started when there is work for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fadae.store.location import Location
from fadae.store.mapping import Mapper

if TYPE_CHECKING:
    from distributed import Client


@contextlib.contextmanager
def cluster_mapper(
    location: Location, scheduler: str | None, workers: int | None
) -> Iterator[Mapper]:
    """Give `map_bag` of a cluster that starts with its first use: nothing to do costs nothing."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def client() -> Client:
            from fadae.cluster import connect

            return stack.enter_context(connect(scheduler, workers, location))

        def mapper(
            function: Callable[[Any], Any], values: Iterable[Any], **options: Any
        ) -> Iterator[Any]:
            from fadae.cluster import map_bag

            return map_bag(client(), function, values, **options)

        yield mapper
