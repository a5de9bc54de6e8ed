"""Ranks on Dask workers: a worker is lost, and the run goes on with those there are."""

from __future__ import annotations

import signal
import threading

import psutil

from fadae.store.location import Location
from fadae.training.launch import train
from tests.training.small import model_hash, small
from tests.training.test_processes import LONG, ranks_of, steps_saved, wait_until


def test_a_run_survives_the_loss_of_a_worker(location: Location) -> None:
    train(location, small(run="undisturbed", reduction="exact", **LONG))
    lost: list[int] = []

    def kill_a_worker() -> None:
        wait_until(lambda: steps_saved(location) >= 10)
        for rank in ranks_of(psutil.Process())[:1]:
            # The rank's parent is the Dask worker; its nanny starts another one.
            worker = rank.parent()
            if worker is not None:
                lost.append(worker.pid)
                worker.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    summary = train(location, small(ranks=2, launcher="dask", reduction="exact", **LONG))
    killer.join()
    assert lost
    assert summary["steps"] == 70
    assert model_hash(location) == model_hash(location, "undisturbed")
