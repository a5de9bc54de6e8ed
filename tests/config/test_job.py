"""A configuration that cannot be meant is refused with what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from fadae.config.job import (
    IngestConfig,
    JobConfig,
    TrainConfig,
    WhichFailures,
    changed_settings,
    load_config,
)
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
    "rules": 1,
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
    "cache_gb": "0",
    "on_growth": "refuse",
    "restarts": 0,
    "timeout_seconds": 8.0,
    "shutdown_seconds": 7.0,
    "track": ("mlflow", "wandb"),
    "fresh": True,
}
# What a run is bound to; the rest may change from one start to the next.
RECIPE = set(list(OTHER)[1 : list(OTHER).index("ranks")])


def with_one(name: str, value: Any) -> TrainConfig:
    settings: dict[str, Any] = {name: value}
    return TrainConfig(**settings)


def test_every_field_is_tried() -> None:
    defaults = dataclasses.asdict(TrainConfig())
    assert set(OTHER) == set(defaults) - {"model_option"}  # ends among the options
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"run": "../other"}, "letters, digits"),
        ({"run": "original"}, "source of every recording"),
        ({"run": "transform"}, "source of every recording"),
        ({"learning_rate": math.nan}, "--lr nan: above 0"),
        ({"holdout": math.nan}, "--holdout nan: at least 0"),
        ({"epochs": math.nan}, "expected a whole number"),
        ({"epochs": 0}, "--epochs 0: at least 1"),
        ({"max_steps": 0}, "--max-steps 0: at least 1"),
        ({"batch_size": 0}, "--batch-size 0: at least 1"),
        ({"learning_rate": 0.0}, "--lr 0.0: above 0"),
        ({"warmup_steps": -1}, "--warmup-steps -1: at least 0"),
        ({"weight_decay": -0.1}, "--weight-decay -0.1: at least 0"),
        ({"clip_norm": 0.0}, "--clip-norm 0.0: above 0"),
        ({"holdout": 1.0}, "--holdout 1.0: at least 0 and below 1"),
        ({"max_frames": 0}, "--max-frames 0: at least 1"),
        ({"seed": -1}, "--seed -1: at least 0"),
        ({"schedule": "linear"}, "--schedule linear: one of constant, cosine"),
        ({"precision": "fp16"}, "--precision fp16: one of auto, fp32, bf16"),
        ({"reduction": "slow"}, "--reduction slow: one of fast, exact"),
        ({"launcher": "mpi"}, "--launcher mpi: one of auto, local, torchrun, dask"),
        ({"micro_batch": 0}, "--micro-batch 0: at least 1"),
        ({"evaluate_epochs": 0}, "--evaluate-epochs 0: at least 1"),
        ({"early_stopping": 0}, "--early-stopping 0: at least 1"),
        ({"ranks": 0}, "--ranks 0: at least 1"),
        ({"keep": 0}, "--keep 0: at least 1"),
        ({"cache_gb": "-1"}, "--cache-gb -1: auto, or a number"),
        ({"cache_gb": "all"}, "--cache-gb all: auto, or a number"),
        ({"on_growth": "shrink"}, "--on-growth shrink: one of keep, continue, new, refuse"),
        ({"restarts": -1}, "--restarts -1: at least 0"),
        ({"timeout_seconds": 0.0}, "--timeout 0.0: above 0"),
        ({"checkpoint_seconds": 0.0}, "--checkpoint-seconds 0.0: above 0"),
        ({"checkpoint_steps": 0}, "--checkpoint-steps 0: at least 1"),
        ({"widths": ()}, "at least one width"),
        ({"widths": (8, 0)}, "--widths 0: at least 1"),
        ({"model_option": ("keep",)}, "NAME=VALUE"),
        ({"leaves": 0}, "leaves, lanes"),
        ({"lanes": 0}, "leaves, lanes"),
        ({"window_rows": 0}, "leaves, lanes"),
        ({"threads": 0}, "leaves, lanes"),
        ({"log_steps": 0}, "leaves, lanes"),
        ({"rules": 9}, "a newer fadae began the run"),
        ({"epochs": 1.5}, "expected a whole number"),
        ({"model": 3}, "expected text"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        TrainConfig(**settings)


def test_the_defaults_are_the_recipe_of_2017() -> None:
    assert load_config(recipe="seed") == JobConfig()


def test_a_file_wins_over_the_recipe_it_names(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('recipe = "seed"\n[train]\nwidths = [32, 8]\n[ingest]\nitems = ["a", "b"]\n')
    config = load_config(path)
    assert config.train.widths == (32, 8) and config.train.epochs == 100
    assert config.ingest.items == ("a", "b")


def test_limits_and_retries_are_those_asked_for() -> None:
    settings = IngestConfig(max_hours=1, max_megabytes=2, retry="all", limit=3).settings(22050)
    assert settings.limits.decoded_seconds == 3600 and settings.limits.file_bytes == 2_000_000
    assert settings.retry is WhichFailures.ALL
    assert (settings.limit, settings.rate_hz) == (3, 22050)


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


def test_what_is_left_open_is_as_the_run_has_it() -> None:
    begun = TrainConfig(rules=1, precision="fp32").recipe()
    assert "rules" not in begun, "as runs were recorded before there were rules"
    assert TrainConfig().continuing(begun) == TrainConfig(rules=1, precision="fp32")
    assert TrainConfig(precision="bf16").continuing(begun).precision == "bf16"  # asked: refused
    assert TrainConfig(rules=1).continuing(TrainConfig().recipe()).rules == TrainConfig().rules


def test_widths_are_short_for_the_option_of_that_name() -> None:
    assert TrainConfig().model_options() == {}
    assert TrainConfig(widths=(32, 8)).model_options() == {"widths": [32, 8]}
    both = TrainConfig(widths=(32, 8), options={"widths": [16]})
    assert both.model_options() == {"widths": [16]}


def test_the_recipe_of_byte_codes_is_that_of_preset_and_model() -> None:
    found = load_config(recipe="music")
    assert found.extract.preset == "critical" and found.train.model == "bytes"
    assert found.train.model_options() == {"code_bytes": 256, "rate": "average"}
