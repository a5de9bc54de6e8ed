"""What one rank works with: the run's dataset, model, evaluation and state, put together once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from fadae.config import TrainConfig
from fadae.data import DataOrder, UnitReader
from fadae.errors import TransientError
from fadae.model import ClosedForm, FrameShape, ModelConfig, OwnLoss, model_class
from fadae.records import CodeSize, CodeSpec, GrowthRecord, Scores
from fadae.summaries import TrainSummary
from fadae.training.batches import SharedRows
from fadae.training.checkpoint import Checkpoints
from fadae.training.dataset import Dataset, open_dataset
from fadae.training.evaluate import CODE_BYTES, Evaluation
from fadae.training.ranks import Ranks
from fadae.training.run import Run, State

log = logging.getLogger("fadae.training")

# Frames that closed forms are fitted on, at most: 16384 companded frames are 512 MB.
SAMPLE_FRAMES = 16384


class Preempted(TransientError):  # noqa: N818 - says what happened
    """All ranks agreed to stop; what was learned is saved."""


@dataclass
class TrainingContext:
    """One rank's view of a run in progress."""

    run: Run
    config: TrainConfig
    ranks: Ranks
    stopping: Callable[[], bool]
    dataset: Dataset
    order: DataOrder
    train_cache_bytes: int
    evaluation: Evaluation
    checkpoints: Checkpoints
    model: Any  # a Model and a torch Module; Python has no intersection of types
    state: State = field(default_factory=State)
    samples_per_second: float | None = None
    waited_share: float | None = None

    @property
    def features(self) -> int:
        """Coefficients of a frame."""
        return self.dataset.features.transform.size

    @property
    def last_step(self) -> int:
        """The step at which the run is done, unless it stops early.

        Of a run that grew: as many passes over all rows as were asked for, those learned already
        counted; a limit of steps grows with the frames.
        """
        steps, most = self.config.epochs * self.order.steps, self.config.max_steps
        if most is None:
            return steps
        if self.growths:
            most = -(-most * self.dataset.split.train.count // self.growths[0]["train_frames"])
        return min(steps, most)

    @property
    def growths(self) -> list[GrowthRecord]:
        """Where the run stood when it took in more recordings."""
        return self.dataset.description.get("growths", [])

    @property
    def sample_frames(self) -> int:
        """Frames that closed forms are fitted on."""
        return min(self.dataset.split.train.count, SAMPLE_FRAMES)

    def read(self, start: int, stop: int) -> Any:
        """Return rows [start, stop) of the features as stored."""
        return self.dataset.features.read("features", start, stop)

    def summary(self) -> TrainSummary:
        """Return the run's figures so far, without those of PCA."""
        state, scores, split = self.state, self.state.evaluation, self.dataset.split
        size = self.code_size
        return TrainSummary(
            run=self.run.name,
            model=self.config.model,
            steps=state.step,
            epochs=state.step / self.order.steps,
            train_loss=state.latest_train_loss,
            holdout_loss=scores.loss if scores else None,
            holdout_nmse_db=scores.nmse_db if scores else None,
            holdout_nmse_linear_db=scores.nmse_linear_db if scores else None,
            best_step=state.best_step,
            best_holdout_nmse_db=state.best_nmse_db,
            train_frames=split.train.count,
            holdout_frames=split.holdout.count,
            stale_recordings=self.dataset.stale_recordings,
            padding_rows=split.padding_rows,
            silent_rows=state.silent_rows + (scores.silent if scores else 0),
            failed_rows=state.failed_rows + (scores.failed if scores else 0),
            samples_per_second=self.samples_per_second,
            waited_share=self.waited_share,
            ranks=self.ranks.world,
            figures=scores.figures if scores else {},
            bytes_a_row=size.bytes_a_row if size else None,
            kbps=size.kbps if size else None,
        )

    @property
    def code_size(self) -> CodeSize | None:
        """What a code takes; None where it varies and none was measured."""
        code: CodeSpec = self.model.code
        taken = float(code.size * np.dtype(code.dtype).itemsize)
        if code.variable:
            scores = self.state.evaluation
            taken = scores.figures.get(CODE_BYTES, math.nan) if scores else math.nan
        about = self.dataset.features.transform
        size = CodeSize.of(taken, about.hop_samples / about.sample_rate_hz)
        return size if math.isfinite(taken) else None


def open_context(
    run: Run, config: TrainConfig, ranks: Ranks, stopping: Callable[[], bool]
) -> TrainingContext:
    """Return a rank's rig, its model as it is before the first step; record what the run is."""
    config = _settled(run, config, ranks)
    bound = run.bind(config) if ranks.is_first else None
    # The first rank's word: meanwhile more rows may have been published.
    place = None
    if bound is not None:
        about = bound.description
        place = [
            bound.rows,
            about.get("growths", []),
            about.get("families"),
            about.get("forgotten", []),
        ]
    told = ranks.from_first(place)
    dataset = bound or open_dataset(run.location, config, *told)
    train, holdout = dataset.split.train, dataset.split.holdout
    order = DataOrder(train, config.seed, config.batch_size, config.lanes, config.window_rows)
    train_cache = config.cache_bytes * train.count // (train.count + holdout.count)
    held_out = SharedRows(holdout, config.lanes)

    torch.manual_seed(config.seed)
    frames = min(train.count, SAMPLE_FRAMES)
    model = ModelConfig(config.model, config.model_options()).create(_shape(dataset), frames)
    model = model.to(ranks.device)
    if ranks.is_first:
        run.begin(config, dataset, model.config())

    def read(start: int, stop: int) -> Any:
        return dataset.features.read("features", start, stop)

    reader = UnitReader(read, held_out, config.cache_bytes - train_cache, dataset.rows)
    return TrainingContext(
        run,
        config,
        ranks,
        stopping,
        dataset,
        order,
        train_cache,
        Evaluation(held_out, reader, ranks, dataset.recording_of),
        Checkpoints(run.location, run.path("checkpoints"), config.keep),
        model,
    )


def _settled(run: Run, config: TrainConfig, ranks: Ranks) -> TrainConfig:
    """Return the config with nothing left open, rank 0's word: as the run has it, if it began."""
    if ranks.is_first:
        left_open = config.precision == "auto"
        config = run.continuing(config)
        if config.precision == "auto":
            config = replace(config, precision=precision_of(config, ranks.device))
        if left_open:
            log.info("run %s: precision %s", run.name, config.precision)
    return TrainConfig.from_dict(ranks.from_first(config.to_dict()))


def precision_of(config: TrainConfig, device: torch.device) -> str:
    """Return the precision that a new run takes where none is asked for.

    bf16 where the device computes with it: elsewhere it is emulated, slower than fp32. fp32 with
    exact sums, whose point are the same bits, for models with a loss of their own, as that of byte
    codes, which has been judged in fp32 only, and for those that learn no step.
    """
    model = model_class(config.model)
    if config.reduction == "exact" or issubclass(model, OwnLoss) or issubclass(model, ClosedForm):
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has = torch.cpu.get_capabilities()
    return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"


def _shape(dataset: Dataset) -> FrameShape:
    """Return the shape of a dataset's frames."""
    transform = dataset.features.transform
    sizes = (int(stop - start) for start, stop in transform.coefficient_slices)
    return FrameShape(transform.size, tuple(sizes))


def scores_of(context: TrainingContext, model: Any) -> Scores:
    """Return a model's held-out scores, the model being rank 0's; raises Stopped."""
    context.ranks.spread(list(model.state_dict().values()))
    return context.evaluation.scores(model, context.stopping)
