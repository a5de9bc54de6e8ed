"""The Dask launcher: one rank a worker, all together, each in a process its worker watches over.

A rank runs in a subprocess of its worker's task, so that training, which holds the GIL and its
memory for hours, never makes the worker miss heartbeats. Ranks meet at rank 0's address. What the
driver wants of a gang is one Dask Variable that the tasks look at every second; a driver that
stops renewing it is dead, and its gang ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Client, Future, MultiLock, Variable, get_client, get_worker

from fadae import logs
from fadae.cluster import connect
from fadae.config import TrainConfig
from fadae.errors import TransientError
from fadae.store import Location
from fadae.summaries import TrainSummary
from fadae.training.gpus import VISIBLE, local_ranks_of, only_gpu, workers_with_gpu
from fadae.training.launch_local import rank_environment, together, until_done
from fadae.training.process import LOOPBACK, stop_flag
from fadae.training.worker import Ending, Order, read_ending

log = logging.getLogger("fadae.training")

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_UNTIL_DRIVER_IS_DEAD = 60.0
_SECONDS_FOR_WORKERS = 120.0
# Two gangs on the same workers would each hold half of them; but a lock whose driver was killed
# is never given back, and a gang that does not come together ends by itself: so not for ever.
_SECONDS_FOR_LOCK = 60.0


def train_on_workers(location: Location, config: TrainConfig) -> TrainSummary:
    """Train with one rank on each of some Dask workers; return the summary.

    Unless asked, they are as many as there are GPUs, or one. A lost worker ends the generation;
    the next one runs on the workers there are then.
    """
    here = config.ranks or config.ranks_within(_gpus(config.device)[1])
    with stop_flag() as stopping, connect(config.scheduler, here, location) as client:
        ranks = here
        if config.ranks is None and config.scheduler:
            _workers(client, 1)  # without any, there would be no GPU to count
            ranks = config.ranks_within(workers_with_gpu(client.run(_gpus, config.device)))
        return until_done(
            config, stopping, lambda: _generation(client, location, config, ranks, stopping)
        )


def _gpus(device: str) -> tuple[tuple[str, str], int]:
    """Return the machine and the GPUs that this process sees, and their number.

    Runs on workers, which load no torch themselves.
    """
    code = "import sys; from fadae.model import gpus_of; print(gpus_of(sys.argv[1]))"
    found = subprocess.run([sys.executable, "-c", code, device], stdout=subprocess.PIPE, check=True)
    return _place(), int(found.stdout)


def _generation(
    client: Client,
    location: Location,
    config: TrainConfig,
    count: int,
    stopping: Callable[[], bool],
) -> Ending | None:
    """Run all ranks once on workers of the moment; return how they ended, None if any was lost."""
    workers = _workers(client, count)
    gang = f"fadae-train-{uuid.uuid4().hex}"
    order = Order(location.url, config, count, "", 0, logs.current_format())
    local_ranks = local_ranks_of(client.run(_place, workers=workers, on_error="ignore"), workers)
    lock = MultiLock([f"fadae-train-{address}" for address in workers], client=client)
    locked = lock.acquire(timeout=_SECONDS_FOR_LOCK)
    if not locked:
        log.warning("the workers' locks are held by another training, or by one that was killed")
    wish = _Wish(client, gang)
    try:
        ranks = [
            client.submit(
                supervise,
                order,
                rank,
                local_ranks[rank],
                gang,
                key=f"train-rank-{rank}-{gang}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            for rank, address in enumerate(workers)
        ]
        _watch(client, dict(zip(workers, ranks, strict=True)), wish, config, stopping)
        return together([_ending(future) for future in ranks])
    finally:
        wish.end()
        client.cancel(ranks)
        if locked:
            lock.release()
        wish.forget()


class _Wish:
    """What the driver wants of a gang, renewed while the driver lives."""

    def __init__(self, client: Client, gang: str) -> None:
        self._variable = Variable(gang, client=client)
        self._address = Variable(f"{gang}-address", client=client)
        self._beat = 0
        self._wish = "go"
        self.renew()

    def renew(self, wish: str | None = None) -> None:
        """Say again, or anew, what is wanted: go, stop (save and end) or end (now)."""
        self._wish, self._beat = wish or self._wish, self._beat + 1
        self._variable.set({"wish": self._wish, "beat": self._beat})

    def end(self) -> None:
        """Have the gang's processes killed, and wait until its tasks had time to see it."""
        self.renew("end")

    def forget(self) -> None:
        """Remove what the scheduler holds of the gang, once its tasks have seen the end."""
        time.sleep(2 * _SECONDS_BETWEEN_LOOKS)
        self._variable.delete()
        self._address.delete()


