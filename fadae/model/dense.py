"""The 2017 experiment's autoencoder: bias-free linear layers with tanh, narrowing to the code.

With the default widths and 8192 features: 8192-1024-512-256-512-1024-8192, 18,087,936 weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn


class Dense(nn.Module):
    """A stack of linear layers and its mirror image, a tanh after each layer."""

    def __init__(self, features: int, widths: Sequence[int]) -> None:
        """Take the width of a frame and those of the encoder's layers, the last one the code's."""
        super().__init__()
        self.features, self.widths = features, tuple(widths)
        self.encoder = _stack([features, *self.widths])
        self.decoder = _stack([*reversed(self.widths), features])

    @classmethod
    def create(cls, features: int, widths: Sequence[int], frames: int) -> Self:
        """Return a new model, initialised as torch initialises linear layers."""
        return cls(features, widths)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the model that `config` describes."""
        return cls(config["features"], config["widths"])

    def config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"features": self.features, "widths": list(self.widths)}

    @property
    def code_size(self) -> int:
        """Dimensions of a code."""
        return self.widths[-1]

    def encode(self, values: Tensor) -> Tensor:
        """Return codes [n, code_size] in [-1, 1] of values [n, features]."""
        codes: Tensor = self.encoder(values)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return values [n, features] in [-1, 1] of codes [n, code_size]."""
        values: Tensor = self.decoder(codes)
        return values

    def forward(self, values: Tensor) -> Tensor:
        """Return decode(encode(values))."""
        return self.decode(self.encode(values))


def _stack(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


MODEL = Dense
