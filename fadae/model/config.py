"""Which model a run trains, with which options and on which device, each name checked."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fadae.errors import UsageError, unknown
from fadae.model.contract import FrameShape, Model, ModelOptions, model_class


@dataclass(frozen=True)
class ModelConfig:
    """A model's name and options, as they were given: JSON-able values by name."""

    name: str
    options: Mapping[str, object]

    def create(self, shape: FrameShape, frames: int) -> Model:
        """Return a new model; raises UsageError on options that it does not know or take."""
        return self.checked().create(shape, frames)

    def checked(self) -> ModelOptions:
        """Return the options as the model's own dataclass.

        >>> ModelConfig("dense", {"widths": [32, 8]}).checked()
        DenseOptions(widths=(32, 8))
        >>> ModelConfig("dense", {"width": 8}).checked()
        Traceback (most recent call last):
        fadae.errors.UnknownNameError: no option of model 'dense' 'width'; nearest: 'widths'
        """
        found = model_class(self.name).Options
        kinds = typing.get_type_hints(found)
        names = [field.name for field in dataclasses.fields(found)]
        values = {}
        for name, value in self.options.items():
            if name not in names:
                raise unknown(f"option of model {self.name!r}", name, names)
            try:
                values[name] = _as(value, kinds[name])
            except TypeError:
                kind = getattr(kinds[name], "__name__", str(kinds[name]))
                raise UsageError(
                    f"option {name} of model {self.name!r} is of type {kind}, not {value!r}"
                ) from None
        return found(**values)


def _as(value: object, kind: object) -> object:
    """Return a JSON value as a field's type has it; raises TypeError where it is another one.

    >>> _as([1, 2], tuple[int, ...]), _as(3, float), _as(None, int | None)
    ((1, 2), 3.0, None)
    """
    if isinstance(kind, types.UnionType):
        for one in typing.get_args(kind):
            try:
                return _as(value, one)
            except TypeError:
                continue
    elif typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_as(one, typing.get_args(kind)[0]) for one in value)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise TypeError


def gpus_of(name: str) -> int:
    """Return how many GPUs of this machine a device's name stands for.

    >>> gpus_of("cpu"), gpus_of("cuda:1")
    (0, 1)
    """
    if name == "cpu":
        return 0
    return torch.cuda.device_count() if name in ("auto", "cuda") else 1


def resolve_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device of a name: "cpu", "cuda", "cuda:1" ..., or "auto".

    "auto" is CUDA where there is any, else the CPU. `local_rank` spreads the processes of one
    machine over its GPUs where the name does not say which. Raises UsageError, naming what is
    there, for a device that is not.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    there = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if name in ("auto", "cuda") and there:
        return torch.device("cuda", local_rank % there)
    if re.fullmatch(r"cuda:\d+", name) and int(name[5:]) < there:
        return torch.device(name)
    known = ", ".join(["cpu", *(f"cuda:{index}" for index in range(there))])
    hint = "" if torch.version.cuda or there else "; this PyTorch is built without CUDA"
    raise UsageError(f"no device {name!r}; available: {known}{hint}. Or --device auto")
