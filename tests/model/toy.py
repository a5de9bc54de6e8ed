"""A model as another package brings one: bytes of variable length, learned, with all there is.

A frame's code is one byte that names a quantiser's step, then 3 bytes (position, position, level)
for each of its largest coefficients. The step is one of a recording's; the decoder has learned
how far from zero inside its cell a level lies on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fadae.errors import CodeError, UsageError
from fadae.model.contract import FrameShape, ModelOptions, StoredCodes
from fadae.records import CodeSpec

LEVEL_BYTES, MOST_LEVEL = 3, 127


@dataclass(frozen=True)
class ToyOptions:
    """What there is to choose."""

    keep: int = 12  # coefficients a frame, at most

    def create(self, shape: FrameShape, frames: int) -> Toy:
        """Return a new model."""
        if not 1 <= self.keep <= shape.size < 2**16:
            raise UsageError(f"keep {self.keep}: from 1 to the {shape.size} coefficients")
        return Toy(shape.size, self.keep)


class Toy(nn.Module):
    """A scalar quantiser of the largest coefficients."""

    Options: ClassVar[type[ModelOptions]] = ToyOptions
    figures = ("bits",)
    methods = ("rows",)

    def __init__(self, features: int, keep: int) -> None:
        super().__init__()
        self.features, self.keep = features, keep
        self.inside = nn.Parameter(torch.zeros(()))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["features"], config["keep"])

    def config(self) -> dict[str, Any]:
        return {"features": self.features, "keep": self.keep}

    @property
    def code(self) -> CodeSpec:
        return CodeSpec(
            1 + LEVEL_BYTES * self.keep,
            "uint8",
            fill=0,
            meaning="positions and levels",
            variable=True,
            carries_scale=False,
            interpolates=False,
        )

    def prepare(self, values: Tensor) -> float:
        """Return which step reaches the recording's peak with the greatest level."""
        peak = float(values.abs().max()) if len(values) else 0.0
        return float(np.clip(np.ceil(8 * np.log2(max(peak, 1e-9) / MOST_LEVEL)) + 200, 1, 255))

    def encode(self, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
        assert prepared is not None
        x, names = values.cpu().numpy(), prepared.cpu().numpy().astype(np.uint8)
        codes = np.zeros((len(x), self.code.size), np.uint8)
        lengths = np.zeros(len(x), np.int64)
        for frame, (row, name) in enumerate(zip(x, names, strict=True)):
            levels = np.clip(np.rint(row / step(name)), -MOST_LEVEL, MOST_LEVEL).astype(int)
            largest = np.sort(np.argsort(-np.abs(levels), kind="stable")[: self.keep])
            largest = largest[levels[largest] != 0]
            if len(largest):
                parts = np.stack([largest // 256, largest % 256, levels[largest] + 128], axis=1)
                lengths[frame] = 1 + parts.size
                codes[frame, 0], codes[frame, 1 : lengths[frame]] = name, parts.ravel()
        return StoredCodes(torch.from_numpy(codes), torch.from_numpy(lengths))

    def decode(self, codes: StoredCodes) -> Tensor:
        assert codes.lengths is not None
        values = np.zeros((len(codes.values), self.features), np.float32)
        inside = float(self.inside.detach())
        for frame, (row, length) in enumerate(
            zip(codes.values.cpu().numpy(), codes.lengths.tolist(), strict=True)
        ):
            if length:
                values[frame] = self._row(row[:length], inside)
        return torch.from_numpy(values).to(self.inside.device)

    def _row(self, code: NDArray[np.uint8], inside: float) -> NDArray[np.float32]:
        parts = code[1:].reshape(-1, LEVEL_BYTES).astype(int) if len(code) % 3 == 1 else None
        if parts is None or not code[0]:
            raise CodeError(f"{len(code)} bytes are no step and whole levels")
        at, levels = parts[:, 0] * 256 + parts[:, 1], parts[:, 2] - 128
        if (np.diff(at) <= 0).any() or at[-1] >= self.features or not levels.all():
            raise CodeError(f"positions up to {at.max()} of {self.features} coefficients")
        row = np.zeros(self.features, np.float32)
        row[at] = (levels + inside * np.sign(levels)) * step(code[0])
        return row

    def forward(self, values: Tensor) -> Tensor:
        """Return the error of each frame's largest coefficients, cut to levels, in steps."""
        largest = values.abs().topk(self.keep, dim=1).values
        scaled = largest / largest[:, :1] * 10
        return scaled - scaled.floor() - self.inside

    def loss(self, output: Tensor, values: Tensor) -> Tensor:
        return output.square().mean(dim=1).sum()

    def measure(self, values: Tensor, codes: StoredCodes) -> Tensor:
        assert codes.lengths is not None
        return 8 * codes.lengths[:, None]

    def generate(self, method: str, frames: int, seed: int) -> StoredCodes:
        random = np.random.default_rng(seed)
        values = np.zeros((frames, self.features), np.float32)
        at = random.integers(self.features // 8, size=(frames, self.keep))
        np.put_along_axis(values, at, random.normal(0, 0.1, at.shape).astype(np.float32), axis=1)
        return self.encode(torch.from_numpy(values), torch.full((frames,), 150.0))


def step(name: int) -> float:
    """Return the step that a byte names."""
    return float(2.0 ** ((int(name) - 200) / 8))
