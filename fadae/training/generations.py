"""Generations of ranks: all are started together, end together, and start again after a loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fadae.errors import TransientError
from fadae.training.config import TrainConfig
from fadae.training.worker import Ending

log = logging.getLogger("fadae.training")


def until_done(
    config: TrainConfig, stopping: Callable[[], bool], generation: Callable[[], Ending | None]
) -> dict[str, Any]:
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
            raise TransientError("stopped; run the same command again to go on")
        if attempt < config.restarts:
            log.warning(
                "ranks were lost (%s); starting again from the newest checkpoint (%d of %d)",
                ending.message if ending else "killed or hung", attempt + 1, config.restarts,
            )  # fmt: skip
    raise TransientError(
        f"ranks were lost {config.restarts + 1} times; run the same command again to go on from "
        "the newest checkpoint"
    )


def together(endings: Sequence[Ending | None]) -> Ending | None:
    """Return the one ending that tells what happened: an error of a rank's own before others.

    >>> lost, done = Ending(exit_code=75, lost_peer=True), Ending(summary={})
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
