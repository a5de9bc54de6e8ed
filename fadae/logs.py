"""Logging as the command line sets it up: to stderr, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

FIELDS_KEY = "fields"
SHOWN_AT_FIRST = 10  # of warnings that may be many
SECONDS_BETWEEN_COUNTS = 60.0


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the record's own fields."""

    def __init__(self, worker: str = "") -> None:
        """Take the name of the worker to add to every line."""
        super().__init__()
        self.worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self.worker:
            entry["worker"] = self.worker
        entry.update(getattr(record, FIELDS_KEY, {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def set_up(log_format: str = "text", level: int = logging.INFO, worker: str = "") -> None:
    """Send fadae's log to stderr as "text" or "json"; libraries only from WARNING on.

    worker: on a cluster, the name that says which worker a line comes from.
    """
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter(worker))
    else:
        where = f"[{worker.replace('%', '%%')}] " if worker else ""
        handler.setFormatter(logging.Formatter(f"%(asctime)s {where}%(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("fadae").setLevel(level)


def current_format() -> str:
    """Return the format that `set_up` was given in this process; "text" where it was not."""
    handlers = logging.getLogger().handlers
    return "json" if any(isinstance(h.formatter, JsonFormatter) for h in handlers) else "text"


class FewWarnings:
    """Warnings of which the first are shown as they come, then a count every so often.

    Ten thousand failures are ten lines and one a minute: they hide nothing else.
    """

    def __init__(
        self, logger: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take where to warn, and what the counts are of: "recordings failed"."""
        self._logger, self._what, self._clock = logger, what, clock
        self._seen = self._untold = 0
        self._told = clock()

    def warn(self, message: str, *arguments: object, **fields: object) -> None:
        """Warn, or count; `fields` are the line's own in JSON."""
        self._seen += 1
        if self._seen <= SHOWN_AT_FIRST:
            self._logger.warning(message, *arguments, extra={FIELDS_KEY: fields})
            self._told = self._clock()
            return
        self._untold += 1
        if self._clock() - self._told >= SECONDS_BETWEEN_COUNTS:
            self.tell()

    def tell(self) -> None:
        """Say how many there were since the last line; nothing where there were none."""
        if self._untold:
            fields = {"more": self._untold, "so_far": self._seen}
            self._logger.warning(
                "%d more %s, %d so far",
                self._untold,
                self._what,
                self._seen,
                extra={FIELDS_KEY: fields},
            )
        self._untold, self._told = 0, self._clock()
