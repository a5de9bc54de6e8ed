"""A rank that others start: how its process's end becomes the command's."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

import psutil
import pytest

from fadae.errors import FadaeError, TransientError
from fadae.store.location import Location
from fadae.training.launch_local import train_as_rank
from tests.hangs import HANG_SECONDS
from tests.training.small import small


def when_started(number: int) -> Callable[[], None]:
    """Return what sends a signal to the first process that this one starts from now on."""
    known = {child.pid for child in psutil.Process().children()}

    def send() -> None:
        for _ in range(int(HANG_SECONDS / 0.01)):
            new = [c for c in psutil.Process().children() if c.pid not in known]
            if new:
                os.kill(new[0].pid, number)
                return
            threading.Event().wait(0.01)

    return send


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        # NCCL's watchdog aborts a rank whose peer is lost: run again, nothing counted.
        (signal.SIGABRT, TransientError, "a rank is lost or late"),
        # Only the system kills a rank alone: out of memory would go on for ever.
        (signal.SIGKILL, FadaeError, "out of memory"),
        (signal.SIGSEGV, FadaeError, "left no word"),
    ],
)
def test_a_rank_that_ends_by_a_signal(
    location: Location,
    number: int,
    error: type[FadaeError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    threading.Thread(target=when_started(number), daemon=True).start()
    with pytest.raises(error, match=message) as told:
        train_as_rank(location, small(), 1, 2)
    assert told.value.exit_code == (75 if error is TransientError else 1)
