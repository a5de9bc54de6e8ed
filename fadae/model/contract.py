"""What a model is: a torch module between companded frames and codes; a new one is one file.

The file fadae/model/<name>.py defines a class meeting `Model` and names it `MODEL`; `--model
<name>` then finds it. One that is not learned step by step also meets `ClosedForm`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

import fadae.model
from fadae.errors import UsageError


@runtime_checkable
class Model(Protocol):
    """A torch.nn.Module that maps frames to codes and back.

    values: [n, features] float32 in [-1, 1], companded and scaled; codes: [n, code_size].
    """

    @property
    def code_size(self) -> int:
        """Dimensions of a code."""

    @classmethod
    def create(cls, features: int, widths: Sequence[int], frames: int) -> Self:
        """Return a new model; `widths[-1]` is the code's size, `frames` how many it will see."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the model that `config` describes, its tensors yet to be loaded."""

    def config(self) -> dict[str, Any]:
        """Return what `from_config` needs, JSON-able."""

    def encode(self, values: Tensor) -> Tensor:
        """Return codes [n, code_size] of values [n, features]."""

    def decode(self, codes: Tensor) -> Tensor:
        """Return values [n, features] in [-1, 1] of codes [n, code_size]."""

    def __call__(self, values: Tensor) -> Tensor:
        """Return decode(encode(values))."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors by name, as every torch.nn.Module does."""

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> object:
        """Take tensors by name, as every torch.nn.Module does."""

    def to(self, device: torch.device) -> Self:
        """Move to a device, as every torch.nn.Module does."""


class Sample(Protocol):
    """Frames spread over the ranks, seen only through sums over all of them."""

    @property
    def frames(self) -> int:
        """How many frames."""

    @property
    def seed(self) -> int:
        """The run's seed."""

    def total(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the sum of function(values [n, features]) over all parts of the sample."""


@runtime_checkable
class ClosedForm(Protocol):
    """A model computed from sums over a sample of frames instead of learned step by step."""

    def fit(self, sample: Sample) -> None:
        """Compute the model."""


def model_names() -> list[str]:
    """Return the names of all models: the files that define MODEL."""
    files = [module.name for module in pkgutil.iter_modules(fadae.model.__path__)]
    return [name for name in files if hasattr(import_module(f"fadae.model.{name}"), "MODEL")]


def model_class(name: str) -> type[Model]:
    """Return the class of the model of a name; raises UsageError for an unknown one."""
    known = model_names()
    if name not in known:
        raise UsageError(f"there is no model {name!r}; there are {', '.join(known)}")
    found: type[Model] = import_module(f"fadae.model.{name}").MODEL
    return found
