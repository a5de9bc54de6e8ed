"""Exact sums: the gradient of the whole batch, however its parts are added up."""

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
