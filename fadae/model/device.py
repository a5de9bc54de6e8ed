"""Which device to compute on: the one place where a device's name becomes a device."""

from __future__ import annotations

import re

import torch

from fadae.errors import UsageError


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
    raise UsageError(f"no device {name!r} here; there: {known}{hint}. Or --device auto")
