"""A configuration that cannot be meant is refused with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from fadae.config.job import TrainConfig, changed_settings
from fadae.errors import UsageError


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


def test_a_models_own_options_are_of_the_recipe_only_where_there_are_any() -> None:
    assert "options" not in TrainConfig().recipe()
    chosen = TrainConfig(model="toy", options={"keep": 9})
    assert chosen.recipe()["options"] == {"keep": 9}
    assert TrainConfig.from_dict(chosen.to_dict()) == chosen
    old, new = chosen.recipe(), TrainConfig(model="toy", options={"keep": 5}).recipe()
    assert changed_settings(old, new) == ["options {'keep': 9} -> {'keep': 5}"]


def test_widths_are_short_for_the_option_of_that_name() -> None:
    assert TrainConfig().model_options() == {}
    assert TrainConfig(widths=(32, 8)).model_options() == {"widths": [32, 8]}
    both = TrainConfig(widths=(32, 8), options={"widths": [16]})
    assert both.model_options() == {"widths": [16]}
