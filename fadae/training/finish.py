"""What follows the last step: the best weights, the baseline, the files that say a run is done."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

import safetensors.torch
import torch
from torch import nn

from fadae.data import UnitReader
from fadae.model import ClosedForm, Completes, FrameShape, Pca, PcaOptions
from fadae.records import Baseline, CodeSpec, finite
from fadae.store import publish_listing
from fadae.summaries import TrainSummary
from fadae.training.batches import RankSample, SharedRows, prepare, read_groups
from fadae.training.checkpoint import snapshot
from fadae.training.context import SAMPLE_FRAMES, Preempted, TrainingContext, scores_of
from fadae.training.dataset import sample_of
from fadae.training.evaluate import Stopped
from fadae.training.reduction import make_reduction
from fadae.training.roles import write_roles
from fadae.training.run import Metrics, trackers_of
from fadae.training.runs import pca_remark

log = logging.getLogger("fadae.training")
_COMPONENT_BYTES = 4  # float32

COMPLETED_FRAMES = 4096  # that a model is completed on, at most


def finish(context: TrainingContext) -> TrainSummary:
    """Fit what is left to fit, write model and summary; return the summary, on every rank.

    Raises Preempted when asked to stop meanwhile: the steps learned are saved, the rest is done
    again.
    """
    code: CodeSpec = context.model.code
    try:
        if isinstance(context.model, ClosedForm):
            context.model.fit(_sample(context, code))
            if context.dataset.split.holdout.count:
                context.state.add_evaluation(scores_of(context, context.model), None)
        published_step = _take_best(context)
        if isinstance(context.model, Completes):
            _complete(context)
        baseline = _baseline(context)
    except Stopped:
        raise Preempted(
            "stopped after the last step; run the same command again", summary=context.summary()
        ) from None
    summary = replace(
        context.summary(),
        pca_nmse_db=baseline["nmse_db"],
        pca_nmse_linear_db=baseline["nmse_linear_db"],
        pca_components=baseline["components"],
        published_step=published_step,
    )
    summary = TrainSummary.from_dict(finite(summary.to_dict()))
    if context.ranks.is_first:
        summary = _write(context, summary)
        if remark := pca_remark(summary):
            log.warning("run %s: %s", context.run.name, remark)
    return TrainSummary.from_dict(context.ranks.from_first(summary.to_dict()))


def _write(context: TrainingContext, summary: TrainSummary) -> TrainSummary:
    """Write the model, the last line of metrics, and the summary that says the run is done.

    Return the summary with the model's hash.
    """
    data = safetensors.torch.save(snapshot(context.model.state_dict()))
    summary = replace(summary, model_sha256=hashlib.sha256(data).hexdigest())
    context.run.location.write_bytes(context.run.path("model.safetensors"), data)
    trackers = trackers_of(context.run, context.config.track)
    metrics = Metrics(context.run.location, context.run.name, context.state.step, trackers)
    metrics.add(context.state.step, pca_nmse_db=summary.pca_nmse_db)
    metrics.write(at_once=True)
    metrics.close(done=True)
    done = {"recipe": context.config.recipe(), "summary": summary.to_dict()}
    write_roles(context.run, context.dataset.features)
    context.run.write("summary.json", done)
    publish_listing(context.run.location)
    return summary


def _take_best(context: TrainingContext) -> int:
    """With early stopping take the weights of the best evaluation, scored; return their step.

    Without it, or where they cannot be read, those of the last step stay: the scores are always
    those of the model that is published.
    """
    best = context.state.best_step
    if context.config.early_stopping is None or best is None or best == context.state.step:
        return context.state.step
    kept = context.checkpoints.best(best) if context.ranks.is_first else None
    if not context.ranks.from_first(kept is not None):
        if context.ranks.is_first:
            log.warning("the best weights, of step %d, are damaged: the last ones are kept", best)
        return context.state.step
    if kept is not None:
        context.model.load_state_dict(kept)
    context.state.evaluation = scores_of(context, context.model)
    return best


def _complete(context: TrainingContext) -> None:
    """Compute what the model computes last, and score it as it now is."""
    context.ranks.spread(list(context.model.state_dict().values()))
    context.model.complete(_sample(context, context.model.code, COMPLETED_FRAMES))
    if context.dataset.split.holdout.count:
        context.state.evaluation = scores_of(context, context.model)


def _baseline(context: TrainingContext) -> Baseline:
    """Return the held-out scores of PCA with as many float32 components as the code has bytes for.

    Of codes whose length varies, their mean over held-out frames counts. Computed once, kept in
    baseline.json.
    """
    kept = context.run.read("baseline.json") if context.ranks.is_first else None
    known: Baseline | None = context.ranks.from_first(kept)
    if known is not None:
        return known
    if not context.dataset.split.holdout.count:
        return {"nmse_db": None, "nmse_linear_db": None, "components": None}
    pca, scores = context.model, context.state.evaluation
    if not isinstance(pca, Pca) or scores is None:
        size = context.code_size
        components = 1 if size is None else max(1, round(size.bytes_a_row / _COMPONENT_BYTES))
        pca = PcaOptions((components,)).create(FrameShape(context.features), context.sample_frames)
        pca = pca.to(context.ranks.device)
        pca.fit(_sample(context, pca.code))
        scores = scores_of(context, pca)
    found: Baseline = finite(
        {
            "nmse_db": scores.nmse_db,
            "nmse_linear_db": scores.nmse_linear_db,
            "components": pca.code.size,
        }
    )
    if context.ranks.is_first:
        context.run.write("baseline.json", found)
    return found


def _sample(context: TrainingContext, code: CodeSpec, frames: int = SAMPLE_FRAMES) -> RankSample:
    """Return the seeded sample of training frames that closed forms with such codes see."""
    reduction = make_reduction(nn.Module(), context.config, context.ranks, context.features)
    device = context.ranks.device
    # Single rows of a few chunks: as many whole chunks alone would be too much of the same.
    chunks = sample_of(context.dataset.split.train, 4 * frames, context.config.rules)
    shared = SharedRows(chunks.thinned(frames), context.config.lanes)
    reader = UnitReader(context.read, shared, 0, context.dataset.rows)
    found = read_groups(
        reader, shared, reduction.groups(), lambda rows: prepare(rows, device, code).values
    )
    empty = torch.zeros(0, context.features, device=device)
    parts = [[empty, *blocks] for blocks in found]
    (total,) = context.ranks.total([sum(len(block) for part in parts for block in part)])
    return RankSample(parts, int(total), context.config.seed, reduction.total)
