"""Two ranks, the second of which is lost: python -m tests.training.lost HOW.

The first rank prints what every collective then raises, a line each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from fadae.training.ranks import Ranks, join_ranks, open_store

SECONDS = 10.0  # to wait for a peer that hangs


def first(how: str) -> None:
    store = open_store("127.0.0.1")
    command = [sys.executable, "-m", "tests.training.lost", how, str(store.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        try:
            assert peer.stdout is not None
            peer.stdout.readline()  # it is about to join
            with join_ranks(0, 2, store, "cpu", SECONDS) as ranks:
                assert ranks.total([2.0]) == [3.0]
                for verb in verbs(ranks):
                    try:
                        verb()
                    except Exception as error:  # noqa: BLE001 - told, whatever it is
                        print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            peer.kill()


def verbs(ranks: Ranks) -> list[Callable[[], Any]]:
    return [
        lambda: ranks.total([1.0]),
        lambda: ranks.add(torch.ones(100_000)),
        lambda: ranks.add_in_order(torch.ones(8)),
        # A single send may end in a buffer.
        lambda: [ranks.from_first("x") for _ in range(100)],
        lambda: ranks.spread([torch.ones(100_000)] * 100),
    ]


def second(how: str, port: int) -> None:
    store = TCPStore("127.0.0.1", port, None, is_master=False, timeout=timedelta(seconds=60))
    print("ready", flush=True)
    with join_ranks(1, 2, store, "cpu", 60) as ranks:
        ranks.total([1.0])
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hung":
            os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    first(sys.argv[1]) if len(sys.argv) == 2 else second(sys.argv[1], int(sys.argv[2]))
