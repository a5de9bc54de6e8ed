"""Small trainings that tests ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from fadae.config.job import TrainConfig
from fadae.store.location import Location
from fadae.training.ranks import join_ranks
from fadae.training.trainer import train_rank

# 70 steps, saved often.
LONG: dict[str, Any] = {"epochs": 10, "checkpoint_steps": 5, "evaluate_epochs": 5}


def small(**settings: Any) -> TrainConfig:
    """A config of a model that is small and learns fast; one rank unless told otherwise."""
    chosen: dict[str, Any] = {
        "widths": (32, 8),
        "epochs": 2,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "ranks": 1,
        "log_steps": 5,
    }
    return TrainConfig(**chosen | settings)


def stopping_after(steps: int) -> Callable[[], bool]:
    """A stop flag that goes up after it was asked so many times."""
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > steps

    return stopping


def train_until(location: Location, config: TrainConfig, stopping: Callable[[], bool]) -> Any:
    """Train as one rank here, with a stop flag of the test's own."""
    with join_ranks(0, 1, None, "cpu", 60) as ranks:
        return train_rank(location, config, ranks, stopping)


def model_hash(location: Location, run: str = "default") -> str:
    """The SHA-256 of a run's model file."""
    return hashlib.sha256(location.read_bytes(f"runs/{run}/model.safetensors")).hexdigest()


def metrics_of(location: Location, run: str = "default") -> list[dict[str, Any]]:
    """The lines of a run's metrics."""
    text = location.read_bytes(f"runs/{run}/metrics.jsonl").decode()
    return [json.loads(line) for line in text.splitlines()]
