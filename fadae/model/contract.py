"""What a model is: a torch module between frames and stored codes; a new one is one file.

A class meeting `Model` is found by its name: as `MODEL` of the file fadae/model/<name>.py, or by
an entry point of the group "fadae.models" in any installed package. Whatever else a model can do,
it says by meeting another protocol here: `ClosedForm`, `Completes`, `OwnLoss`, `Prepares`,
`Measures`, `Generates`.
"""

from __future__ import annotations

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from fadae.coding import EntropyModel
from fadae.errors import UsageError
from fadae.records import CodeSpec

ENTRY_POINTS = "fadae.models"
PREPARED_FRAMES = 256  # that a recording is prepared from, at most


@dataclass(frozen=True)
class FrameShape:
    """What a frame consists of: coefficients in all, and those of each band from low to high."""

    size: int
    band_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class StoredCodes:
    """The codes of n frames as a store keeps them."""

    values: Tensor  # [n, size] of the code's type
    lengths: Tensor | None = None  # [n] int64: bytes that count, where the code is variable


class ModelOptions(Protocol):
    """A frozen dataclass with a model's own options, defaults included.

    Its fields are int, float, bool, str, tuples of one of these, or None as well.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def create(self, shape: FrameShape, frames: int) -> Model:
        """Return a new model for such frames; `frames` is how many it will be fitted on.

        Raises UsageError where the options make no sense for them.
        """


@runtime_checkable
class Model(Protocol):
    """A torch.nn.Module that maps frames to stored codes and back, each frame by itself.

    values: [n, features] float32. Where `code.carries_scale` they are companded and divided by
    the frame's scale, so in [-1, 1]; otherwise they are raw coefficients. A model whose codes
    know no NaN never sees one: a frame that could not be read reaches it as silence.
    """

    Options: ClassVar[type[ModelOptions]]

    @property
    def code(self) -> CodeSpec:
        """What a code is."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the model that `config` describes, its tensors yet to be loaded."""

    def config(self) -> Mapping[str, object]:
        """Return what `from_config` needs, JSON-able."""

    def encode(self, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
        """Return the codes of values [n, features].

        prepared: [n] float64, of each frame's recording, where the model `Prepares`.
        """

    def decode(self, codes: StoredCodes) -> Tensor:
        """Return the values [n, features] that codes stand for.

        Raises CodeError, saying why, where they are no codes of this model.
        """

    def __call__(self, values: Tensor) -> Tensor:
        """Return what training minimises the loss of: decode(encode(values)) without `OwnLoss`."""

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


@runtime_checkable
class Completes(Protocol):
    """A model of which a part is computed from a sample of frames once the rest is learned.

    Until then it holds guesses, good enough to evaluate by.
    """

    def complete(self, sample: Sample) -> None:
        """Compute that part."""


@runtime_checkable
class OwnLoss(Protocol):
    """A model that is trained on a loss of its own, not on the mean squared error of its values.

    The best evaluation is then the one with the smallest loss.
    """

    def loss(self, output: Tensor, values: Tensor) -> Tensor:
        """Return the sum over n frames of their losses, of what `forward` made of the values."""


@runtime_checkable
class Prepares(Protocol):
    """A model whose encoder takes one number a recording: a quantiser's step, for instance.

    The number is found once a recording and kept with it, so that blocks of frames are encoded
    independently. Codes decode without it.
    """

    def prepare(self, values: Tensor) -> float:
        """Return the number, from frames [n, features] spread over the recording.

        They are all that sound among at most 256; none for a silent recording.
        """


@runtime_checkable
class ByteCoding(Protocol):
    """A model of rows of preset `critical` that files can be compressed with too."""

    code_bytes: int
    rate: Literal["average", "constant"]

    @property
    def entropy(self) -> EntropyModel:
        """Its probabilities, in whole numbers."""


@runtime_checkable
class Measures(Protocol):
    """A model with figures of its own, which evaluations report beside the errors."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Their names, units included: as summaries and metrics show them after "holdout_"."""

    def measure(self, values: Tensor, codes: StoredCodes) -> Tensor:
        """Return the figures [n, len(figures)] of n frames; evaluations report their means."""


@runtime_checkable
class Generates(Protocol):
    """A model with ways of its own to make codes that no recording has."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Their names."""

    def generate(self, method: str, frames: int, seed: int) -> StoredCodes:
        """Return the codes of consecutive frames, a pure function of the arguments."""


def model_names() -> list[str]:
    """Return the names of all models: fadae's own, then those of other packages."""
    own = sorted(_own_modules())
    return own + sorted(entry_points(group=ENTRY_POINTS).names - set(own))


def model_class(name: str) -> type[Model]:
    """Return the class of the model of a name; raises UsageError for an unknown one."""
    own = _own_modules()
    if name in own:
        made: type[Model] = import_module(own[name]).MODEL
        return made
    for found in entry_points(group=ENTRY_POINTS, name=name):
        return _plugged_in(found)
    raise UsageError(f"there is no model {name!r}; there are {', '.join(model_names())}")


def _own_modules() -> dict[str, str]:
    """Return fadae's own models: names, which are their files' unless these say NAME, and files."""
    files = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    found = {file: import_module(f"fadae.model.{file}") for file in files}
    return {
        getattr(module, "NAME", file): module.__name__
        for file, module in found.items()
        if hasattr(module, "MODEL")
    }


def _plugged_in(entry: EntryPoint) -> type[Model]:
    """Return what an entry point names; raises UsageError where it is no model."""
    package = entry.dist.name if entry.dist is not None else "a package"
    try:
        found: type[Model] = entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model {entry.name!r} of {package} cannot be loaded: {error}") from error
    needed = ("Options", "code", "from_config", "config", "encode", "decode", "forward")
    missing = [name for name in needed if not hasattr(found, name)]
    if missing:
        raise UsageError(
            f"model {entry.name!r} of {package} ({entry.value}) is not a model: it lacks "
            f"{', '.join(missing)}"
        )
    return found
