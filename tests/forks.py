"""Processes forked from one that has loaded torch, for tests of what several processes compute.

Loading torch anew costs a process more than all that such a test does in it. Tests of launchers,
signals and environments start real ones.
"""

from __future__ import annotations

import multiprocessing
import os
from datetime import timedelta
from multiprocessing.context import ForkServerContext

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from fadae.config.job import TrainConfig
from fadae.store.location import Location
from fadae.summaries import TrainSummary
from fadae.training.launch import train
from fadae.training.process import LOOPBACK
from fadae.training.ranks import join_ranks, open_store
from fadae.training.trainer import train_rank
from tests.hangs import HANG_SECONDS


def forking() -> ForkServerContext:
    """Return what makes such processes; the one they are forked from starts with the first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.forks", "fadae.stages.reconstruct"])
    return context


def train_forked(location: Location, config: TrainConfig) -> TrainSummary:
    """Train with `config.ranks` ranks, each in a process of its own; return the summary."""
    context, store = forking(), open_store("127.0.0.1")
    ranks = [
        context.Process(target=_rank, args=(location, config, rank, store.port))
        for rank in range(config.ranks)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0] * config.ranks
    return train(location, config)  # a finished run answers with its summary


def _rank(location: Location, config: TrainConfig, rank: int, port: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK
    store = TCPStore(
        "127.0.0.1", port, None, is_master=False, timeout=timedelta(seconds=HANG_SECONDS)
    )
    with join_ranks(rank, config.ranks, store, "cpu", HANG_SECONDS) as ranks:
        train_rank(location, config, ranks, lambda: False)