def _watch(
    client: Client,
    ranks: dict[str, Future],
    wish: _Wish,
    config: TrainConfig,
    stopping: Callable[[], bool],
) -> None:
    """Return when every rank has ended, or when those that have not must be ended."""
    deadline = float("inf")
    passed_on = False
    while not all(future.done() for future in ranks.values()):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        there = client.scheduler_info(n_workers=-1)["workers"]
        lost = [address for address in ranks if address not in there]
        failed = [future for future in ranks.values() if future.done() and _failed(future)]
        if lost:
            log.warning("lost worker %s", ", ".join(lost))
            return
        if failed and not passed_on:  # asked to stop, the others end before rank 0 has saved
            deadline = min(deadline, time.monotonic() + config.shutdown_seconds)
        if stopping() and not passed_on:
            passed_on = True
            log.info("stopping: the ranks save and end")
            deadline = time.monotonic() + config.shutdown_seconds
        if time.monotonic() > deadline:
            return
        wish.renew("stop" if passed_on else None)


def _failed(future: Future) -> bool:
    ending = _ending(future)
    return ending is None or bool(ending.exit_code)


def _ending(future: Future) -> Ending | None:
    """Return how a rank ended, None where its task cannot say."""
    if future.status == "error":
        log.warning("a rank's task failed: %s", future.exception())
    if future.status != "finished":
        return None
    ending: Ending = future.result()
    return ending


def _workers(client: Client, count: int) -> list[str]:
    """Return the addresses of so many workers; raises TransientError when they do not come."""
    if len(client.scheduler_info(n_workers=-1)["workers"]) < count:
        log.info("waiting for workers: training needs %d", count)
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(count, timeout=_SECONDS_FOR_WORKERS)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    # The emptiest first; among equals by address, so that the choice can be foretold.
    order = sorted(workers, key=lambda w: (workers[w].get("metrics", {}).get("executing", 0), w))
    if len(order) < count:
        raise TransientError(f"training needs {count} workers; the cluster has {len(order)}")
    return order[:count]


def _place() -> tuple[str, str]:
    """Return the machine and the GPUs that a worker's processes see; runs on workers."""
    return socket.gethostname(), os.environ.get(VISIBLE, "")


def supervise(order: Order, rank: int, local_rank: int, gang: str) -> Ending:
    """Run one rank in a process of its own and watch over it; return how it ended.

    Runs as a task on the rank's worker. `local_rank`: which of the worker's GPUs is the rank's.
    """
    client = get_client()
    wish, address = (Variable(name, client=client) for name in (gang, f"{gang}-address"))
    host = str(urlsplit(get_worker().address).hostname)
    timeout_seconds = order.config.timeout_seconds
    port = 0
    if rank > 0:
        host, port = address.get(timeout=timeout_seconds)
    with tempfile.TemporaryDirectory(prefix="fadae-train-") as folder:
        path = Path(folder) / "order.json"
        own = replace(order, store_host=host, store_port=port)
        own.write(path)
        process = _start(path, rank, local_rank, own)
        try:
            if rank == 0:
                address.set((host, _port_of(process)))
            _follow(process, wish)
        finally:
            process.kill()
            process.wait()
        ending = read_ending(path, rank)
    return ending or Ending(message="killed", exit_code=75, lost_peer=True)


def rank_variables(order: Order, local_rank: int) -> dict[str, str]:
    """Return the environment of a rank's process on this worker, its GPU chosen."""
    environment = rank_environment(order.config.threads, local_rank)
    if order.store_host.startswith("127."):
        environment["GLOO_SOCKET_IFNAME"] = LOOPBACK
    return environment | only_gpu(os.environ.get(VISIBLE, ""), local_rank, order.config.device)


def _start(order: Path, rank: int, local_rank: int, told: Order) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fadae.training.worker", str(order), str(rank)],
        stdin=subprocess.PIPE,  # closed by the worker's death: the rank ends
        stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
        env=rank_variables(told, local_rank),
    )


def _port_of(process: subprocess.Popen[bytes]) -> int:
    """Return the port that rank 0 prints; 0, which nobody listens on, when it ended before."""
    assert process.stdout is not None
    return int(process.stdout.readline() or 0)


def _follow(process: subprocess.Popen[bytes], variable: Variable) -> None:
    """Return when the process has ended, or when it must be killed."""
    renewed, beat, stopped = time.monotonic(), None, False
    while process.poll() is None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            said = variable.get(timeout=_SECONDS_UNTIL_DRIVER_IS_DEAD)
        except TimeoutError:
            return
        if said["beat"] != beat:
            renewed, beat = time.monotonic(), said["beat"]
        if said["wish"] == "end" or time.monotonic() - renewed > _SECONDS_UNTIL_DRIVER_IS_DEAD:
            return
        if said["wish"] == "stop" and not stopped:
            stopped = True
            process.terminate()
