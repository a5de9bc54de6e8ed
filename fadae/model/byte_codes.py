"""Model `bytes`: the entropy model `network`, trained with its rounding in the forward pass.

Rounding has no useful gradient, so the backward pass pretends it were not there (straight
through). The 64 distributions are learned with the weights; between two of them the code length
is interpolated, so that the network's one output has a gradient. What counts tell best, the
centroids and the frequencies of side information, is counted over a sample at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fadae.coding import (
    ALPHABET,
    BANDWIDTHS,
    CENTROIDS,
    CLASSES,
    COUNTS,
    ESCAPE,
    ESCAPE_BITS,
    INDICES,
    NEAR,
    NEIGHBOURS,
    PRESENT,
    ROUNDING,
    SIDE_INPUTS,
    STEPS,
    Context,
    EntropyModel,
    Network,
    Phase,
    Side,
    Statistics,
    frequency_classes,
    grid,
    own_steps,
    phases,
    quantise,
    to_frequencies,
)
from fadae.model.contract import FrameShape, ModelOptions, Sample
from fadae.model.tables import (
    BLOCKS,
    ByteModel,
    ByteOptions,
    PreparesStep,
    as_kept,
    count_over,
    stored,
)

Array = npt.NDArray[Any]

NAME = "bytes"  # of the model; a file of that name would hide the builtin
HIDDEN = 24
EMBEDDED = 8
OFFSETS = (-42, 34)  # of a row's step: about 1,200 to 50 bytes
_SOFT_BYTES = 25.0
_WHOLE = "whole_"  # before the names of whole numbers among a model's tensors
_SCALES = (0.08, 14.0)  # of the geometric distributions that training starts from


class _Layers(NamedTuple):
    """A phase's rounded weights, with h hidden values: what one symbol's position takes."""

    neighbours: Tensor  # [h, inputs]
    frequency: Tensor  # [h, CLASSES], the first bias included
    side: Tensor  # [h, SIDE_INPUTS]
    hidden: Tensor  # [h, h]
    bias_2: Tensor  # [h, 1]
    output: Tensor  # [1, h]
    bias_3: Tensor  # []


class LearnedNetwork(nn.Module):
    """The network while it is being trained: real weights, used as if they were rounded."""

    def __init__(self, blocks: int, hidden: int = HIDDEN, seed: int = 0) -> None:
        """Start from small random weights, all drawn from `seed`."""
        super().__init__()
        self.blocks = blocks
        count = len(phases(blocks))
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        self.neighbours = drawn(count, hidden, NEIGHBOURS + NEAR, scale=0.12)
        self.frequency = drawn(count, hidden, EMBEDDED, scale=0.15)
        self.side = drawn(count, hidden, SIDE_INPUTS, scale=0.1)
        self.hidden = drawn(count, hidden, hidden, scale=0.25)
        self.output = drawn(count, hidden, scale=0.25)
        self.bias_1 = nn.Parameter(torch.zeros(count, hidden))
        self.bias_2 = nn.Parameter(torch.zeros(count, hidden))
        self.bias_3 = nn.Parameter(torch.full((count,), 6.0))
        self.embedding = nn.Parameter(3.5 + torch.randn(CLASSES, EMBEDDED, generator=generator))
        self.logits = nn.Parameter(torch.from_numpy(_geometric()).float())

    def bits(self, q: npt.NDArray[np.int32]) -> Tensor:
        """Return about how many bits each row of whole numbers [F, size] takes, [F].

        Without its side information.
        """
        cells = grid(q, self.blocks)
        side = Side.of(cells)
        stops = side.stop
        most = int(stops.max(initial=0))
        context = Context.of(cells)
        row = torch.from_numpy(side.inputs()).to(self.logits.device)
        lengths = -torch.log_softmax(self.logits, dim=1) / math.log(2)
        symbols = np.minimum(np.abs(cells), ESCAPE)
        total = _plain_bits(q).to(row.device)
        for phase, layers in zip(phases(self.blocks), self._rounded_layers(), strict=True):
            if phase.count(most) == 0:
                continue
            position = self._position(phase, most, context, row, layers)
            bins_of = phase.bins(most)
            coded = np.arange(most)[bins_of][None, :] < stops[:, None]
            bits = _interpolated(lengths, position, symbols[phase.block][:, bins_of])
            total = total + (bits * torch.from_numpy(coded).to(row.device)).sum(dim=1)
        return total

    def _rounded_layers(self) -> Iterator[_Layers]:
        """Yield each phase's weights as the whole numbers have them.

        Those of inputs are of levels, which are in sixteenths.
        """
        embedding = _rounded(self.embedding.clamp(min=0), 16, 127)
        frequency = _rounded(self.frequency, 64, 127) @ embedding.T
        frequency = frequency + _rounded(self.bias_1, 1024)[:, :, None]
        stacked = (
            _rounded(self.neighbours, 64, 127) / 16,
            frequency,
            _rounded(self.side, 64, 127) / 16,
            _rounded(self.hidden, 64, 127),
            _rounded(self.bias_2, 1024)[:, :, None],
            _rounded(self.output, 64, 127)[:, None],
            _rounded(self.bias_3, 1024),
        )
        # Unbound all at once: their gradients are put together once, not phase by phase.
        return map(_Layers._make, zip(*(each.unbind() for each in stacked), strict=True))

    def _position(
        self, phase: Phase, most: int, context: Context, row: Tensor, layers: _Layers
    ) -> Tensor:
        """Return where between the distributions each symbol of a phase lies, [F, n]."""
        rows, n = row.shape[1], phase.count(most)
        inputs = np.zeros((NEIGHBOURS + NEAR, rows, n), dtype=np.float32)
        context.neighbours(phase, most, inputs[:NEIGHBOURS])
        np.multiply(inputs[:NEAR] > 0, np.float32(PRESENT), out=inputs[NEIGHBOURS:])
        x = torch.from_numpy(inputs.reshape(len(inputs), -1)).to(row.device)
        classes = torch.from_numpy(frequency_classes(phase.bins(most), self.blocks)).to(row.device)
        h = (layers.neighbours @ x).reshape(-1, rows, n)
        h = h + (layers.side @ row)[:, :, None] + layers.frequency[:, None, classes]
        h = _activated(h).reshape(-1, rows * n)
        h = _activated(layers.hidden @ h + layers.bias_2)
        output = layers.output @ h + layers.bias_3
        return (output * 4).clamp(0, INDICES - 1).reshape(rows, n)

    def learned(self) -> dict[str, Array]:
        """Return the arrays of a `Network` that are learned, by name."""
        whole = {
            "neighbours": _whole(self.neighbours, 64),
            "frequency": _whole(self.frequency, 64),
            "side": _whole(self.side, 64),
            "hidden": _whole(self.hidden, 64),
            "output": _whole(self.output, 64),
            "embedding": _whole(self.embedding.clamp(min=0), 16).astype(np.uint8),
        }
        biases = {
            key: np.rint(getattr(self, key).detach().double().cpu().numpy() * 1024).astype(np.int32)
            for key in ("bias_1", "bias_2", "bias_3")
        }
        return {
            **whole,
            **biases,
            "blocks": np.array([self.blocks], dtype=np.int32),
            "distributions": to_frequencies(_shares(self.logits)),
        }

    def network(self, statistics: Statistics | None = None) -> Network:
        """Return the network in whole numbers, with what was counted, or with guesses."""
        return Network(self.learned() | counted(statistics))


def counted(statistics: Statistics | None = None) -> dict[str, Array]:
    """Return the arrays of a `Network` that are counted; without statistics, rough guesses."""
    if statistics is not None:
        return {"centroids": statistics.centroids(), **statistics.side_tables()}
    bins = 8 * 2.0 ** (np.arange(BANDWIDTHS) / 8)
    away = np.arange(COUNTS) - 3 * np.log2(1 + 0.3 * bins)[:, None]  # a tenth of all symbols
    return {
        "centroids": np.zeros((INDICES, CENTROIDS), dtype=np.int16),
        "bandwidth": to_frequencies(np.ones(BANDWIDTHS)),
        "count": to_frequencies(np.exp(-(away**2) / (2 * 6.0**2))),
    }


@dataclass(frozen=True)
class BytesOptions(ByteOptions):
    """The options of `bytes`."""

    def create(self, shape: FrameShape, frames: int) -> BytesModel:
        """Return a network of drawn weights."""
        self.ensure_fits(shape, NAME)
        seed = int(torch.randint(2**31, ()))
        return BytesModel.made(shape.size, self.code_bytes, self.rate, seed)


class BytesModel(ByteModel):
    """The network, and its whole numbers as they were when it was last coded with or saved.

    The saved whole numbers are what codes: no other machine has to round the weights again. Once
    the model learns, they follow its weights.
    """

    Options: ClassVar[type[ModelOptions]] = BytesOptions

    def __init__(self, features: int, code_bytes: int, rate: str, seed: int = 0) -> None:
        """Start with a network of drawn weights."""
        super().__init__(features, code_bytes, rate)
        self.network = LearnedNetwork(BLOCKS, seed=seed)
        for name, array in self.network.network().tensors().items():
            self.register_buffer(_WHOLE + name, stored(array))
        self._learns = False
        self.register_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            lambda module, *_: module._freeze()
        )
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
            lambda module, _: setattr(module, "_learns", False)
        )

    @classmethod
    def made(cls, features: int, code_bytes: int, rate: str, seed: int = 0) -> BytesModel:
        """Return the model of a rate: only at an average one does it prepare a step."""
        kind = AverageBytes if rate == "average" else BytesModel
        return kind(features, code_bytes, rate, seed)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BytesModel:
        """Return the model that `config` describes."""
        return cls.made(config["features"], config["code_bytes"], config["rate"])

    @property
    def entropy(self) -> EntropyModel:
        """The network in whole numbers."""
        self._freeze()
        whole = dict(self.named_buffers(recurse=False))
        return Network(as_kept({n.removeprefix(_WHOLE): t for n, t in whole.items()}))

    def complete(self, sample: Sample) -> None:
        """Count centroids and side information over a sample, for the network as it is."""
        for name, array in counted(count_over(sample, self.entropy)).items():
            self.get_buffer(_WHOLE + name).copy_(stored(array))

    def forward(self, values: Tensor) -> Tensor:
        """Return the bits of frames [n, features], [n].

        While gradients are wanted, at random steps around each frame's own; else at its own.
        """
        c = np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)
        steps, rounding = own_steps(c).astype(np.int64), ROUNDING
        if torch.is_grad_enabled():
            self._learns = True
            steps += torch.randint(*OFFSETS, (len(c),)).numpy()
            rounding = 0.3 + 0.12 * float(torch.rand(()))
        index = np.clip(steps, 0, STEPS - 1).astype(np.uint8)
        bits = self.network.bits(quantise(c, index, rounding=rounding))
        # Where no symbol is coded, the parameters have gradients nonetheless.
        return bits + sum((p.sum() * 0 for p in self.parameters()), torch.zeros_like(bits))

    def loss(self, output: Tensor, values: Tensor) -> Tensor:
        """Return the sum over frames of log2(25 + bytes).

        A saving of a hundredth counts the same in loud frames and in soft ones.
        """
        return torch.log2(_SOFT_BYTES + output / 8).sum()

    def _freeze(self) -> None:
        """Round the weights to whole numbers, where they may have changed since."""
        if self._learns:
            for name, array in self.network.learned().items():
                self.get_buffer(_WHOLE + name).copy_(stored(array))


class AverageBytes(PreparesStep, BytesModel):
    """`bytes` at an average rate."""


def _shares(logits: Tensor) -> npt.NDArray[np.float64]:
    return torch.softmax(logits.detach().double().cpu(), dim=-1).numpy()


def _geometric() -> npt.NDArray[np.float64]:
    """Return the logarithms of geometric distributions [INDICES, ALPHABET], from narrow to wide."""
    ratio = np.exp(-1 / np.geomspace(*_SCALES, INDICES))[:, None]
    shares = (1 - ratio) * ratio ** np.arange(ESCAPE)
    beyond = ratio**ESCAPE
    return np.asarray(np.log(np.concatenate([shares, beyond], axis=1) + 1e-6))


def _round(x: Tensor) -> Tensor:
    return x + (torch.round(x) - x).detach()


def _rounded(x: Tensor, parts: int, most: int | None = None) -> Tensor:
    """Return x rounded to 1/parts, at most `most` of them; the gradient is that of x."""
    whole = _round(x * parts)
    return (whole if most is None else whole.clamp(-most, most)) / parts


class _Activation(torch.autograd.Function):
    """Between 0 and 127/16 rounded to sixteenths; the gradient is that of the bounds alone."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        whole = torch.round(h * 16)
        ctx.save_for_backward((h > 0) & (whole <= 127))
        return whole.clamp_(0, 127).div_(16)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        passes: Tensor = ctx.saved_tensors[0]
        return gradient * passes


