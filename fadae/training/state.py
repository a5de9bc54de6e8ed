"""Where a run stands: every number beside weights and optimiser that the rest depends on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self


@dataclass
class State:
    """The counters of a run, saved with every checkpoint; times are none of its business."""

    step: int = 0  # batches learned
    interval_loss: float = 0.0  # sums since the last line of metrics
    interval_count: int = 0
    epoch_loss: float = 0.0  # sums since the epoch began
    epoch_count: int = 0
    epoch_silent: int = 0
    epoch_failed: int = 0
    train_loss: float | None = None  # of the last whole epoch
    silent_rows: int = 0  # among the training rows
    failed_rows: int = 0
    evaluated_step: int | None = None
    evaluation: dict[str, Any] | None = None
    best_step: int | None = None
    best_nmse_db: float | None = None
    best_loss: float | None = None  # of a model with a loss of its own
    evaluations_since_best: int = 0
    stopped_early: bool = False

    @property
    def latest_train_loss(self) -> float | None:
        """The last whole epoch's mean loss; before one has ended, that of its part so far."""
        if self.train_loss is None and self.epoch_count:
            return self.epoch_loss / self.epoch_count
        return self.train_loss

    def add_batch(self, loss_sum: float, count: int, silent: int, failed: int) -> None:
        """Count one learned batch."""
        self.step += 1
        self.interval_loss += loss_sum
        self.interval_count += count
        self.epoch_loss += loss_sum
        self.epoch_count += count
        self.epoch_silent += silent
        self.epoch_failed += failed

    def end_interval(self) -> float:
        """Return the mean loss since the last call, NaN when no row was learned."""
        loss = self.interval_loss / self.interval_count if self.interval_count else math.nan
        self.interval_loss, self.interval_count = 0.0, 0
        return loss

    def end_epoch(self) -> None:
        """Keep the epoch's figures and begin the next one's."""
        self.train_loss = self.epoch_loss / self.epoch_count if self.epoch_count else None
        self.silent_rows, self.failed_rows = self.epoch_silent, self.epoch_failed
        self.epoch_loss, self.epoch_count = 0.0, 0
        self.epoch_silent = self.epoch_failed = 0

    def add_evaluation(
        self, scores: dict[str, Any], patience: int | None, *, by_loss: bool = False
    ) -> bool:
        """Keep an evaluation's scores; return whether they are the best so far.

        Best is the smallest NMSE; with `by_loss`, for models with a loss of their own, that loss.

        >>> state = State()
        >>> [state.add_evaluation({"nmse_db": -1.0, "loss": x}, None, by_loss=True) for x in (3, 2)]
        [True, True]
        """
        self.evaluated_step, self.evaluation = self.step, scores
        best, found = self.best_nmse_db, scores["nmse_db"]
        if by_loss:
            best, found = self.best_loss, scores["loss"]
        better = best is None or found < best
        if better:
            self.best_step, self.best_nmse_db = self.step, scores["nmse_db"]
            self.best_loss = found if by_loss else None
            self.evaluations_since_best = 0
        else:
            self.evaluations_since_best += 1
            self.stopped_early = patience is not None and self.evaluations_since_best >= patience
        return better

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_dict` reads back."""
        values = dataclasses.asdict(self)
        if self.best_loss is None:  # as states were written before models had losses
            del values["best_loss"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the state that `to_dict` wrote."""
        return cls(**values)
