"""The training loop of one rank, from the dataset to the summary, in the order things happen."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, NoReturn

import safetensors.torch
import torch
from torch import nn

from fadae.data.loader import Batch, Loader, UnitReader
from fadae.data.order import DataOrder
from fadae.errors import FadaeError, TransientError
from fadae.model.contract import ClosedForm, Model, model_class
from fadae.model.pca import Pca
from fadae.progress import Progress, track
from fadae.store.location import Location
from fadae.training.checkpoint import Checkpoint, Checkpoints, Tensors, snapshot
from fadae.training.config import TrainConfig
from fadae.training.evaluate import Evaluation, Scores, Stopped
from fadae.training.frames import Frames, RankSample, SharedRows, prepare
from fadae.training.metrics import Metrics
from fadae.training.ranks import Ranks
from fadae.training.reduction import make_reduction
from fadae.training.run import Dataset, Run, finite
from fadae.training.state import State

log = logging.getLogger("fadae.training")

PCA_FRAMES = 16384


class Preempted(TransientError):  # noqa: N818 - says what happened
    """All ranks agreed to stop; what was learned is saved."""


def train_rank(
    location: Location, config: TrainConfig, ranks: Ranks, stopping: Callable[[], bool]
) -> dict[str, Any]:
    """Train as one rank of a group, from the newest checkpoint on; return the run's summary.

    `stopping` is asked before every step; once it is true on any rank, all save and raise
    Preempted. Raises FadaeError when a loss is not finite, PeerLost when a rank is.
    """
    torch.set_num_threads(config.threads)
    config.check_ranks(ranks.world)
    run = Run(location, config.run)
    dataset = run.bind(config)
    trainer = _Trainer(run, config, ranks, stopping, dataset)
    with contextlib.ExitStack() as stack:
        if ranks.is_first:
            stack.callback(trainer.checkpoints.wait)
        if not isinstance(trainer.model, ClosedForm):
            trainer.learn()
        return trainer.finish()


class _Trainer:
    """One rank's view of a run in progress."""

    def __init__(
        self, run: Run, config: TrainConfig, ranks: Ranks, stopping: Callable[[], bool],
        dataset: Dataset,
    ) -> None:  # fmt: skip
        self.run, self.config, self.ranks, self.dataset = run, config, ranks, dataset
        self.stopping = stopping
        self.features = dataset.features.transform.size
        self.checkpoints = Checkpoints(run.location, run.path("checkpoints"), config.keep)

        torch.manual_seed(config.seed)
        frames = min(dataset.split.train.count, PCA_FRAMES)
        made = model_class(config.model).create(self.features, config.widths, frames)
        self.model: Any = made.to(ranks.device)  # a Model and a Module; Python has no intersection
        if ranks.is_first:
            run.begin(config, dataset, made.config())

        shares = dataset.split.train.count, dataset.split.holdout.count
        self.order = DataOrder(
            dataset.split.train, config.seed, config.batch_size, config.lanes, config.window_rows
        )
        self.train_cache = config.cache_bytes * shares[0] // sum(shares)
        held_out = SharedRows(dataset.split.holdout, config.lanes)
        reader = UnitReader(self.read, held_out, config.cache_bytes - self.train_cache,
                            dataset.rows)  # fmt: skip
        self.evaluation = Evaluation(held_out, reader, ranks)
        self.last_step = config.epochs * self.order.steps
        if config.max_steps is not None:
            self.last_step = min(self.last_step, config.max_steps)

        self.state = State()
        self.best: tuple[int, Tensors] | None = None  # weights not yet saved
        self.samples_per_second: float | None = None
        self.waited_share: float | None = None

    def read(self, start: int, stop: int) -> Any:
        return self.dataset.features.read("features", start, stop)

    def learn(self) -> None:
        """Train step after step until the last one or an early stop."""
        config, ranks = self.config, self.ranks
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate,
            weight_decay=config.weight_decay, fused=True,
        )  # fmt: skip
        self.resume(optimizer)
        reduction = make_reduction(self.model, config, ranks)
        metrics = self.open_metrics()
        parameters = list(self.model.parameters())
        self.last_save = time.monotonic()
        trained_rows, trained_seconds, waited = 0, 0.0, 0.0

        with self.batches(reduction.groups()) as loader, self.progress() as progress:
            while True:
                self.evaluate_if_due(metrics, optimizer)
                if self.state.step >= self.last_step or self.state.stopped_early:
                    break
                started = time.monotonic()
                batch = loader.next()
                waited += time.monotonic() - started
                count, silent, failed, stop = (int(figure) for figure in ranks.total([
                    sum(len(part.values) for part in batch.parts),
                    sum(part.silent for part in batch.parts),
                    sum(part.failed for part in batch.parts),
                    self.stopping(),
                ]))  # fmt: skip
                if stop:
                    self.preempted(optimizer, metrics)
                loss_sum = 0.0
                if count:
                    values = [part.values for part in batch.parts]
                    local = reduction.backward(values, count, self.state.step)
                    (loss_sum,) = ranks.total([local.item()])
                    if not math.isfinite(loss_sum):
                        raise self.notfinite(metrics)
                    if config.clip_norm is not None:
                        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
                    for group in optimizer.param_groups:
                        group["lr"] = learning_rate(config, self.state.step, self.last_step)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                self.state.add_batch(loss_sum, count, silent, failed)
                self.log_step(metrics, batch)
                trained_rows += count
                trained_seconds += time.monotonic() - started
                progress.advance(1, loss=loss_sum / max(1, count))
                self.save_if_due(optimizer, metrics)
        self.save(optimizer, metrics, background=False)
        if trained_seconds:
            self.samples_per_second = trained_rows / trained_seconds
            self.waited_share = waited / trained_seconds

    def batches(self, groups: list[range]) -> Loader[Frames]:
        """Return this rank's stream of batches from the state's step on."""
        reader = UnitReader(self.read, self.order, self.train_cache, self.dataset.rows)
        dtype = self.dataset.features.attrs["dtype"]
        device = self.ranks.device
        return Loader(
            reader, self.order, groups, lambda rows: prepare(rows, device), self.features, dtype,
            self.state.step,
        )  # fmt: skip

    def progress(self) -> contextlib.AbstractContextManager[Progress]:
        """Show rank 0's progress only."""
        if not self.ranks.is_first:
            return contextlib.nullcontext(_Silent())
        return track("train", max(0, self.last_step - self.state.step), "steps")

    def resume(self, optimizer: torch.optim.Optimizer) -> None:
        """Take weights, optimiser and state from the newest checkpoint, where there is one."""
        found = self.checkpoints.newest() if self.ranks.is_first else None
        state = self.ranks.from_first(None if found is None else found.state)
        if state is None:
            return
        self.state = State.from_dict(state)
        for parameter in self.model.parameters():
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        if found is not None:
            self.model.load_state_dict(found.model)
            for name, tensor in self.optimizer_tensors(optimizer).items():
                tensor.copy_(found.optimizer[name])
        self.ranks.spread(list(self.model.state_dict().values()))
        self.ranks.spread(list(self.optimizer_tensors(optimizer).values()))
        log.info("rank %d resumes at step %d", self.ranks.rank, self.state.step)

    def optimizer_tensors(self, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        """Return the optimiser's tensors by name, as checkpoints hold them."""
        return {
            f"{kind}.{name}": tensor
            for name, parameter in self.model.named_parameters()
            for kind, tensor in optimizer.state[parameter].items()
        }

    def evaluate_if_due(self, metrics: Metrics | None, optimizer: torch.optim.Optimizer) -> None:
        """Evaluate at the end of some epochs and of the run, once."""
        state, config = self.state, self.config
        every = config.evaluate_epochs
        if every is None:
            every = 1 if config.early_stopping else max(1, config.epochs // 10)
        epoch, within = divmod(state.step, self.order.steps)
        due = state.step == self.last_step or (within == 0 and epoch > 0 and epoch % every == 0)
        if not due or state.evaluated_step == state.step or not self.dataset.split.holdout.count:
            return
        try:
            scores = self.evaluation.scores(self.model, self.stopping)
        except Stopped:
            self.preempted(optimizer, metrics)
        better = state.add_evaluation(dataclasses.asdict(scores), config.early_stopping)
        if better and self.ranks.is_first:
            self.best = (state.step, snapshot(self.model.state_dict()))
        if metrics is not None:
            metrics.add(
                state.step, holdout_loss=scores.loss, holdout_nmse_db=scores.nmse_db,
                holdout_nmse_linear_db=scores.nmse_linear_db,
            )  # fmt: skip

    def open_metrics(self) -> Metrics | None:
        """Return the run's metrics on rank 0."""
        if not self.ranks.is_first:
            return None
        return Metrics(self.run.location, self.run.name, self.state.step, self.config.tensorboard)

    def log_step(self, metrics: Metrics | None, batch: Batch[Frames]) -> None:
        """Write a line every few steps and at an epoch's end; the loss is that since the last."""
        state = self.state
        epoch_ends = batch.step + 1 == self.order.steps
        if state.step % self.config.log_steps and not epoch_ends and state.step != self.last_step:
            return
        loss = state.end_interval()
        if metrics is not None:
            metrics.add(
                state.step, epoch=batch.epoch, train_loss=loss,
                learning_rate=learning_rate(self.config, state.step - 1, self.last_step),
            )  # fmt: skip
        if epoch_ends:
            state.end_epoch()

    def save_if_due(self, optimizer: torch.optim.Optimizer, metrics: Metrics | None) -> None:
        """Save in the background every so many seconds (rank 0's) or steps."""
        steps, now = self.config.checkpoint_steps, time.monotonic()
        by_steps = steps is not None and self.state.step % steps == 0
        by_time = now - self.last_save >= self.config.checkpoint_seconds
        if by_steps or (by_time and not self.checkpoints.is_saving):
            self.last_save = now
            self.save(optimizer, metrics, background=True)

    def save(
        self, optimizer: torch.optim.Optimizer, metrics: Metrics | None, background: bool
    ) -> None:
        """Save the present state on rank 0."""
        if not self.ranks.is_first or metrics is None:
            return
        checkpoint = Checkpoint(
            self.state.step,
            snapshot(self.model.state_dict()),
            snapshot(self.optimizer_tensors(optimizer)),
            self.state.to_dict(),
        )
        best, self.best = self.best, None
        metrics.write()
        if background:
            self.checkpoints.save_in_background(checkpoint, best)
            return
        try:
            self.checkpoints.save(checkpoint, best)
        except OSError as error:
            raise TransientError(f"cannot save step {self.state.step}: {error}") from error

    def preempted(self, optimizer: torch.optim.Optimizer, metrics: Metrics | None) -> NoReturn:
        """Save and leave: all ranks agreed on it."""
        self.save(optimizer, metrics, background=False)
        raise Preempted(
            f"stopped at step {self.state.step} of {self.last_step}, saved; run the same command "
            "again to go on",
            summary=self.summary(None),
        )

    def notfinite(self, metrics: Metrics | None) -> FadaeError:
        """Return the error that ends a run whose loss is not a number."""
        if metrics is not None:
            metrics.write()
        step = self.state.step + 1
        return FadaeError(
            f"the loss at step {step} is not finite; the weights of step {step} were not updated "
            "and no checkpoint holds it. Try a lower --lr, --clip-norm or --precision fp32",
            summary=self.summary(None),
        )

    def finish(self) -> dict[str, Any]:
        """Fit what is left to fit, write the model and the summary; return the summary."""
        model = self.model
        if isinstance(model, ClosedForm):
            model.fit(self.sample())
            if self.dataset.split.holdout.count:
                scores = self.scores_of(self.model)
                self.state.add_evaluation(dataclasses.asdict(scores), None)
        baseline = self.baseline()
        summary = self.summary(baseline)
        tensors: Tensors = self.model.state_dict()
        if self.ranks.is_first:
            if self.config.early_stopping and self.state.best_step not in (None, self.state.step):
                kept = self.checkpoints.best(self.state.best_step or 0)
                tensors = tensors if kept is None else kept
            data = safetensors.torch.save(snapshot(tensors))
            self.run.location.write_bytes(self.run.path("model.safetensors"), data)
            summary["model_sha256"] = hashlib.sha256(data).hexdigest()
            metrics = Metrics(self.run.location, self.run.name, self.state.step)
            metrics.add(self.state.step, pca_nmse_db=summary["pca_nmse_db"])
            metrics.write()
            self.run.write(
                "summary.json", {"recipe": self.config.recipe(), "summary": finite(summary)}
            )
        shared: dict[str, Any] = self.ranks.from_first(finite(summary))
        return shared

    def sample(self) -> RankSample:
        """Return the seeded sample of training frames that closed forms are fitted on."""
        reduction = make_reduction(nn.Module(), self.config, self.ranks)
        return RankSample(
            self.dataset.split.train.thinned(PCA_FRAMES), self.read, self.dataset.rows,
            self.config.lanes, self.config.seed, reduction.groups(), reduction.total,
            lambda frames: int(self.ranks.total([frames])[0]), self.features, self.ranks.device,
        )  # fmt: skip

    def baseline(self) -> dict[str, Any]:
        """Return the held-out scores of PCA with as many components as the code has numbers."""
        name = "baseline.json"
        known: dict[str, Any] | None = self.ranks.from_first(
            self.run.read(name) if self.ranks.is_first else None
        )
        if known is not None:
            return known
        if not self.dataset.split.holdout.count:
            return {"nmse_db": None, "nmse_linear_db": None, "components": None}
        if isinstance(self.model, Pca):
            pca, scores = self.model, Scores(**(self.state.evaluation or {}))
        else:
            frames = min(self.dataset.split.train.count, PCA_FRAMES)
            pca = Pca.create(self.features, [self.model.code_size], frames).to(self.ranks.device)
            pca.fit(self.sample())
            scores = self.scores_of(pca)
        found = finite({
            "nmse_db": scores.nmse_db, "nmse_linear_db": scores.nmse_linear_db,
            "components": pca.code_size,
        })  # fmt: skip
        if self.ranks.is_first:
            self.run.write(name, found)
        return found

    def scores_of(self, model: Model) -> Scores:
        """Return a model's held-out scores; raises Preempted when asked to stop meanwhile."""
        self.ranks.spread(list(model.state_dict().values()))
        try:
            return self.evaluation.scores(model, self.stopping)
        except Stopped:
            raise Preempted("stopped in the last evaluation; run the same command again") from None

    def summary(self, baseline: dict[str, Any] | None) -> dict[str, Any]:
        """Return the run's figures so far."""
        state, scores = self.state, self.state.evaluation or {}
        baseline = baseline or {}
        return {
            "run": self.run.name,
            "model": self.config.model,
            "steps": state.step,
            "epochs": state.step / self.order.steps,
            "train_loss": state.latest_train_loss,
            "holdout_loss": scores.get("loss"),
            "holdout_nmse_db": scores.get("nmse_db"),
            "holdout_nmse_linear_db": scores.get("nmse_linear_db"),
            "pca_nmse_db": baseline.get("nmse_db"),
            "pca_nmse_linear_db": baseline.get("nmse_linear_db"),
            "pca_components": baseline.get("components"),
            "best_step": state.best_step,
            "best_holdout_nmse_db": state.best_nmse_db,
            "train_frames": self.dataset.split.train.count,
            "holdout_frames": self.dataset.split.holdout.count,
            "padding_rows": self.dataset.split.padding_rows,
            "silent_rows": state.silent_rows + scores.get("silent", 0),
            "failed_rows": state.failed_rows + scores.get("failed", 0),
            "model_sha256": None,
            "samples_per_second": self.samples_per_second,
            "waited_share": self.waited_share,
            "ranks": self.ranks.world,
        }


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
