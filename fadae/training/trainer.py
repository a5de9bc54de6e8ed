"""The training of one rank, from the dataset to the summary, in the order things happen."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import torch
from torch import nn

from fadae.config import TrainConfig
from fadae.data import Loader, UnitReader
from fadae.errors import FadaeError
from fadae.memory import keep_freed_memory
from fadae.model import ClosedForm, OwnLoss
from fadae.progress import Progress, track
from fadae.store import Location
from fadae.summaries import TrainSummary
from fadae.training.batches import Frames, prepare
from fadae.training.checkpoint import Checkpoint, snapshot
from fadae.training.context import (
    Preempted,
    TrainingContext,
    open_context,
)
from fadae.training.evaluate import Stopped
from fadae.training.finish import finish
from fadae.training.optimizer import Adam
from fadae.training.ranks import Ranks
from fadae.training.reduction import make_reduction
from fadae.training.run import Metrics, Run, State, trackers_of

log = logging.getLogger("fadae.training")


def train_rank(
    location: Location, config: TrainConfig, ranks: Ranks, stopping: Callable[[], bool]
) -> TrainSummary:
    """Train as one rank of a group, from the newest checkpoint on; return the run's summary.

    With --on-growth continue a finished run takes in what was published since, and goes on.
    `stopping` is asked before every step; once it is true on any rank, all save and raise
    Preempted. Raises FadaeError when a loss is not finite, PeerLost when a rank is.
    """
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    config.check_ranks(ranks.world)
    run = Run(location, config.run)
    if ranks.is_first:
        run.grow(config)
    while True:
        done = _train_once(run, config, ranks, stopping)
        # Published meanwhile, or while an older call was under way.
        if not ranks.from_first(ranks.is_first and run.grow(config)):
            return done


def _train_once(
    run: Run, config: TrainConfig, ranks: Ranks, stopping: Callable[[], bool]
) -> TrainSummary:
    context = open_context(run, config, ranks, stopping)
    try:
        if not isinstance(context.model, ClosedForm):
            learning = _Learning(context)
            try:
                learning.learn()
            finally:
                if learning.metrics is not None:
                    learning.metrics.close()
        return finish(context)
    finally:
        context.checkpoints.wait()


class _Learning:
    """The steps of a run, and what happens between them."""

    def __init__(self, context: TrainingContext) -> None:
        """Take up the run where its newest checkpoint left it."""
        self.context, self.config, self.ranks = context, context.config, context.ranks
        self.optimizer = Adam(context.model.named_parameters(), context.config.weight_decay)
        self._resume()
        self.metrics = None
        if context.ranks.is_first:
            step = context.state.step
            trackers = trackers_of(context.run, self.config.track)
            self.metrics = Metrics(context.run.location, context.run.name, step, trackers)
            log.info(
                "run %s: %d frames to learn, %d held out, %d ranks, step %d of %d",
                context.run.name,
                context.dataset.split.train.count,
                context.dataset.split.holdout.count,
                context.ranks.world,
                step,
                context.last_step,
            )
        self.started = self.last_save = time.monotonic()

    def learn(self) -> None:
        """Train step after step until the last one or an early stop."""
        context, ranks, state = self.context, self.ranks, self.context.state
        reduction = make_reduction(context.model, self.config, ranks, context.features)
        parameters = list(context.model.parameters())
        rows, seconds = 0, 0.0
        with self._batches(reduction.groups()) as loader, self._progress() as progress:
            while True:
                self._evaluate_if_due()
                if state.step >= context.last_step or state.stopped_early:
                    break
                started = time.monotonic()
                parts = loader.next().parts
                count, silent, failed, stop = ranks.total(
                    [
                        sum(len(part.values) for part in parts),
                        sum(part.silent for part in parts),
                        sum(part.failed for part in parts),
                        context.stopping(),
                    ]
                )
                if stop:
                    self._preempted()
                loss_sum = 0.0
                if count:
                    values = [part.values for part in parts]
                    local = reduction.backward(values, int(count), state.step)
                    (loss_sum,) = ranks.total([local.item()])
                    if not math.isfinite(loss_sum):
                        self._not_finite()
                    if self.config.clip_norm is not None:
                        nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
                    self.optimizer.step(learning_rate(self.config, state.step, context.last_step))
                state.add_batch(loss_sum, int(count), int(silent), int(failed))
                self._log_step()
                rows, seconds = rows + int(count), seconds + time.monotonic() - started
                progress.advance(1, loss=loss_sum / max(1, count))
                self._save_if_due()
        self._save()
        if seconds:
            context.samples_per_second = rows / seconds
            context.waited_share = loader.seconds_waited / seconds

    def _batches(self, groups: list[range]) -> Loader[Frames]:
        """Return this rank's stream of batches from the state's step on."""
        context = self.context
        reader = UnitReader(
            context.read, context.order, context.train_cache_bytes, context.dataset.rows
        )
        dtype = context.dataset.features.attrs["dtype"]
        return Loader(
            reader,
            context.order,
            groups,
            lambda rows: prepare(rows, self.ranks.device, context.model.code),
            context.features,
            dtype,
            context.state.step,
        )

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Progress]:
        """Show rank 0's progress only."""
        if not self.ranks.is_first:
            yield _Silent()
            return
        left = max(0, self.context.last_step - self.context.state.step)
        with track("train", left, "steps") as progress:
            yield progress

    def _resume(self) -> None:
        """Take weights, optimiser and state from the newest checkpoint, where there is one."""
        found = self.context.checkpoints.newest() if self.ranks.is_first else None
        state = self.ranks.from_first(None if found is None else found.state)
        if state is None:
            return
        self.context.state = State.from_dict(state)
        growths = self.context.growths
        if growths and self.context.state.step <= growths[-1]["step"]:
            self.context.state.grow()
        if found is not None:
            self.context.model.load_state_dict(found.model)
            for name, tensor in self.optimizer.tensors().items():
                tensor.copy_(found.optimizer[name])
        self.ranks.spread(list(self.context.model.state_dict().values()))
        self.ranks.spread(list(self.optimizer.tensors().values()))
        if self.ranks.is_first:
            log.info("resuming at step %d", self.context.state.step)

    def _evaluate_if_due(self) -> None:
        """Evaluate at the end of some epochs and of the run, each time once."""
        state, config = self.context.state, self.config
        every = config.evaluate_epochs
        if every is None:
            epochs = self.context.last_step // self.context.order.steps
            every = 1 if config.early_stopping else max(1, epochs // 10)
        epoch, within = divmod(state.step, self.context.order.steps)
        due = state.step == self.context.last_step or (
            within == 0 and epoch > 0 and epoch % every == 0
        )
        held_out = self.context.dataset.split.holdout.count
        if not due or state.evaluated_step == state.step or not held_out:
            return
        try:
            scores = self.context.evaluation.scores(self.context.model, self.context.stopping)
        except Stopped:
            self._preempted()
        better = state.add_evaluation(
            scores, config.early_stopping, by_loss=isinstance(self.context.model, OwnLoss)
        )
        if better and self.ranks.is_first:
            self.context.checkpoints.keep_best(
                state.step, snapshot(self.context.model.state_dict())
            )
        if self.metrics is not None:
            self.metrics.add(
                state.step,
                holdout_loss=scores.loss,
                holdout_nmse_db=scores.nmse_db,
                holdout_nmse_linear_db=scores.nmse_linear_db,
                **{f"holdout_{name}": value for name, value in scores.figures.items()},
            )

    def _log_step(self) -> None:
        """Write a line every few steps and at an epoch's end; its loss is that since the last."""
        state, steps = self.context.state, self.context.order.steps
        epoch_ends = state.step % steps == 0
        if (
            state.step % self.config.log_steps
            and not epoch_ends
            and state.step != self.context.last_step
        ):
            return
        loss = state.end_interval()
        if self.metrics is not None:
            rate = learning_rate(self.config, state.step - 1, self.context.last_step)
            epoch = (state.step - 1) // steps
            self.metrics.add(
                state.step,
                epoch=epoch,
                train_loss=loss,
                learning_rate=rate,
                seconds=time.monotonic() - self.started,
            )
        if epoch_ends:
            state.end_epoch()

    def _save_if_due(self) -> None:
        """Save in the background every so many seconds (rank 0's) or steps."""
        steps, now = self.config.checkpoint_steps, time.monotonic()
        by_steps = steps is not None and self.context.state.step % steps == 0
        by_time = now - self.last_save >= self.config.checkpoint_seconds
        if by_steps or (by_time and not self.context.checkpoints.is_saving):
            self.last_save = now
            self._save(in_background=True)

    def _save(self, in_background: bool = False) -> None:
        """Save the present state on rank 0.

        Raises StorageError or AccessError where that fails, unless it is done in the background.
        """
        if self.metrics is None:
            return
        checkpoint = Checkpoint(
            self.context.state.step,
            snapshot(self.context.model.state_dict()),
            snapshot(self.optimizer.tensors()),
            self.context.state.to_dict(),
        )
        self.metrics.write(at_once=not in_background)
        if in_background:
            self.context.checkpoints.save_in_background(checkpoint)
        else:
            self.context.checkpoints.save(checkpoint)

    def _preempted(self) -> NoReturn:
        """Save and leave: all ranks agreed on it."""
        self._save()
        raise Preempted(
            f"stopped at step {self.context.state.step} of {self.context.last_step}, saved; "
            f"run the same "
            "command again to continue",
            summary=self.context.summary(),
        )

    def _not_finite(self) -> NoReturn:
        """End a run whose loss is not a number, on all ranks alike."""
        if self.metrics is not None:
            self.metrics.write()
        step = self.context.state.step + 1
        raise FadaeError(
            f"the loss of step {step} is not finite; the weights were not updated by it and no "
            "checkpoint holds it. Try a lower --lr, --clip-norm or --precision fp32",
            summary=self.context.summary(),
        )


class _Silent:
    """Progress that nobody sees: of the ranks that are not the first."""

    def advance(self, count: int = 1, **figures: object) -> None:
        """Show nothing."""


def learning_rate(config: TrainConfig, step: int, last_step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then constant or a cosine to 0.

    >>> config = TrainConfig(learning_rate=1.0, warmup_steps=2, schedule="cosine")
    >>> [round(learning_rate(config, step, 6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - config.warmup_steps) / max(1, last_step - config.warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * share)) / 2
