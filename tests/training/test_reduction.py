"""The gradient of the whole batch, however its parts are added up; what is drawn at random."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fadae.training.ranks import Ranks
from fadae.training.reduction import make_reduction
from tests.training.small import small

SIZE, HIDDEN = 4096, 160  # a Linear's weight is three tiles


class Tied(nn.Module):
    """A bias, a weight that two Linears and a product share, and one that no Linear has."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(SIZE, HIDDEN)
        self.decoder = nn.Linear(HIDDEN, SIZE, bias=False)
        self.again = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.scale = nn.Parameter(torch.full((SIZE,), 0.5))

    def forward(self, rows: Tensor) -> Tensor:
        code = torch.tanh(self.encoder(rows))
        code = self.again(self.again(code)) + 0.1 * self.again.weight.sum()
        found: Tensor = self.decoder(code) * self.scale
        return found


def gradients(parts: list[Tensor], **settings: Any) -> tuple[float, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = Tied()
    config = small(batch_size=len(torch.cat(parts)), **settings)
    reduction = make_reduction(model, config, Ranks(0, 1, torch.device("cpu")), SIZE)
    if config.reduction == "fast":
        parts = [torch.cat(parts)]
    loss = reduction.backward(parts, sum(map(len, parts)), 0).item()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rules", [1, 2])
@pytest.mark.parametrize("more", [{}, {"micro_batch": 3}], ids=["whole", "micro-batches"])
def test_leaves_add_up_to_the_batch(rules: int, more: dict[str, int]) -> None:
    random = torch.Generator().manual_seed(1)
    parts = [torch.randn(rows, SIZE, generator=random) for rows in (5, 0, 7, 4)]
    loss, fast = gradients(parts, reduction="fast")
    found_loss, found = gradients(parts, reduction="exact", rules=rules, **more)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert found.keys() == fast.keys() and len(fast) == 5
    for name, gradient in fast.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)


class Drawing(nn.Module):
    """Notes what it draws and how many rows it is given; its weight is no parameter: no DDP."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.zeros(1, requires_grad=True)
        self.draws: list[float] = []
        self.rows: list[int] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.draws.append(float(torch.rand(())))
        self.rows.append(len(rows))
        return torch.zeros_like(rows) + self.weight


def drawing(step: int, rank: int = 0, world: int = 1, **settings: Any) -> Drawing:
    """Return such a model after its rank's part of a batch: 8 rows for each of its groups."""
    model = Drawing()
    ranks = Ranks(rank, world, torch.device("cpu"))
    reduction = make_reduction(model, small(**settings), ranks, 4)
    parts = [torch.ones(8, 4) for _ in reduction.groups()]
    reduction.backward(parts, 8 * len(parts) * world, step)
    return model


def test_every_rank_and_every_step_draws_for_itself_and_again_the_same() -> None:
    places = [(step, rank, 2) for step in range(3) for rank in range(2)]
    drawn = [drawing(*place, reduction="fast").draws for place in places]
    assert drawn == [drawing(*place, reduction="fast").draws for place in places]
    assert len({draw for draws in drawn for draw in draws}) == len(places)


def test_every_leaf_and_every_step_draws_for_itself_and_again_the_same() -> None:
    drawn = [drawing(step, reduction="exact").draws for step in range(3)]
    assert drawn == [drawing(step, reduction="exact").draws for step in range(3)]
    leaves = small().leaves
    assert len({draw for draws in drawn for draw in draws}) == 3 * leaves


def test_the_mean_over_ranks_is_the_gradient_of_the_whole_batch() -> None:
    (whole,) = (drawing(0, reduction="fast").weight.grad,)
    ranks = [drawing(0, rank, 2, reduction="fast").weight.grad for rank in range(2)]
    assert whole is not None and ranks[0] is not None and ranks[1] is not None
    torch.testing.assert_close((ranks[0] + ranks[1]) / 2, whole)
    assert whole.item() == pytest.approx(-2)  # of the mean of (weight - 1)^2, at 0


@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_no_more_rows_than_a_micro_batch_are_computed_at_a_time(reduction: str) -> None:
    model = drawing(0, reduction=reduction, micro_batch=3)
    assert set(model.rows) == {3, 2} and sum(model.rows) % 8 == 0


class Judging(nn.Module):
    """A model with a loss of its own, which notes the type that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen: list[tuple[torch.dtype, torch.dtype]] = []

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.layer(rows)
        assert found.dtype == torch.bfloat16
        return found

    def loss(self, output: Tensor, values: Tensor) -> Tensor:
        self.seen.append((output.dtype, values.dtype))
        return (output - values).square().mean(dim=1).sum()


def test_under_bf16_a_models_own_loss_is_summed_in_float32() -> None:
    model = Judging()
    ranks = Ranks(0, 1, torch.device("cpu"))
    make_reduction(model, small(precision="bf16"), ranks, 4).backward([torch.ones(8, 4)], 8, 0)
    assert model.seen == [(torch.float32, torch.float32)]
