"""Logging as the command line sets it up: to stderr, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import time

FIELDS_KEY = "fields"


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
