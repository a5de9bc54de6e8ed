"""Byte codes as models: what `tables` and `bytes` share, and `tables`, counted in closed form.

A frame is a row of preset `critical`; its code is the bytes that `fadae.coding` makes of it, which
decode alone. Coding itself is in whole numbers and in NumPy, the same on every device.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fadae.coding import (
    CAP,
    LEAST_BYTES,
    MOST_BYTES,
    ByteCoder,
    EntropyModel,
    Rate,
    Statistics,
    Step,
    Tables,
    draw,
    encode_constant,
    encode_with_steps,
    find_step,
    own_steps,
    pack,
    statistics_of,
    tables_of,
    unpack,
)
from fadae.errors import UsageError
from fadae.model.contract import FrameShape, ModelOptions, Sample, StoredCodes
from fadae.records import CodeSpec

Array = NDArray[Any]

BLOCKS = 3  # of a row of preset `critical`
_GENERATED_STEP = 112  # of random rows: about that of music at 18 dB
_KINDS: dict[str, type[np.generic]] = {  # of the arrays that torch keeps as int32
    "distributions": np.uint16,
    "centroids": np.int16,
    "bandwidth": np.uint16,
    "count": np.uint16,
    "blocks": np.int32,
}


@dataclass(frozen=True)
class ByteOptions:
    """How many bytes a frame's code takes: on average over a recording, or at most."""

    code_bytes: int = 256
    rate: str = "average"

    def __post_init__(self) -> None:
        """Refuse what no code can be."""
        if not LEAST_BYTES <= self.code_bytes <= MOST_BYTES:
            raise UsageError(f"code_bytes {self.code_bytes}: from {LEAST_BYTES} to {MOST_BYTES}")
        if self.rate not in ("average", "constant"):
            raise UsageError(f"rate {self.rate!r}: average or constant")

    def ensure_fits(self, shape: FrameShape, name: str) -> None:
        """Raise UsageError unless frames are rows of three blocks, each coefficient once."""
        if shape.size % BLOCKS or any(size != BLOCKS for size in shape.band_sizes):
            raise UsageError(
                f"model {name!r} codes the {BLOCKS} blocks of a frame of preset critical; these "
                f"frames, of {shape.size} coefficients, hold the sound more than once: extract "
                "with --preset critical"
            )


