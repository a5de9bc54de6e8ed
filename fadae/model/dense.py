"""The 2017 experiment's autoencoder: bias-free linear layers with tanh, narrowing to the code.

With the default widths and 8192 features: 8192-1024-512-256-512-1024-8192, 18,087,936 weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from fadae.errors import UsageError
from fadae.model.contract import FrameShape, ModelOptions, StoredCodes
from fadae.records import CodeSpec


@dataclass(frozen=True)
class DenseOptions:
    """Widths of the encoder's layers, the code's last."""

    widths: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        """Refuse a network without a layer."""
        if not self.widths or min(self.widths) < 1:
            raise UsageError(f"widths {self.widths}: one or more above 0")

    def create(self, shape: FrameShape, frames: int) -> Dense:
        """Return a new model, initialised as torch initialises linear layers."""
        return Dense(shape.size, self.widths)


class Dense(nn.Module):
    """A stack of linear layers and its mirror image, a tanh after each layer."""

    Options: ClassVar[type[ModelOptions]] = DenseOptions

    def __init__(self, features: int, widths: Sequence[int]) -> None:
        """Take the width of a frame and those of the encoder's layers, the last one the code's."""
        super().__init__()
        self.features, self.widths = features, tuple(widths)
        self.encoder = _stack([features, *self.widths])
        self.decoder = _stack([*reversed(self.widths), features])

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the model that `config` describes."""
        return cls(config["features"], config["widths"])

    def config(self) -> dict[str, object]:
        """Return what `from_config` needs."""
        return {"features": self.features, "widths": list(self.widths)}

    @property
    def code(self) -> CodeSpec:
        """As many numbers in [-1, 1] as the innermost layer is wide."""
        return CodeSpec(self.widths[-1])

    def encode(self, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
        """Return the codes of values [n, features]."""
        return StoredCodes(self.encoder(values))

    def decode(self, codes: StoredCodes) -> Tensor:
        """Return values [n, features] in [-1, 1] of codes."""
        values: Tensor = self.decoder(codes.values)
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
