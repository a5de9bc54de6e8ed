"""Adam with decoupled weight decay: torch's fused kernel, its state as tensors by name.

torch.optim.adamw.adamw is the function behind torch.optim.AdamW. Called directly, its state is
what checkpoints hold, with no parameter numbers in between, and two seconds of imports that
torch.optim's classes do at their first step are saved on every rank.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The optimiser of some parameters."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> None:
        """Take the parameters; all moments are 0."""
        self._parameters = dict(named)
        self._weight_decay = weight_decay
        self._mean = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
        self._square = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
        self._steps = {
            name: torch.zeros((), dtype=torch.float32, device=p.device)
            for name, p in self._parameters.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name: the tensors themselves, to be saved or overwritten."""
        kinds = {"exp_avg": self._mean, "exp_avg_sq": self._square, "step": self._steps}
        return {f"{kind}.{n}": t for kind, state in kinds.items() for n, t in state.items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients, and drop these."""
        named = [(name, p) for name, p in self._parameters.items() if p.grad is not None]
        adamw(
            [p for _, p in named],
            [p.grad for _, p in named if p.grad is not None],
            [self._mean[name] for name, _ in named],
            [self._square[name] for name, _ in named],
            [],
            [self._steps[name] for name, _ in named],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=learning_rate,
            weight_decay=self._weight_decay,
            eps=EPSILON,
            maximize=False,
        )
        for _, parameter in named:
            parameter.grad = None
