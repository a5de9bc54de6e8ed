"""How good a model is: loss and NMSE over all held-out frames, each read once by one rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fadae.data.loader import UnitReader
from fadae.data.order import lanes_of
from fadae.model.companding import compand, expand
from fadae.model.contract import Model
from fadae.scores import ErrorSums
from fadae.training.frames import SharedRows, read_ahead, usable
from fadae.training.ranks import Ranks

FRAMES_AT_A_TIME = 256
_SUMS = 8  # loss, companded error and energy, linear error and energy, frames, silent, failed


@dataclass(frozen=True)
class Scores:
    """A model's errors over a set of frames; NaN where there is no frame."""

    loss: float  # mean squared error of the companded, scaled values
    nmse_db: float  # of the same values
    nmse_linear_db: float  # of the coefficients
    frames: int
    silent: int
    failed: int


class Stopped(Exception):  # noqa: N818 - not an error: all ranks agreed to stop here
    """The evaluation was left before its end."""


class Evaluation:
    """Evaluates models on a fixed set of rows, shared out over the ranks."""

    def __init__(self, rows: SharedRows, reader: UnitReader, ranks: Ranks) -> None:
        """Take the rows, their reader and this rank's place."""
        self._shared, self._reader, self._ranks = rows, reader, ranks

    def scores(self, model: Model, stopping: Callable[[], bool] = lambda: False) -> Scores:
        """Return the model's scores, the same on every rank and at any number of ranks.

        `stopping` is asked before every block of rows; once it is true on any rank, all raise
        Stopped.
        """
        ranks, lanes = self._ranks, self._shared.lanes
        work = self._shared.work(lanes_of(ranks.rank, ranks.world, lanes))
        table = torch.zeros(lanes, _SUMS, dtype=torch.float64)
        blocks = read_ahead(self._reader, work)
        for _ in range(self._shared.rounds(ranks.world)):
            if ranks.total([stopping()])[0]:
                blocks.close()  # type: ignore[attr-defined]
                raise Stopped
            for lane, features in [found for found in (next(blocks, None),) if found]:
                raw, silent, failed = usable(features, ranks.device)
                table[lane] += torch.tensor([0.0] * 6 + [silent, failed], dtype=torch.float64)
                for part in torch.split(raw, FRAMES_AT_A_TIME):
                    table[lane] += _sums(model, part)
        table = ranks.add(table.to(ranks.device)).cpu()
        # Every entry came from one rank; adding lane after lane, no order depends on the ranks.
        sums = [0.0] * _SUMS
        for row in table.tolist():
            sums = [a + b for a, b in zip(sums, row, strict=True)]
        frames = int(sums[5])
        return Scores(
            loss=sums[0] / frames if frames else float("nan"),
            nmse_db=ErrorSums(reference=sums[2], error=sums[1]).nmse_db,
            nmse_linear_db=ErrorSums(reference=sums[4], error=sums[3]).nmse_db,
            frames=frames, silent=int(sums[6]), failed=int(sums[7]),
        )  # fmt: skip


@torch.inference_mode()
def _sums(model: Model, raw: Tensor) -> Tensor:
    values, scale = compand(raw)
    found = model(values)
    error = _square_sum(found - values)
    figures = [
        error / raw.shape[1], error, _square_sum(values),
        _square_sum(expand(found, scale) - raw), _square_sum(raw), len(raw), 0, 0,
    ]  # fmt: skip
    return torch.tensor(figures, dtype=torch.float64)


def _square_sum(x: Tensor) -> float:
    return float(x.square().sum(dim=1).double().sum())
