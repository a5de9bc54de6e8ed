"""The local launcher: W processes on this machine, watched, restarted a bounded number of times."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from fadae import logs
from fadae.errors import TransientError
from fadae.store.location import Location
from fadae.training.config import TrainConfig
from fadae.training.stopping import stop_flag
from fadae.training.worker import Ending, Order, read_ending

log = logging.getLogger("fadae.training")

_SECONDS_BETWEEN_LOOKS = 0.1
# After one rank died, the others get this long to say how they ended before they are killed.
_SECONDS_TO_FOLLOW = 2.0


def train_in_processes(location: Location, config: TrainConfig) -> dict[str, Any]:
    """Train with `config.ranks` processes here; return the summary.

    SIGTERM is passed on to all ranks, which save and end. When ranks die or hang, all are ended
    and started again from the newest checkpoint, at most `config.restarts` times. Raises what the
    ranks raised, TransientError when they were lost too often.
    """
    with stop_flag() as stopping:
        for attempt in range(config.restarts + 1):
            ending = _generation(location, config, stopping)
            if ending is not None and not ending.lost_peer:
                if ending.exit_code:
                    raise ending.error
                assert ending.summary is not None
                return ending.summary
            if stopping():
                raise TransientError("stopped; run the same command again to go on")
            if attempt < config.restarts:
                log.warning(
                    "ranks were lost; starting again from the newest checkpoint (%d of %d)",
                    attempt + 1, config.restarts,
                )  # fmt: skip
    raise TransientError(
        f"ranks were lost {config.restarts + 1} times; run the same command again to go on from "
        "the newest checkpoint"
    )


def _generation(
    location: Location, config: TrainConfig, stopping: Callable[[], bool]
) -> Ending | None:
    """Run all ranks once; return how they ended together, None when some were killed."""
    with tempfile.TemporaryDirectory(prefix="fadae-train-") as folder, _loopback_store() as store:
        order_path = Path(folder) / "order.json"
        Order(
            location.url, config.to_dict(), config.ranks, "127.0.0.1", store.port,
            logs.current_format(),
        ).write(order_path)  # fmt: skip
        ranks = [_start(order_path, rank, config) for rank in range(config.ranks)]
        try:
            _watch(ranks, config, stopping)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        endings = [read_ending(order_path, rank) for rank in range(config.ranks)]
    return _together(endings)


def _together(endings: list[Ending | None]) -> Ending | None:
    """Return the one ending that tells what happened: an error of a rank's own before others."""
    told = [ending for ending in endings if ending is not None]
    for ending in told:
        if ending.exit_code and not ending.lost_peer:
            return ending
    if len(told) < len(endings):
        return None
    return next((ending for ending in told if ending.lost_peer), endings[0])


def _watch(
    ranks: list[subprocess.Popen[bytes]], config: TrainConfig, stopping: Callable[[], bool]
) -> None:
    """Return when all ranks have ended, or when those that have not must be killed."""
    deadline = float("inf")
    passed_on = False
    while any(process.poll() is None for process in ranks):
        try:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            stop = stopping()
        except KeyboardInterrupt:
            stop = True
        if stop and not passed_on:
            log.info("stopping: the ranks save and end")
            passed_on = True
            deadline = time.monotonic() + config.shutdown_seconds
            for process in ranks:
                process.terminate()
        if any(process.returncode for process in ranks):
            deadline = min(deadline, time.monotonic() + _SECONDS_TO_FOLLOW)
        if time.monotonic() > deadline:
            return


def _start(order: Path, rank: int, config: TrainConfig) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fadae.training.worker", str(order), str(rank)],
        stdin=subprocess.PIPE,  # closed by our death, however sudden: the rank ends
        stdout=subprocess.DEVNULL,
        env=rank_environment(config.threads) | {"GLOO_SOCKET_IFNAME": _LOOPBACK},
    )


_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def rank_environment(threads: int) -> dict[str, str]:
    """Return the environment of a rank's process: this one's, with threads pinned.

    Gradients and activations are freed and allocated again every step; by default the allocator
    gives such blocks back to the system and every step pays for their page faults.
    """
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
    }


@contextlib.contextmanager
def _loopback_store() -> Iterator[Any]:
    """Yield a store on a free port, bound to the loopback interface only."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        yield TCPStore(
            "127.0.0.1", port, None, is_master=True, wait_for_workers=False,
            master_listen_fd=os.dup(listener.fileno()),
        )  # fmt: skip
