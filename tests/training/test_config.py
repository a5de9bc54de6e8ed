"""A configuration that cannot be meant is refused with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fadae.errors import UsageError
from fadae.training.config import TrainConfig


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"run": "../other"}, "letters, digits"),
        ({"run": "original"}, "source of every recording"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"holdout": 1.0}, "--holdout 1.0"),
        ({"precision": "fp16"}, "fp32 or bf16"),
        ({"widths": ()}, "one or more"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**settings)


def test_exact_sums_need_ranks_that_divide_the_leaves() -> None:
    with pytest.raises(UsageError, match="3 ranks do not divide"):
        TrainConfig(reduction="exact").check_ranks(3)
