"""mu-law and per-frame scaling as torch operations: what `transform.companding` does in NumPy."""

from __future__ import annotations

import torch
from torch import Tensor

from fadae.records import CodeSpec
from fadae.transform import LOG_MU, MU


def compand(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Return (values [n, C] in [-1, 1], scale [n, 1]) of coefficients [n, C], float32.

    values = mu_law(c) / scale; scale is the frame's greatest |mu_law(c)|, 1 where it is silent.
    A frame with NaN has a scale of NaN.
    """
    raw = coefficients.float()
    magnitude = raw.abs().mul_(MU).log1p_()
    # No frame, no maximum: amax refuses an empty dimension only, so [0, C] passes.
    scale = magnitude.amax(dim=1, keepdim=True).div_(LOG_MU)
    scale = torch.where(scale == 0, 1.0, scale)
    return magnitude.div_(scale * LOG_MU).copysign_(raw), scale


def expand(values: Tensor, scale: Tensor) -> Tensor:
    """Return the coefficients [n, C] of values [n, C] and scale [n, 1]: the inverse of `compand`.

    x = sign(y) (256^|y| - 1) / 255 with y = values * scale.
    """
    scaled = values * scale
    return scaled.abs().mul_(LOG_MU).expm1_().div_(MU).copysign_(scaled)


def compand_by(coefficients: Tensor, scale: Tensor) -> Tensor:
    """Return coefficients [n, C] companded and divided by given scales [n, 1].

    Errors of different models compare in these values, the scale being the original's.
    """
    magnitude = coefficients.abs().mul_(MU).log1p_()
    return magnitude.div_(scale * LOG_MU).copysign_(coefficients)


def values_of(coefficients: Tensor, code: CodeSpec) -> Tensor:
    """Return coefficients [n, C] as a model with such codes sees them, float32."""
    return compand(coefficients)[0] if code.carries_scale else coefficients.float()
