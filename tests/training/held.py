"""Ranks that wait at a step for the test: what it does to them then always meets their run.

`stop_flag` is what a rank asks before every step; here it answers later.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fadae.training import process

_stop_flag = process.stop_flag


def hold(folder: Path, asked: int) -> None:
    """Have this rank wait at its `asked`-th look at the flag; `folder` holds what is said of it.

    It makes the file `held` and waits for the file `released`, or for SIGTERM.
    """

    @contextlib.contextmanager
    def holding(*signals: signal.Signals) -> Iterator[Callable[[], bool]]:
        with _stop_flag(*signals) as stopping:
            looks = itertools.count(1)

            def look() -> bool:
                if next(looks) == asked:
                    (folder / "held").touch()
                    while not (folder / "released").exists() and not stopping():
                        time.sleep(0.01)
                return stopping()

            yield look

    process.stop_flag = holding
