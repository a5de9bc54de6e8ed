"""Progress of a long stage: a bar on a terminal, one log line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from fadae import metrics
from fadae.logs import FIELDS_KEY

log = logging.getLogger("fadae.progress")
SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """What a stage tells about its progress."""

    def advance(self, count: int = 1, **figures: object) -> None:
        """Say that `count` more units are done; `figures` are shown beside the count."""


class _Lines:
    """Progress as log lines, at most one every few seconds and one at the end."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._figures: dict[str, object] = {}
        self._started = self._last_line = time.monotonic()

    def advance(self, count: int = 1, **figures: object) -> None:
        self._done += count
        self._figures.update(figures)
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self.write()

    def write(self) -> None:
        """Log the state now."""
        self._last_line = time.monotonic()
        elapsed = self._last_line - self._started
        of = "" if self._total is None else f"/{self._total}"
        shown = "".join(f", {name} {_shown(value)}" for name, value in self._figures.items())
        log.info(
            "%s: %d%s %s in %.0f s%s",
            self._label,
            self._done,
            of,
            self._unit,
            elapsed,
            shown,
            extra={
                FIELDS_KEY: {
                    "stage": self._label,
                    "done": self._done,
                    "total": self._total,
                    "unit": self._unit,
                    "seconds": round(elapsed, 1),
                    **self._figures,
                }
            },
        )


class _Bar:
    """Progress as a rich bar on stderr."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        # Imported here: a worker that only logs lines needs no terminal library.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(label, total=total, figures="")
        self._bar.start()

    def advance(self, count: int = 1, **figures: object) -> None:
        shown = "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())
        if shown:
            self._bar.update(self._task, advance=count, figures=shown)
        else:
            self._bar.update(self._task, advance=count)

    def stop(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.stop()


@contextlib.contextmanager
def track(label: str, total: int | None = None, unit: str = "items") -> Iterator[Progress]:
    """Show a stage's progress on stderr while the block runs."""
    metrics.count("fadae_units_expected_total", label, total or 0)
    if sys.stderr.isatty():
        bar = _Bar(label, total, unit)
        try:
            yield _Counted(label, bar)
        finally:
            bar.stop()
    else:
        lines = _Lines(label, total, unit)
        try:
            yield _Counted(label, lines)
        finally:
            lines.write()


class _Counted:
    """Progress that Prometheus is told of too."""

    def __init__(self, label: str, shown: Progress) -> None:
        self._label, self._shown = label, shown

    def advance(self, count: int = 1, **figures: object) -> None:
        metrics.count("fadae_units_done_total", self._label, count)
        self._shown.advance(count, **figures)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
