"""Ranks on Dask workers: a worker is lost, and the run goes on with those there are."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import psutil
import pytest

from fadae.store.location import Location
from fadae.training.launch import train
from tests.training.conftest import Held
from tests.training.small import LONG, model_hash, small
from tests.training.test_processes import ranks_of


@pytest.mark.slow
def test_a_run_survives_the_loss_of_a_worker(
    location: Location, held: Callable[[int], Held], exact_hash: str
) -> None:
    waiting = held(12)
    lost: list[int] = []

    def kill_a_worker() -> None:
        waiting.wait()
        # The rank's parent is the Dask worker; its nanny starts another one.
        worker = ranks_of(psutil.Process())[0].parent()
        if worker is not None:
            worker.send_signal(signal.SIGKILL)
            lost.append(worker.pid)
        waiting.release()

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    summary = train(location, small(ranks=2, launcher="dask", reduction="exact", **LONG))
    killer.join()
    assert lost
    assert summary["steps"] == 70
    assert model_hash(location) == exact_hash
