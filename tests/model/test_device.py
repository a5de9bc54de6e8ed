"""One way from a device's name to a device: what is not there is refused, never replaced."""

from __future__ import annotations

import pytest
import torch

from fadae.errors import UsageError
from fadae.model import resolve_device


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many GPUs as no test machine has; nothing is computed on them."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="for machines without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1"])
def test_without_a_gpu_cuda_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{name}'; available: cpu"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "meta", "cuda:", "cuda:x", "cuda:-1", "Cuda", ""])
def test_a_typo_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        resolve_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_spread_over_the_ranks_of_a_machine_unless_one_is_named() -> None:
    for name in ("auto", "cuda"):
        found = [resolve_device(name, rank) for rank in range(3)]
        assert found == [torch.device("cuda", index) for index in (0, 1, 0)]
    assert resolve_device("cuda:1", 0) == torch.device("cuda", 1)
    assert resolve_device("cpu", 1) == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_there_is_refused_and_they_are_named() -> None:
    with pytest.raises(UsageError, match="no device 'cuda:2'; available: cpu, cuda:0, cuda:1"):
        resolve_device("cuda:2")
