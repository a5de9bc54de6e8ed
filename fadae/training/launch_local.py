"""The local launcher: W processes on this machine, restarted together after a loss."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fadae import logs
from fadae.config import TrainConfig
from fadae.errors import FadaeError, TransientError
from fadae.store import Location
from fadae.summaries import TrainSummary
from fadae.training.process import LOOPBACK, stop_flag
from fadae.training.worker import FROM_ENVIRONMENT, Ending, Order, read_ending

log = logging.getLogger("fadae.training")

_SECONDS_BETWEEN_LOOKS = 0.1


def train_in_processes(location: Location, config: TrainConfig, ranks: int) -> TrainSummary:
    """Train with so many processes here; return the summary.

    SIGTERM is passed on to all ranks, which save and end. When ranks die or hang, all are ended
    and started again from the newest checkpoint, at most `config.restarts` times. Raises what the
    ranks raised, TransientError when they were lost too often.
    """
    with stop_flag() as stopping:
        return until_done(config, stopping, lambda: _generation(location, config, ranks, stopping))


def train_as_rank(location: Location, config: TrainConfig, rank: int, world: int) -> TrainSummary:
    """Train as one rank of a group that others start, in a process of its own; return the summary.

    NCCL's watchdog aborts a process whose peer is lost: that is a lost peer here, not a bug.
    Raises what the rank raised; PeerLost's TransientError where it was aborted; FadaeError where
    it was killed or crashed: nobody but the system, short of memory, kills it alone.
    """
    with stop_flag() as stopping, tempfile.TemporaryDirectory(prefix="fadae-train-") as folder:
        path = Path(folder) / "order.json"
        Order(location.url, config, world, "", FROM_ENVIRONMENT, logs.current_format()).write(path)
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        process = _start(path, rank, rank_environment(config.threads, local_rank))
        try:
            _watch([process], config, stopping)
        finally:
            code = process.poll()
            process.kill()
            process.wait()
        ending = read_ending(path, rank)
    if ending is not None:
        if ending.exit_code:
            raise ending.error
        assert ending.summary is not None
        return ending.summary
    if code is None or code == -signal.SIGABRT or stopping():
        raise TransientError("a rank is lost or late; run the same command again to continue")
    hint = ": out of memory? Try a lower --cache-gb" if code == -signal.SIGKILL else ""
    raise FadaeError(f"rank {rank} ended by signal or code {code} and left no word{hint}")


def _generation(
    location: Location, config: TrainConfig, ranks: int, stopping: Callable[[], bool]
) -> Ending | None:
    """Run all ranks once; return how they ended together, None when some were killed."""
    from fadae.training.ranks import open_store  # loads torch: Dask's workers do without

    with tempfile.TemporaryDirectory(prefix="fadae-train-") as folder:
        store = open_store("127.0.0.1")
        order_path = Path(folder) / "order.json"
        Order(
            location.url,
            config,
            ranks,
            "127.0.0.1",
            store.port,
            logs.current_format(),
        ).write(order_path)
        here = {"GLOO_SOCKET_IFNAME": LOOPBACK, "LOCAL_WORLD_SIZE": str(ranks)}
        processes = [
            _start(order_path, rank, rank_environment(config.threads, rank) | here)
            for rank in range(ranks)
        ]
        try:
            _watch(processes, config, stopping)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        endings = [read_ending(order_path, rank) for rank in range(ranks)]
    return together(endings)


def _watch(
    ranks: list[subprocess.Popen[bytes]], config: TrainConfig, stopping: Callable[[], bool]
) -> None:
    """Return when all ranks have ended, or when those that have not must be killed."""
    deadline = float("inf")
    passed_on = False
    # Every rank is looked at: one that died before its peers met it is noticed by nobody else.
    while None in (codes := [process.poll() for process in ranks]):
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
        # After one rank failed, the others get as long to say how they ended. Ranks that were
        # asked to stop end before rank 0 has saved: that is no failure.
        if not passed_on and any(codes):
            deadline = min(deadline, time.monotonic() + config.shutdown_seconds)
        if time.monotonic() > deadline:
            return


def _start(order: Path, rank: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fadae.training.worker", str(order), str(rank)],
        stdin=subprocess.PIPE,  # closed by our death, however sudden: the rank ends
        stdout=subprocess.DEVNULL,
        env=environment,
    )


def rank_environment(threads: int, local_rank: int) -> dict[str, str]:
    """Return the environment of a rank's process: this one's, with threads and GPU chosen."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "LOCAL_RANK": str(local_rank),
    }


def until_done(
    config: TrainConfig, stopping: Callable[[], bool], generation: Callable[[], Ending | None]
) -> TrainSummary:
    """Run generations until one ends by itself; return its summary.

    `generation` runs all ranks once and returns how they ended, None when some were lost. After
    a loss the next one goes on from the newest checkpoint, at most `config.restarts` times.
    Raises what the ranks raised, TransientError when they were lost too often.
    """
    for attempt in range(config.restarts + 1):
        ending = generation()
        if ending is not None and not ending.lost_peer:
            if ending.exit_code:
                raise ending.error
            assert ending.summary is not None
            return ending.summary
        if stopping():
            raise TransientError("stopped; run the same command again to continue")
        if attempt < config.restarts:
            log.warning(
                "ranks were lost (%s); starting again from the newest checkpoint (%d of %d)",
                ending.message if ending else "killed or hung",
                attempt + 1,
                config.restarts,
            )
    raise TransientError(
        f"ranks were lost {config.restarts + 1} times; run the same command again to continue from "
        "the newest checkpoint"
    )


def together(endings: Sequence[Ending | None]) -> Ending | None:
    """Return the one ending that tells what happened: an error of a rank's own before others.

    >>> lost, done = Ending(exit_code=75, lost_peer=True), Ending(TrainSummary(run="a"))
    >>> together([done, None]), together([done, lost]) == lost, together([done, done]) == done
    (None, True, True)
    """
    told = [ending for ending in endings if ending is not None]
    for ending in told:
        if ending.exit_code and not ending.lost_peer:
            return ending
    if len(told) < len(endings):
        return None
    return next((ending for ending in told if ending.lost_peer), endings[0])
