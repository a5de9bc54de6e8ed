"""A configuration that cannot be meant is refused with what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from fadae.config.job import TrainConfig, changed_settings
from fadae.errors import UsageError

# A value of every field that is not its default.
OTHER: dict[str, Any] = {
    "run": "other",
    "model": "pca",
    "widths": (64, 8),
    "options": {"keep": 9},
    "epochs": 7,
    "max_steps": 11,
    "batch_size": 8,
    "learning_rate": 0.5,
    "warmup_steps": 3,
    "schedule": "cosine",
    "weight_decay": 0.1,
    "clip_norm": 2.0,
    "holdout": 0.25,
    "max_frames": 99,
    "seed": 5,
    "precision": "bf16",
    "reduction": "exact",
    "leaves": 8,
    "micro_batch": 4,
    "lanes": 32,
    "window_rows": 512,
    "threads": 2,
    "evaluate_epochs": 3,
    "early_stopping": 2,
    "log_steps": 5,
    "ranks": 4,
    "launcher": "dask",
    "device": "cpu",
    "scheduler": "tcp://127.0.0.1:8786",
    "checkpoint_seconds": 9.0,
    "checkpoint_steps": 6,
    "keep": 1,
    "cache_bytes": 0,
    "restarts": 0,
    "timeout_seconds": 8.0,
    "shutdown_seconds": 7.0,
    "tensorboard": True,
    "fresh": True,
}
# What a run is bound to; the rest may change from one start to the next.
RECIPE = set(list(OTHER)[1 : list(OTHER).index("ranks")])
ABOVE_ZERO = (
    *("epochs", "max_steps", "batch_size", "learning_rate", "clip_norm", "max_frames"),
    *("leaves", "micro_batch", "lanes", "window_rows", "threads", "evaluate_epochs"),
    *("early_stopping", "log_steps", "ranks", "keep", "checkpoint_seconds"),
    *("checkpoint_steps", "timeout_seconds"),
)
NOT_BELOW_ZERO = ("warmup_steps", "weight_decay", "restarts", "seed", "holdout")


def with_one(name: str, value: Any) -> TrainConfig:
    settings: dict[str, Any] = {name: value}
    return TrainConfig(**settings)


def test_every_field_is_tried() -> None:
    defaults = dataclasses.asdict(TrainConfig())
    assert set(OTHER) == set(defaults)
    assert [name for name, value in OTHER.items() if value == defaults[name]] == []


@pytest.mark.parametrize("name", OTHER)
def test_a_field_survives_json_and_binds_a_run_or_does_not(name: str) -> None:
    default, other = TrainConfig(), with_one(name, OTHER[name])
    assert TrainConfig.from_dict(json.loads(json.dumps(other.to_dict()))) == other != default
    changed = changed_settings(default.recipe(), other.recipe())
    assert [text.split()[0] for text in changed] == ([name] if name in RECIPE else [])


@pytest.mark.parametrize("name", ["epochs", "max_steps"])
def test_a_run_may_grow_and_not_shrink(name: str) -> None:
    short, long = (with_one(name, count).recipe() for count in (5, 6))
    assert changed_settings(short, long) == []
    assert changed_settings(long, short) == [f"{name} 6 -> 5"]


@pytest.mark.parametrize("value", [0, -1, math.nan])
@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_what_must_be_above_zero_is(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be above 0$"):
        with_one(name, value)


@pytest.mark.parametrize("name", NOT_BELOW_ZERO)
def test_what_may_be_zero_and_not_less(name: str) -> None:
    assert getattr(with_one(name, 0), name) == 0
    with pytest.raises(UsageError, match=name):
        with_one(name, -1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"run": "../other"}, "letters, digits"),
        ({"run": ""}, "letters, digits"),
        ({"run": "x" * 65}, "at most 64"),
        ({"run": "original"}, "source of every recording"),
        ({"run": "transform"}, "source of every recording"),
        ({"epochs": 0, "ranks": 0}, "epochs, ranks must be above 0"),
        ({"holdout": 1.0}, "--holdout 1.0"),
        ({"precision": "fp16"}, "fp32 or bf16"),
        ({"reduction": "slow"}, "fast or exact"),
        ({"schedule": "linear"}, "constant or cosine"),
        ({"launcher": "slurm"}, "local, torchrun, dask"),
        ({"widths": ()}, "one or more"),
        ({"widths": (8, 0)}, "one or more"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "ranks", "said"),
    [
        ({}, 17, "17 ranks cannot share 16 lanes"),
        ({"reduction": "exact"}, 3, "3 ranks do not divide"),
        ({"reduction": "exact"}, 8, "8 ranks do not divide"),
        ({"reduction": "exact", "leaves": 3}, 1, "a power of two"),
        ({"reduction": "exact", "leaves": 32}, 1, "divides the 16 lanes"),
    ],
)
def test_ranks_that_cannot_share_a_run(settings: dict[str, Any], ranks: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**settings).check_ranks(ranks)
    TrainConfig().check_ranks(16)
    for fitting in (1, 2, 4):
        TrainConfig(reduction="exact").check_ranks(fitting)


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
