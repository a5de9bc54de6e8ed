"""The end of a run: the closed forms beside it, the model's files, the summary."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

from fadae.model.contract import ClosedForm, FrameShape
from fadae.model.pca import Pca, PcaOptions
from fadae.nouns import CodeSpec, finite
from fadae.training.checkpoint import snapshot
from fadae.training.evaluate import Scores, Stopped
from fadae.training.frames import RankSample
from fadae.training.metrics import Metrics
from fadae.training.reduction import make_reduction
from fadae.training.rig import SAMPLE_FRAMES, Preempted, Rig, scores_of
from fadae.training.runs import pca_remark

log = logging.getLogger("fadae.training")


def finish(rig: Rig) -> dict[str, Any]:
    """Fit what is left to fit, write model and summary; return the summary, on every rank.

    Raises Preempted when asked to stop meanwhile: the steps learned are saved, the rest is done
    again.
    """
    code: CodeSpec = rig.model.code
    try:
        if isinstance(rig.model, ClosedForm):
            rig.model.fit(_sample(rig, code))
            if rig.dataset.split.holdout.count:
                rig.state.add_evaluation(scores_of(rig, rig.model).to_dict(), None)
        published_step = _take_best(rig)
        baseline = _baseline(rig)
    except Stopped:
        raise Preempted(
            "stopped after the last step; run the same command again", summary=rig.summary()
        ) from None
    summary = finite({**rig.summary(baseline), "published_step": published_step})
    if rig.ranks.is_first:
        _write(rig, summary)
        if remark := pca_remark(summary):
            log.warning("run %s: %s", rig.run.name, remark)
    shared: dict[str, Any] = rig.ranks.from_first(summary)
    return shared


def _write(rig: Rig, summary: dict[str, Any]) -> None:
    """Write the model, the last line of metrics, and the summary that says the run is done."""
    data = safetensors.torch.save(snapshot(rig.model.state_dict()))
    summary["model_sha256"] = hashlib.sha256(data).hexdigest()
    rig.run.location.write_bytes(rig.run.path("model.safetensors"), data)
    metrics = Metrics(rig.run.location, rig.run.name, rig.state.step)
    metrics.add(rig.state.step, pca_nmse_db=summary["pca_nmse_db"])
    metrics.write(at_once=True)
    rig.run.write("summary.json", {"recipe": rig.config.recipe(), "summary": summary})


def _take_best(rig: Rig) -> int:
    """With early stopping take the weights of the best evaluation, scored; return their step.

    Without it, or where they cannot be read, those of the last step stay: the scores are always
    those of the model that is published.
    """
    best = rig.state.best_step
    if rig.config.early_stopping is None or best is None or best == rig.state.step:
        return rig.state.step
    kept = rig.checkpoints.best(best) if rig.ranks.is_first else None
    if not rig.ranks.from_first(kept is not None):
        if rig.ranks.is_first:
            log.warning("the best weights, of step %d, are damaged: the last ones are kept", best)
        return rig.state.step
    if kept is not None:
        rig.model.load_state_dict(kept)
    rig.state.evaluation = scores_of(rig, rig.model).to_dict()
    return best


def _baseline(rig: Rig) -> dict[str, Any]:
    """Return the held-out scores of PCA with as many float32 components as the code has bytes for.

    A function of rows, seed and code size alone: computed once, kept in baseline.json.
    """
    kept = rig.run.read("baseline.json") if rig.ranks.is_first else None
    known: dict[str, Any] | None = rig.ranks.from_first(kept)
    if known is not None:
        return known
    if not rig.dataset.split.holdout.count:
        return {"nmse_db": None, "nmse_linear_db": None, "components": None}
    if isinstance(rig.model, Pca):
        pca, scores = rig.model, Scores(**(rig.state.evaluation or {}))
    else:
        code: CodeSpec = rig.model.code
        components = max(1, code.size * np.dtype(code.dtype).itemsize // 4)
        pca = PcaOptions((components,)).create(FrameShape(rig.features), rig.sample_frames)
        pca = pca.to(rig.ranks.device)
        pca.fit(_sample(rig, pca.code))
        scores = scores_of(rig, pca)
    found: dict[str, Any] = finite(
        {
            "nmse_db": scores.nmse_db,
            "nmse_linear_db": scores.nmse_linear_db,
            "components": pca.code.size,
        }
    )
    if rig.ranks.is_first:
        rig.run.write("baseline.json", found)
    return found


def _sample(rig: Rig, code: CodeSpec) -> RankSample:
    """Return the seeded sample of training frames that closed forms with such codes see."""
    reduction = make_reduction(nn.Module(), rig.config, rig.ranks, rig.features)
    return RankSample(
        rig.dataset.split.train.thinned(SAMPLE_FRAMES), rig.read, rig.dataset.rows,
        rig.config.lanes, rig.config.seed, reduction.groups(), reduction.total,
        lambda frames: int(rig.ranks.total([frames])[0]), rig.features, rig.ranks.device,
        code,
    )  # fmt: skip
