"""How good a model is: loss and NMSE over all held-out frames, each read once by one rank."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fadae.arrays import Int64
from fadae.data import UnitReader, lanes_of
from fadae.model import (
    Measures,
    Model,
    OwnLoss,
    Prepares,
    StoredCodes,
    pass_through,
    prepared_from,
    values_of,
)
from fadae.records import Scores
from fadae.scores import ErrorSums
from fadae.training.batches import SharedRows, read_ahead, usable
from fadae.training.ranks import Ranks

FRAMES_AT_A_TIME = 256
CODE_BYTES = "code_bytes"  # a figure of codes of variable length: their mean
_SUMS = 8  # loss, companded error and energy, linear error and energy, frames, silent, failed


class Stopped(Exception):  # noqa: N818 - not an error: all ranks agreed to stop here
    """The evaluation was left before its end."""


class Evaluation:
    """Evaluates models on a fixed set of rows, shared out over the ranks."""

    def __init__(
        self,
        rows: SharedRows,
        reader: UnitReader,
        ranks: Ranks,
        recording_of: Callable[[Int64], Int64],
    ) -> None:
        """Take the rows, their reader, this rank's place, and how rows tell their recordings."""
        self._shared, self._reader, self._ranks = rows, reader, ranks
        self._recording_of = recording_of

    def scores(self, model: Model, stopping: Callable[[], bool] = lambda: False) -> Scores:
        """Return the model's scores, the same on every rank and at any number of ranks.

        `stopping` is asked before every block of rows; once it is true on any rank, all raise
        Stopped.
        """
        ranks, lanes = self._ranks, self._shared.lanes
        work = self._shared.work(lanes_of(ranks.rank, ranks.world, lanes))
        figures = _figures(model)
        table = torch.zeros(lanes, _SUMS + len(figures), dtype=torch.float64)
        blocks, done = read_ahead(self._reader, work), 0
        for _ in range(self._shared.rounds(ranks.world)):
            if ranks.total([stopping()])[0]:
                blocks.close()  # type: ignore[attr-defined]
                raise Stopped
            for lane, features in [found for found in (next(blocks, None),) if found]:
                _, unit = work[done]
                done += 1
                for own in self._by_recording(model, unit, len(features)):
                    raw, silent, failed = usable(features[own], ranks.device)
                    table[lane, 6:8] += torch.tensor([silent, failed], dtype=torch.float64)
                    prepared = _prepared(model, raw)
                    for part in torch.split(raw, FRAMES_AT_A_TIME):
                        each = None if prepared is None else prepared.expand(len(part))
                        table[lane] += _sums(model, part, each)
        table = ranks.add(table.to(ranks.device)).cpu()
        # Every entry came from one rank; adding lane after lane, no order depends on the ranks.
        sums = [0.0] * table.shape[1]
        for row in table.tolist():
            sums = [a + b for a, b in zip(sums, row, strict=True)]
        frames = int(sums[5])
        return Scores(
            loss=sums[0] / frames if frames else float("nan"),
            nmse_db=ErrorSums(reference=sums[2], error=sums[1]).nmse_db,
            nmse_linear_db=ErrorSums(reference=sums[4], error=sums[3]).nmse_db,
            frames=frames,
            silent=int(sums[6]),
            failed=int(sums[7]),
            figures={
                name: total / frames if frames else float("nan")
                for name, total in zip(figures, sums[_SUMS:], strict=True)
            },
        )

    def _by_recording(self, model: Model, unit: int, count: int) -> list[slice]:
        """Return a unit's rows as they are to be encoded: by recording where that matters.

        What a recording is prepared from is then its part in the unit, at any number of ranks
        the same, and no row is read twice.
        """
        if not isinstance(model, Prepares):
            return [slice(0, count)]
        recording = self._recording_of(self._shared.unit(unit))
        edges = [0, *(np.flatnonzero(np.diff(recording)) + 1).tolist(), count]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]


@torch.inference_mode()
def _prepared(model: Model, raw: Tensor) -> Tensor | None:
    """Return what the model prepares a recording with, [1]; None where it prepares nothing."""
    if not isinstance(model, Prepares):
        return None
    return torch.tensor([prepared_from(model, raw)], dtype=torch.float64, device=raw.device)


@torch.inference_mode()
def _sums(model: Model, raw: Tensor, prepared: Tensor | None) -> Tensor:
    made = pass_through(model, raw, prepared)
    error = _square_sum(made.decoded - made.original)
    loss = error / raw.shape[1]
    seen = values_of(raw, model.code)
    if isinstance(model, OwnLoss):
        loss = float(model.loss(model(seen).float(), seen))
    sums = [
        loss,
        error,
        _square_sum(made.original),
        _square_sum(made.coefficients - raw),
        _square_sum(raw),
        len(raw),
        0,
        0,
        *_measured(model, seen, made.codes),
    ]
    return torch.tensor(sums, dtype=torch.float64)


def _figures(model: Model) -> tuple[str, ...]:
    """Return the names of a model's own figures; codes of variable length have one more."""
    own = model.figures if isinstance(model, Measures) else ()
    return (CODE_BYTES, *own) if model.code.variable else own


def _measured(model: Model, values: Tensor, codes: StoredCodes) -> list[float]:
    """Return the sums over the frames of what `_figures` names."""
    sums = [] if codes.lengths is None else [float(codes.lengths.sum())]
    if isinstance(model, Measures):
        sums += model.measure(values, codes).double().sum(dim=0).tolist()
    return sums


def _square_sum(x: Tensor) -> float:
    return float(x.square().sum(dim=1).double().sum())
