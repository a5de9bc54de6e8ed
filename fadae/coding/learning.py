"""Trains the entropy model `network`: torch, with the rounding of `network` in the forward pass.

Rounding has no useful gradient, so the backward pass pretends it were not there (straight
through). The 64 distributions are learned with the weights; between two of them the code length
is interpolated, so that the network's one output has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fadae.coding.bitstream import ESCAPE_BITS
from fadae.coding.entropy import (
    ALPHABET,
    CLASSES,
    ESCAPE,
    INDICES,
    NEAR,
    PRESENT,
    SIDE_INPUTS,
    Network,
    frequency_classes,
    to_frequencies,
)
from fadae.coding.symbols import NEIGHBOURS, STEPS, Context, Phase, Side, grid, phases, quantise
from fadae.coding.tables import Statistics

Array = npt.NDArray[Any]

HIDDEN = 24
EMBEDDED = 8
ITERATIONS = 12_000  # about ten minutes of one core
_BATCH_ROWS = 16
_LEARNING_RATE = 3e-3
_OFFSETS = (-42, 34)  # of a row's step: about 1,200 to 50 bytes
_SOFT_BYTES = 25.0
_SCALES = (0.08, 14.0)  # of the geometric distributions that training starts from


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

    def forward(self, q: npt.NDArray[np.int32]) -> Tensor:
        """Return about how many bits each row of whole numbers [F, size] takes, [F]."""
        cells = grid(q, self.blocks)
        side = Side.of(cells)
        stops = side.stop
        most = int(stops.max(initial=0))
        context = Context.of(cells)
        row = torch.from_numpy(side.inputs()) / 16
        weights = [_rounded(w, 64, 127) for w in (self.neighbours, self.frequency, self.side)]
        embedding = _rounded(self.embedding.clamp(min=0), 16, 127)
        lengths = -torch.log_softmax(self.logits, dim=1) / math.log(2)
        total = torch.zeros(len(q))
        for number, phase in enumerate(phases(self.blocks)):
            if phase.count(most) == 0:
                continue
            position = self._position(number, phase, most, context, row, weights, embedding)
            bins = phase.bins(most)
            magnitudes = np.abs(cells[phase.block][:, bins])
            coded = np.arange(most)[bins][None, :] < stops[:, None]
            bits = _interpolated(lengths, position, np.minimum(magnitudes, ESCAPE))
            total = total + (bits * torch.from_numpy(coded)).sum(dim=1) + _plain_bits(magnitudes)
        return total

    def _position(
        self,
        number: int,
        phase: Phase,
        most: int,
        context: Context,
        row: Tensor,
        weights: list[Tensor],
        embedding: Tensor,
    ) -> Tensor:
        """Return where between the distributions each symbol of a phase lies, [F, n]."""
        rows, n = row.shape[1], phase.count(most)
        inputs = np.zeros((NEIGHBOURS + NEAR, rows, n), dtype=np.float32)
        context.neighbours(phase, most, inputs[:NEIGHBOURS])
        np.multiply(inputs[:NEAR] > 0, np.float32(PRESENT), out=inputs[NEIGHBOURS:])
        x = torch.from_numpy(inputs.reshape(len(inputs), -1)) / 16
        neighbours, frequency, side = (w[number] for w in weights)
        classes = torch.from_numpy(frequency_classes(phase.bins(most), self.blocks))
        bias = _rounded(self.bias_1[number], 1024)
        h = (neighbours @ x).reshape(-1, rows, n)
        h = h + (side @ row)[:, :, None]
        h = h + (frequency @ embedding.T + bias[:, None])[:, classes][:, None, :]
        h = _activated(h).reshape(-1, rows * n)
        bias = _rounded(self.bias_2[number], 1024)
        h = _activated(_rounded(self.hidden[number], 64, 127) @ h + bias[:, None])
        output = _rounded(self.output[number], 64, 127) @ h + _rounded(self.bias_3[number], 1024)
        return (output * 4).clamp(0, INDICES - 1).reshape(rows, n)

    def tensors(self, statistics: Statistics | None = None) -> dict[str, Array]:
        """Return the arrays of a `Network`; without `statistics` those it counts are flat."""
        whole = {
            "neighbours": _whole(self.neighbours, 64),
            "frequency": _whole(self.frequency, 64),
            "side": _whole(self.side, 64),
            "hidden": _whole(self.hidden, 64),
            "output": _whole(self.output, 64),
            "embedding": _whole(self.embedding.clamp(min=0), 16).astype(np.uint8),
        }
        biases = {
            key: np.rint(getattr(self, key).detach().double().numpy() * 1024).astype(np.int32)
            for key in ("bias_1", "bias_2", "bias_3")
        }
        counted = statistics or Statistics.none(INDICES)
        shares = torch.softmax(self.logits.detach().double(), dim=1).numpy()
        return {
            **whole,
            **biases,
            "blocks": np.array([self.blocks], dtype=np.int32),
            "distributions": to_frequencies(shares),
            "centroids": counted.centroids(),
            **counted.side_tables(),
        }

    def network(self, statistics: Statistics | None = None) -> Network:
        """Return the network in whole numbers."""
        return Network(self.tensors(statistics))


def learn(
    c: Array,
    step_index: npt.NDArray[np.uint8],
    *,
    blocks: int,
    iterations: int = ITERATIONS,
    seed: int = 0,
    report: Callable[[int, float], object] = lambda iteration, loss: None,
) -> LearnedNetwork:
    """Return the network trained on rows [F, size], at random steps around their own [F].

    Minimises the mean of log2(25 + bytes) of a row: a saving of a hundredth counts the same in
    loud rows and in soft ones. The same for the same arguments, on one kind of CPU.
    """
    torch.set_num_threads(1)  # sums in one order
    rng = np.random.default_rng(seed)
    network = LearnedNetwork(blocks, seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.99))
    for iteration in range(iterations):
        done = iteration / iterations
        warm = min(1.0, (iteration + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * warm * (0.505 + 0.495 * math.cos(math.pi * done))
        rows = rng.integers(0, len(c), _BATCH_ROWS)
        steps = step_index[rows] + rng.integers(*_OFFSETS, _BATCH_ROWS)
        steps = np.clip(steps, 0, STEPS - 1).astype(np.uint8)
        q = quantise(c[rows], steps, rounding=float(rng.uniform(0.3, 0.42)))
        loss = torch.log2(_SOFT_BYTES + network(q) / 8).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(iteration, loss.item())
    return network


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


def _activated(h: Tensor) -> Tensor:
    return _round(torch.relu(h) * 16).clamp(max=127) / 16


def _whole(x: Tensor, parts: int) -> Array:
    scaled = np.rint(x.detach().double().numpy() * parts)
    return np.asarray(np.clip(scaled, -127, 127), dtype=np.int8)


def _interpolated(lengths: Tensor, position: Tensor, symbols: npt.NDArray[np.int32]) -> Tensor:
    """Return bits [F, n] of symbols [F, n], between the two nearest distributions' lengths."""
    below = position.detach().floor().clamp(max=INDICES - 2).long()
    share = position - below
    at = below * ALPHABET + torch.from_numpy(symbols)
    flat = lengths.reshape(-1)
    return flat[at] * (1 - share) + flat[at + ALPHABET] * share


def _plain_bits(magnitudes: npt.NDArray[np.int32]) -> Tensor:
    """Return the bits [F] of signs and of what exceeds the alphabet, which nothing predicts."""
    bits = np.count_nonzero(magnitudes, axis=1).astype(np.float32)
    beyond = magnitudes - ESCAPE
    rows, at = np.nonzero(beyond >= 0)
    classes = np.log2(beyond[rows, at] + 1.0).astype(np.int64)
    np.add.at(bits, rows, ESCAPE_BITS[classes].astype(np.float32))
    return torch.from_numpy(bits)