class ByteModel(nn.Module):
    """Codes of variable length by an entropy model; a subclass says by which."""

    figures = ("frame_snr_db",)
    methods = ("random", "walk")

    def __init__(self, features: int, code_bytes: int, rate: str) -> None:
        """Take the coefficients of a frame, and what its code may take."""
        super().__init__()
        self.features, self.code_bytes = features, code_bytes
        self.rate: Rate = "constant" if rate == "constant" else "average"

    @property
    @abstractmethod
    def entropy(self) -> EntropyModel:
        """The probabilities, in whole numbers."""

    def config(self) -> dict[str, object]:
        """Return what `from_config` needs."""
        return {"features": self.features, "code_bytes": self.code_bytes, "rate": self.rate}

    @property
    def code(self) -> CodeSpec:
        """Bytes, at most N at a constant rate, four times as many at an average one."""
        return CodeSpec(
            self.code_bytes * (CAP if self.rate == "average" else 1),
            "uint8",
            fill=0,
            meaning="quantised coefficients, entropy-coded",
            variable=True,
            carries_scale=False,
            interpolates=False,
        )

    def encode(self, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
        """Return the codes of coefficients [n, features].

        prepared: [n], the step of each one's recording: an index, and the share of frames that
        take the next one. Which do is drawn from the frame itself, so that it is coded alone.
        """
        coder, c = self._coder(), _numpy(values)
        if self.rate == "constant" or not len(c):
            codes = encode_constant(coder, c, self.code_bytes) if len(c) else []
        else:
            if prepared is None:
                raise ValueError("frames at an average rate are encoded with their prepared step")
            wanted = prepared.cpu().numpy()
            drawn = np.array([zlib.crc32(row.tobytes()) for row in c]) / 2**32
            index = (np.floor(wanted) + (drawn < wanted % 1)).astype(np.int64)
            codes = encode_with_steps(coder, c, index, self.code.size)
        packed, lengths = pack(codes, self.code.size)
        return StoredCodes(torch.from_numpy(packed), torch.from_numpy(lengths.astype(np.int64)))

    def decode(self, codes: StoredCodes) -> Tensor:
        """Return the coefficients [n, features] of codes; raises CodeError for no codes of it."""
        assert codes.lengths is not None
        rows = unpack(codes.values.cpu().numpy(), codes.lengths.cpu().numpy())
        return torch.from_numpy(self._coder().decode(rows))

    def measure(self, values: Tensor, codes: StoredCodes) -> Tensor:
        """Return the signal-to-noise ratio of each frame in dB, [n, 1], at most 120."""
        error = (self.decode(codes).to(values.device) - values).double().square().sum(dim=1)
        energy = values.double().square().sum(dim=1)
        ratio = energy.clamp(min=1e-30) / error.clamp(min=1e-30)
        return (10 * ratio.log10()).clamp(-120, 120)[:, None]

    def generate(self, method: str, frames: int, seed: int) -> StoredCodes:
        """Return codes of rows that no recording has.

        "random": of random bytes, each row by itself; what they decode to is what the model holds
        for music. "walk": each row drawn from the model given the row before; see
        `fadae.coding.drawing`.
        """
        rows = self._random if method == "random" else self._walk
        packed, lengths = pack(rows(frames, seed), self.code.size)
        return StoredCodes(torch.from_numpy(packed), torch.from_numpy(lengths.astype(np.int64)))

    def _random(self, frames: int, seed: int) -> list[bytes]:
        coder, random = self._coder(), np.random.default_rng(seed)
        rows = [bytes([_GENERATED_STEP]) + random.bytes(self.code_bytes - 1) for _ in range(frames)]
        c = np.clip(coder.decode(rows, strict=False), -1, 1)
        index = np.full(frames, _GENERATED_STEP)
        return encode_with_steps(coder, c, index, self.code.size)

    def _walk(self, frames: int, seed: int) -> list[bytes]:
        coder, codes = self._coder(), list[bytes]()
        for q in draw(self.entropy, self.features, frames, seed):
            index = np.full(len(q), _GENERATED_STEP)
            draft = coder.draft_of(q, index.astype(np.uint8))
            made = coder.codes(draft)
            over = [row for row, code in enumerate(made) if len(code) > self.code.size]
            c = coder.reconstruct(draft)[over]
            coarser = encode_with_steps(coder, c, index[over], self.code.size)
            for row, code in zip(over, coarser, strict=True):
                made[row] = code
            codes += made
        return codes

    def _coder(self) -> ByteCoder:
        return ByteCoder(self.entropy, self.features)


class PreparesStep:
    """At an average rate: one step a recording, as a number of which the fraction is a share."""

    features: int
    code_bytes: int
    entropy: EntropyModel

    def prepare(self, values: Tensor) -> float:
        """Return the step with which frames [n, features] take `code_bytes` on average."""
        step = Step(0, 0.0)
        if len(values):
            coder = ByteCoder(self.entropy, self.features)
            step = find_step(coder, _numpy(values), self.code_bytes)
        return step.index + min(step.share, 1 - 2**-16)


@dataclass(frozen=True)
class TablesOptions(ByteOptions):
    """The options of `tables`."""

    def create(self, shape: FrameShape, frames: int) -> TablesModel:
        """Return tables that know nothing yet."""
        self.ensure_fits(shape, "tables")
        return TablesModel.made(shape.size, self.code_bytes, self.rate)


class TablesModel(ByteModel):
    """Distributions counted by phase, frequency, density and neighbours, in one pass."""

    Options: ClassVar[type[ModelOptions]] = TablesOptions

    def __init__(self, features: int, code_bytes: int, rate: str) -> None:
        """Start with tables that know nothing."""
        super().__init__(features, code_bytes, rate)
        for name, array in Tables.empty(BLOCKS).tensors().items():
            self.register_buffer(name, stored(array))

    @classmethod
    def made(cls, features: int, code_bytes: int, rate: str) -> TablesModel:
        """Return the model of a rate: only at an average one does it prepare a step."""
        kind = AverageTables if rate == "average" else TablesModel
        return kind(features, code_bytes, rate)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TablesModel:
        """Return the model that `config` describes."""
        return cls.made(config["features"], config["code_bytes"], config["rate"])

    @property
    def entropy(self) -> EntropyModel:
        """The tables."""
        return Tables(as_kept(dict(self.named_buffers())))

    def fit(self, sample: Sample) -> None:
        """Count a sample at steps around each frame's own."""
        made = tables_of(count_over(sample, Tables.empty(BLOCKS)), BLOCKS)
        for name, array in made.tensors().items():
            self.get_buffer(name).copy_(stored(array))

    def forward(self, values: Tensor) -> Tensor:
        """Return decode(encode(values)), these frames being taken for a recording."""
        prepared = None
        if isinstance(self, AverageTables):
            prepared = torch.full((len(values),), self.prepare(values), dtype=torch.float64)
        return self.decode(self.encode(values, prepared))


class AverageTables(PreparesStep, TablesModel):
    """`tables` at an average rate."""


def count_over(sample: Sample, model: EntropyModel) -> Statistics:
    """Return what a sample of frames counts for a model, at steps around each frame's own."""
    none = Statistics.none(len(model.distributions))

    def counts(values: Tensor) -> Tensor:
        c = _numpy(values)
        statistics = statistics_of(model, c, own_steps(c))
        flat = np.concatenate([array.ravel() for array in statistics.arrays()])
        return torch.from_numpy(flat).to(values.device)

    total = sample.total(counts).cpu().numpy()
    ends = np.cumsum([array.size for array in none.arrays()])
    parts = np.split(total, ends[:-1])
    shapes = [array.shape for array in none.arrays()]
    return Statistics(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def stored(array: Array) -> Tensor:
    """Return an array of whole numbers as torch keeps it: gloo and NCCL know no 16 bits."""
    kept = array if array.dtype in (np.int8, np.uint8) else array.astype(np.int32)
    return torch.from_numpy(kept.copy())


def as_kept(tensors: dict[str, Tensor]) -> dict[str, Array]:
    """Return what `stored` made tensors of."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return {name: array.astype(_KINDS.get(name, array.dtype)) for name, array in arrays.items()}


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)


MODEL = TablesModel
