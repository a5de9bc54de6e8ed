"""metrics.jsonl: one line a logged step, never two of one step; TensorBoard events on request."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from typing import Any

from fadae.errors import AccessError, StorageError, UsageError
from fadae.nouns import finite
from fadae.store.location import Location

log = logging.getLogger("fadae.training")

SECONDS_BETWEEN_WRITES = 10.0
# A storage that is away is waited for as long as one call lasts: not twice in a row, while the
# other ranks wait.
SECONDS_AFTER_FAILURE = 60.0


class Metrics:
    """The lines of one run, written whole at most every few seconds and when asked.

    Object stores know no appending, and a whole file is never torn; a year of training is a few
    megabytes of lines.
    """

    def __init__(self, location: Location, run: str, step: int, tensorboard: bool = False) -> None:
        """Take up a run at a step: lines of later steps, from before a kill, are dropped."""
        self._location, self._path = location, f"runs/{run}/metrics.jsonl"
        self._lines = [line for line in self._written() if line["step"] <= step]
        self._last_write = time.monotonic()
        self._last_failure = float("-inf")
        self._events: Any = _events(location, run, step) if tensorboard else None

    def add(self, step: int, **figures: float | int | None) -> None:
        """Add figures to the line of a step; NaN is written as null."""
        known: dict[str, Any] = finite(figures)
        if self._lines and self._lines[-1]["step"] == step:
            self._lines[-1].update(known)
        else:
            self._lines.append({"step": step, **known})
        if self._events is not None:
            for name, value in known.items():
                if value is not None:
                    self._events.add_scalar(name, value, step)
        if time.monotonic() - self._last_write > SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self, at_once: bool = False) -> None:
        """Write all lines. Where the storage fails, that is logged and the lines are kept.

        Soon after a failure nothing is tried unless it must be `at_once`.
        """
        if not at_once and time.monotonic() - self._last_failure < SECONDS_AFTER_FAILURE:
            return
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        try:
            self._location.write_bytes(self._path, text.encode())
        except (StorageError, AccessError) as error:
            log.warning("metrics are not written: %s", error)
            self._last_failure = time.monotonic()
        self._last_write = time.monotonic()
        if self._events is not None:
            self._events.flush()

    def _written(self) -> list[dict[str, Any]]:
        try:
            text = self._location.read_bytes(self._path).decode()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]


def _events(location: Location, run: str, step: int) -> Any:
    """Return TensorBoard's writer for runs/<run>/tensorboard, from a step on."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs its package: pip install 'fadae[tensorboard]'")
    if not location.is_local:
        raise UsageError(f"--tensorboard writes to local folders only, not to {location.url}")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(location.full(f"runs/{run}/tensorboard"), purge_step=step + 1)