def _activated(h: Tensor) -> Tensor:
    activated: Tensor = _Activation.apply(h)  # type: ignore[no-untyped-call]
    return activated


def _whole(x: Tensor, parts: int) -> Array:
    scaled = np.rint(x.detach().double().cpu().numpy() * parts)
    return np.asarray(np.clip(scaled, -127, 127), dtype=np.int8)


def _interpolated(lengths: Tensor, position: Tensor, symbols: npt.NDArray[np.int32]) -> Tensor:
    """Return bits [F, n] of symbols [F, n], between the two nearest distributions' lengths."""
    below = position.detach().floor().clamp(max=INDICES - 2).long()
    share = position - below
    at = below * ALPHABET + torch.from_numpy(symbols).to(below.device)
    flat = lengths.reshape(-1)
    return flat[at] * (1 - share) + flat[at + ALPHABET] * share


def _plain_bits(q: npt.NDArray[np.int32]) -> Tensor:
    """Return the bits of signs and of what exceeds the alphabet, which nothing predicts.

    q: [F, size]; returns [F].
    """
    bits = np.count_nonzero(q, axis=1).astype(np.float32)
    beyond = np.abs(q) - ESCAPE
    rows, at = np.nonzero(beyond >= 0)
    classes = np.log2(beyond[rows, at] + 1.0).astype(np.int64)
    np.add.at(bits, rows, ESCAPE_BITS[classes].astype(np.float32))
    return torch.from_numpy(bits)


MODEL = BytesModel
