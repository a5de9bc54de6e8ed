"""The process of a rank: SIGTERM as a flag, and where ranks meet."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"  # where the ranks of one machine meet


@contextlib.contextmanager
def stop_flag(*signals: signal.Signals) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM came, or one of some signals.

    The handlers before are put back.

    Outside of the main thread signals cannot be caught: the flag then stays down.
    """
    raised = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        raised.set()

    if threading.current_thread() is not threading.main_thread():
        yield raised.is_set
        return
    before = {one: signal.signal(one, note) for one in signals or (signal.SIGTERM,)}
    try:
        yield raised.is_set
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
