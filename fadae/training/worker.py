"""One rank as a process of its own: `python -m fadae.training.worker ORDER RANK`.

ORDER is a JSON file of the launcher's. The rank writes its end into a file beside it, and ends
when its standard input does: a launcher that was killed takes its ranks along.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fadae import logs
from fadae.config import TrainConfig
from fadae.errors import FadaeError, NoInputError, TransientError, UsageError
from fadae.store import Location
from fadae.summaries import TrainSummary

FROM_ENVIRONMENT = -1  # as a port: where to meet is in MASTER_ADDR and MASTER_PORT

_ERRORS = {
    error.exit_code: error for error in (FadaeError, UsageError, NoInputError, TransientError)
}


@dataclass(frozen=True)
class Order:
    """What a rank's process is told: small and JSON-able, no credentials."""

    url: str
    config: TrainConfig
    world: int
    store_host: str
    store_port: int  # 0: rank 0 opens the store and prints its port; or FROM_ENVIRONMENT
    log_format: str

    @classmethod
    def read(cls, path: Path) -> Order:
        """Return the order in a file."""
        values = json.loads(path.read_text())
        return cls(**{**values, "config": TrainConfig.from_dict(values["config"])})

    def write(self, path: Path) -> None:
        """Write the order to a file."""
        path.write_text(json.dumps({**vars(self), "config": self.config.to_dict()}))


@dataclass(frozen=True)
class Ending:
    """How a rank ended: with a summary, or with an error."""

    summary: TrainSummary | None = None
    message: str = ""
    exit_code: int = 0
    lost_peer: bool = False

    @classmethod
    def read(cls, path: Path) -> Ending:
        """Return the ending in a file."""
        values = json.loads(path.read_text())
        summary = values.pop("summary")
        return cls(None if summary is None else TrainSummary.from_dict(summary), **values)

    def write(self, path: Path) -> None:
        """Write the ending to a file."""
        summary = None if self.summary is None else self.summary.to_dict()
        path.write_text(json.dumps({**vars(self), "summary": summary}))

    @property
    def error(self) -> FadaeError:
        """The error to raise for it."""
        return _ERRORS[self.exit_code](self.message, self.summary)


def ending_path(order: Path, rank: int) -> Path:
    """Return the file a rank leaves its ending in."""
    return order.with_name(f"rank-{rank}.json")


def read_ending(order: Path, rank: int) -> Ending | None:
    """Return a rank's ending, None where it was killed before it could leave one."""
    try:
        return Ending.read(ending_path(order, rank))
    except FileNotFoundError:
        return None


def main(order_path: Path, rank: int) -> int:
    """Run one rank to its end and return the exit code."""
    # Ctrl-C reaches all processes of a terminal; the launcher turns it into one SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    order = Order.read(order_path)
    logs.set_up(order.log_format)
    ending = _run(order, rank)
    partial = ending_path(order_path, rank).with_suffix(".partial")
    ending.write(partial)
    partial.replace(ending_path(order_path, rank))
    return ending.exit_code


def _run(order: Order, rank: int) -> Ending:
    from fadae.training.process import stop_flag
    from fadae.training.ranks import PeerLost, collective, join_ranks
    from fadae.training.run import Run
    from fadae.training.trainer import train_rank

    config = order.config
    try:
        with stop_flag() as stopping:
            store = None
            if order.store_port != FROM_ENVIRONMENT:
                with collective():
                    store = _store(order, rank, config.timeout_seconds)
            with join_ranks(
                rank, order.world, store, config.device, config.timeout_seconds
            ) as ranks:
                if store is None and config.fresh:
                    if ranks.is_first:
                        Run(Location(order.url), config.run).discard()
                    ranks.total([0.0])  # nobody looks before it is gone
                return Ending(train_rank(Location(order.url), config, ranks, stopping))
    except FadaeError as error:
        summary = error.summary if isinstance(error.summary, TrainSummary) else None
        return Ending(summary, str(error), error.exit_code, isinstance(error, PeerLost))
    except Exception as error:  # noqa: BLE001 - the process's boundary: told, not restarted
        traceback.print_exc()
        return Ending(None, f"rank {rank}: {type(error).__name__}: {error}", 1)


def _store(order: Order, rank: int, timeout_seconds: float) -> Any:
    """Return the meeting point: the launcher's, or rank 0's own, whose port it prints."""
    import torch.distributed as dist

    from fadae.training.ranks import open_store

    if order.store_port == 0 and rank == 0:
        store = open_store(order.store_host)
        print(store.port, flush=True)  # noqa: T201 - to the launcher, which reads this pipe
        return store
    return dist.TCPStore(  # type: ignore[attr-defined]
        order.store_host,
        order.store_port,
        None,
        is_master=False,
        timeout=timedelta(seconds=timeout_seconds),
    )


def _end_with_launcher() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock must be free when the interpreter ends
        pass
    os._exit(TransientError.exit_code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
