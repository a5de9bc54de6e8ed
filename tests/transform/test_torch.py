"""The transform in torch, which the benchmark on GPUs measures, is the transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fadae.transform.adaptive import FrequencyAdaptiveTransform
from tests.benchmarks.bench_gpu import TOLERANCE, TorchTransform, apart


@pytest.mark.parametrize("preset", ["seed", "full"])
def test_torch_agrees_with_numpy(preset: str) -> None:
    of = FrequencyAdaptiveTransform.preset(preset)
    there = TorchTransform(of, torch.device("cpu"))
    samples = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    expected = of.analyze(samples)
    assert apart(there.analyze(torch.from_numpy(samples)), expected) < TOLERANCE
    assert apart(there.synthesize(torch.from_numpy(expected)), of.synthesize(expected)) < TOLERANCE
