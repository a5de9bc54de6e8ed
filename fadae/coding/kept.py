"""Entropy models as files: safetensors, nothing but named arrays of whole numbers."""

from __future__ import annotations

import functools
from importlib import resources

import safetensors
import safetensors.numpy

from fadae.coding.errors import CodeError
from fadae.coding.model import EntropyModel, fingerprint
from fadae.coding.network import Network
from fadae.coding.tables import Tables

_PACKAGED = "music.safetensors"


def to_bytes(model: EntropyModel) -> bytes:
    """Return the file of a model, a pure function of it."""
    kept: bytes = safetensors.numpy.save(model.tensors())
    return kept


def from_bytes(kept: bytes) -> EntropyModel:
    """Return the model of a file's bytes; raises CodeError where they are not one."""
    try:
        tensors = safetensors.numpy.load(kept)
        return (Network if "hidden" in tensors else Tables)(tensors)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CodeError(f"not an entropy model: {error}") from error


@functools.cache
def packaged() -> EntropyModel:
    """Return the model that comes with fadae."""
    return from_bytes(resources.files("fadae.coding").joinpath(_PACKAGED).read_bytes())


def identify(model: EntropyModel) -> bytes:
    """Return the 8 bytes by which files know their model."""
    return fingerprint(model.name, model.tensors())
