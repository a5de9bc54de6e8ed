"""The process of a rank: SIGTERM as a flag, and memory that stays with the process."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"  # where the ranks of one machine meet

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>
_NEVER_BYTES = 2**30


@contextlib.contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM came; the handler before is put back.

    Outside of the main thread signals cannot be caught: the flag then stays down.
    """
    raised = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        raised.set()

    if threading.current_thread() is not threading.main_thread():
        yield raised.is_set
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield raised.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def keep_freed_memory() -> None:
    """Have glibc keep large freed blocks instead of giving them back to the system.

    Gradients are freed and allocated again every step, 72 MB of them in the seed's model; by
    default each of these blocks is mapped anew and every page of it is faulted in and zeroed by
    the kernel. Elsewhere than on glibc nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _NEVER_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
