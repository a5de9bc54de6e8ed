"""`fadae` as typed: in this process, or, where the process is the point, in one of its own.

A process imports everything anew, torch too: most of what such a test costs.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import signal
import subprocess
import sys
from typing import Any

from fadae.cli.app import app

Ended = subprocess.CompletedProcess[str]


def fadae(*arguments: str) -> Ended:
    """Run `fadae ARGUMENTS` here; return how it ended and what it printed.

    Its logging and its handler of SIGTERM are taken away again; an exception that a process
    would die of is raised. What worker processes print is not part of it.
    """
    out, err = io.StringIO(), io.StringIO()
    root, own = logging.getLogger(), logging.getLogger("fadae")
    handlers, levels = root.handlers[:], (root.level, own.level)
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            app(list(arguments), prog_name="fadae")
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        own.setLevel(levels[1])
        signal.signal(signal.SIGTERM, terminated)
    assert isinstance(code, int)
    return Ended(["fadae", *arguments], code, out.getvalue(), err.getvalue())


def fadae_process(*arguments: str) -> Ended:
    """Run `fadae ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-m", "fadae", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def summary(ended: Ended) -> dict[str, Any]:
    """Return the JSON line that ends what a command printed."""
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found
