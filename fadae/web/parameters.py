"""Reading a request's parameters: each named, typed and bounded, or the request is refused."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from fadae.errors import UsageError


class Parameters:
    """The parameters of one request; `done` refuses those that nothing has asked for.

    >>> given = Parameters([("start", "1.5"), ("stop", "3")])
    >>> given.number("start", 0.0), given.number("stop", 10.0), given.text("search", "")
    (1.5, 3.0, '')
    >>> given.done()
    """

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        """Take the (name, value) pairs; raises UsageError where a name is given twice."""
        self._values: dict[str, str] = {}
        self._asked: set[str] = set()
        for name, value in items:
            if name in self._values:
                raise UsageError(f"parameter {name[:40]!r} is given twice")
            self._values[name] = value

    def text(self, name: str, default: str | None = None, *, longest: int = 1000) -> str:
        """Return a text; without a default it is required. Only "" as default lets it be empty."""
        self._asked.add(name)
        value = self._values.get(name, default)
        if value is None:
            raise UsageError(f"parameter {name!r} is missing")
        if not value and default != "":
            raise UsageError(f"parameter {name!r} is empty")
        if len(value) > longest:
            raise UsageError(f"parameter {name!r} is longer than {longest} characters")
        return value

    def choice(self, name: str, options: Collection[str], default: str | None = None) -> str:
        """Return one of the options."""
        value = self.text(name, default)
        if value not in options:
            raise UsageError(f"parameter {name!r} must be one of {', '.join(options)}")
        return value

    def number(
        self,
        name: str,
        default: float | None = None,
        *,
        least: float = 0.0,
        most: float = 1e9,
    ) -> float:
        """Return a finite number from `least` to `most`."""
        given = self.text(name, None if default is None else repr(default), longest=40)
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # false for NaN too
            raise UsageError(f"parameter {name!r} must be a number from {least:g} to {most:g}")
        return value

    def whole(
        self, name: str, default: int | None = None, *, least: int = 0, most: int = 2**53
    ) -> int:
        """Return a whole number from `least` to `most`."""
        given = self.text(name, None if default is None else str(default), longest=20)
        # int() also takes underscores, blanks and the digits of every script.
        value = int(given) if given.isascii() and given.isdigit() else -1
        if not least <= value <= most:
            raise UsageError(f"parameter {name!r} must be a whole number from {least} to {most}")
        return value

    def span(self, longest_seconds: float) -> slice:
        """Return seconds [start, stop) from the parameters of these names, bounded in length."""
        start, stop = self.number("start", 0.0), self.number("stop")
        if not start < stop <= start + longest_seconds:
            raise UsageError(
                f"'stop' must come after 'start', by at most {longest_seconds:g} seconds"
            )
        return slice(start, stop)

    def band(self) -> slice | None:
        """Return hertz [low_hz, high_hz), or None where neither is given."""
        if "low_hz" not in self._values and "high_hz" not in self._values:
            return None
        low, high = self.number("low_hz", 0.0), self.number("high_hz", 1e9)
        if low >= high:
            raise UsageError("'low_hz' must be below 'high_hz'")
        return slice(low, high)

    def done(self) -> None:
        """Raise UsageError where a parameter is left that means nothing here."""
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise UsageError(f"unknown parameter {unknown[0][:40]!r}")
