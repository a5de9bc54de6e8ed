"""Principal component analysis as a model: the linear code of the same size, in closed form.

Fitted by block Krylov iteration (Musco and Musco, NeurIPS 2015: Randomized block Krylov methods),
which needs nothing of the frames but products with their Gram matrix, so that any number of
ranks can hold them. Music's spectra fall slowly; there it converges where plain randomised
iteration does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from fadae.errors import UsageError
from fadae.model.contract import FrameShape, ModelOptions, Sample, StoredCodes
from fadae.records import CodeSpec

OVERSAMPLING = 16
BLOCKS = 4


@dataclass(frozen=True)
class PcaOptions:
    """Widths as a network of the same code would have them: the last one is all that counts."""

    widths: tuple[int, ...] = (256,)

    def __post_init__(self) -> None:
        """Refuse a code of nothing."""
        if not self.widths or min(self.widths) < 1:
            raise UsageError(f"widths {self.widths}: one or more above 0")

    def create(self, shape: FrameShape, frames: int) -> Pca:
        """Return a new model with as many components as asked for and as the frames can give."""
        return Pca(shape.size, min(self.widths[-1], frames, shape.size))


class Pca(nn.Module):
    """Projection on the leading principal components; its output is clipped as tanh bounds.

    A code's coordinates are projections of values in [-1, 1]; a frame comes back within [-1, 1],
    which is the frame's own scale.
    """

    Options: ClassVar[type[ModelOptions]] = PcaOptions
    mean: Tensor
    components: Tensor

    def __init__(self, features: int, code_size: int) -> None:
        """Take the widths of a frame and of a code."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("components", torch.zeros(code_size, features))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the model that `config` describes."""
        return cls(config["features"], config["code_size"])

    def config(self) -> dict[str, object]:
        """Return what `from_config` needs."""
        return {"features": self.mean.shape[0], "code_size": self.code.size}

    @property
    def code(self) -> CodeSpec:
        """A number for each component."""
        return CodeSpec(self.components.shape[0])

    def encode(self, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
        """Return the codes of values [n, features]."""
        return StoredCodes((values - self.mean) @ self.components.T)

    def decode(self, codes: StoredCodes) -> Tensor:
        """Return values [n, features], clipped to [-1, 1], of codes."""
        return torch.addmm(self.mean, codes.values, self.components).clamp_(-1, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return decode(encode(values))."""
        return self.decode(self.encode(values))

    def fit(self, sample: Sample) -> None:
        """Compute mean and components from sums over a sample."""
        features, device = self.mean.shape[0], self.mean.device
        mean = sample.total(lambda x: x.sum(0)) / sample.frames

        def gram_times(basis: Tensor) -> Tensor:
            return sample.total(lambda x: (x - mean).T @ ((x - mean) @ basis))

        generator = torch.Generator().manual_seed(sample.seed)
        most = min(sample.frames, features)
        width = min(self.code.size + OVERSAMPLING, most)
        blocks = BLOCKS
        if most <= width * BLOCKS:  # the whole row space fits: one block of it is exact
            width, blocks = most, 1
        block = torch.randn(features, width, generator=generator).to(device)
        basis = torch.zeros(features, 0, device=device)
        for _ in range(blocks):
            block = _orthonormal(gram_times(torch.linalg.qr(block).Q), basis)
            basis = torch.cat([basis, block], dim=1)
        projected = basis.T @ gram_times(basis)
        vectors = torch.linalg.eigh((projected + projected.T) / 2).eigenvectors
        leading = vectors.flip(1)[:, : self.code.size]
        self.mean.copy_(mean)
        found = (basis @ leading).T
        # Silent frames may leave fewer than there are components: the rest stand for nothing.
        self.components.zero_()
        self.components[: len(found)] = found


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """Return an orthonormal basis of what the block adds to an orthonormal one."""
    block = torch.linalg.qr(block).Q
    for _ in range(2):  # twice is enough (Giraud, Langou, Rozloznik, 2005)
        block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
    return block


MODEL = Pca
