"""How a stage maps its unit of work over small values: one signature, serial by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar

from fadae import progress, tracing

Value = TypeVar("Value")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Yields function(value) of every value, in any order; drawn as needed, progress shown.

    `functools.partial(fadae.cluster.map_bag, client)` is one; `map_serially` another.
    """

    def __call__(
        self,
        function: Callable[[Any], Result],
        values: Iterable[Any],
        *,
        label: str,
        total: int | None = None,
        unit: str = "items",
    ) -> Iterator[Result]:
        """Yield the results; `label` names the work in progress and dashboard."""


def map_serially(
    function: Callable[[Any], Result],
    values: Iterable[Any],
    *,
    label: str,
    total: int | None = None,
    unit: str = "items",
) -> Iterator[Result]:
    """Yield function(value) of every value, one after the other in this process.

    >>> list(map_serially(abs, [-1, 2], label="abs"))
    [1, 2]
    """
    if total is None and isinstance(values, Sized):
        total = len(values)
    with tracing.stage(label) as span, progress.track(label, total, unit) as shown:
        for value in values:
            with tracing.task(label, span):
                result = function(value)
            shown.advance()
            yield result
