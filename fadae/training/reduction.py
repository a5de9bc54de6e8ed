"""How a global batch becomes one gradient: `fast` (DDP), or `exact`, one result at any ranks.

Both take the rank's rows in parts and leave the gradient of the batch's mean loss in `.grad`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from fadae.config import TrainConfig
from fadae.data import lanes_of
from fadae.model import OwnLoss
from fadae.training.ranks import Ranks, collective, tree_sum

_THROWAWAY_PASSES = 2
# Of a tile of a gradient: 1 MB, a processor's second cache. Another size is another rule: where a
# product is cut may decide how it is rounded.
_TILE_NUMBERS = 2**18
_FEW_ROWS = 32  # of a leaf: 0.75 of the fast step's speed in tiles, 0.69 without; at 64 0.77, 0.81
_Factors = tuple[Tensor, Tensor]  # errors [n, outputs] and rows [n, inputs] of a Linear


class Reduction(Protocol):
    """Computes gradients and other sums over the ranks."""

    def groups(self) -> list[range]:
        """Return the ranges of this rank's lanes whose rows make up one part each."""

    def backward(self, parts: Sequence[Tensor], count: int, draw: int) -> Tensor:
        """Leave the mean loss's gradient over all ranks in `.grad`; return this rank's loss sum.

        parts: [n_i, C]; count: rows of the global batch; draw: the step, which seeds what a
        model draws at random (dropout), so that no random state needs to be saved.
        """

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the sum of all ranks' parts, one for each group."""


def make_reduction(model: nn.Module, config: TrainConfig, ranks: Ranks, features: int) -> Reduction:
    """Return the reduction a config asks for, of a model of frames of so many coefficients."""
    if config.reduction == "exact":
        return _Exact(model, config, ranks)
    return _Fast(model, config, ranks, features)


class _Losses:
    """Forward and backward of some rows, in micro-batches, under the run's precision."""

    def __init__(self, model: nn.Module, config: TrainConfig, ranks: Ranks) -> None:
        self._own = model if isinstance(model, OwnLoss) else None
        self._seed, self._micro_batch = config.seed, config.micro_batch
        self._device = ranks.device.type
        self._bf16 = config.precision == "bf16"

    def micro_batches(self, rows: Tensor) -> Sequence[Tensor]:
        return torch.split(rows, self._micro_batch) if self._micro_batch else [rows]

    def backward(self, model: nn.Module, rows: Tensor, factor: float, draw: int) -> Tensor:
        """Add factor * (sum over the rows of their losses) to what gradients hold."""
        torch.manual_seed((self._seed * 1_000_003 + draw) % 2**63)
        with torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._bf16):
            found = model(rows)
        if self._own is None:
            loss = mse_loss(found.float(), rows, reduction="sum") / rows.shape[1]
        else:
            loss = self._own.loss(found.float(), rows)
        (loss * factor).backward()  # type: ignore[no-untyped-call]
        return loss.detach().double()


class _Fast:
    """DistributedDataParallel: bit-identical across kill and resume at the same number of ranks."""

    def __init__(self, model: nn.Module, config: TrainConfig, ranks: Ranks, features: int) -> None:
        self._ranks, self._losses = ranks, _Losses(model, config, ranks)
        self._lanes = lanes_of(ranks.rank, ranks.world, config.lanes)
        self._model: nn.Module = model
        if ranks.world > 1 and any(p.requires_grad for p in model.parameters()):
            with collective():
                self._model = DistributedDataParallel(model, gradient_as_bucket_view=True)
            self._settle_buckets(model, features)

    def _settle_buckets(self, model: nn.Module, features: int) -> None:
        """Run two passes for nothing: DDP rebuilds its buckets after the first of a process.

        Where buckets end decides where sums are rounded; without this, the first step after a
        resume is rounded as the first step of the run was, not as its neighbours.
        """
        for _ in range(_THROWAWAY_PASSES):
            nothing = torch.zeros(1, features, device=self._ranks.device)
            with collective():
                self._losses.backward(self._model, nothing, 0.0, 0)
            model.zero_grad(set_to_none=True)

    def groups(self) -> list[range]:
        return [self._lanes]

    def backward(self, parts: Sequence[Tensor], count: int, draw: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=self._ranks.device)
        factor = self._ranks.world / count  # DDP divides the sum by the number of ranks
        pieces = self._losses.micro_batches(parts[0])
        for index, rows in enumerate(pieces):
            last = index + 1 == len(pieces)
            with self._local(last), collective():
                draw_here = draw * self._ranks.world + self._ranks.rank
                total += self._losses.backward(self._model, rows, factor, draw_here)
        return total

    def _local(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Keep gradients on this rank until its last micro-batch."""
        if last or not isinstance(self._model, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._model.no_sync()

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        return self._ranks.add(parts[0])


class _Exact:
    """V leaves of the batch, each one's gradient computed alone, added as a binary tree.

    A rank of W holds V/W neighbouring leaves, a whole subtree, so that every addition happens
    with the same operands at any W; V is a power of two that W divides.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, ranks: Ranks) -> None:
        self._ranks, self._losses, self._model = ranks, _Losses(model, config, ranks), model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        lanes_a_leaf = config.lanes // config.leaves
        own = lanes_of(ranks.rank, ranks.world, config.leaves)
        self._leaves = [
            (leaf, range(leaf * lanes_a_leaf, (leaf + 1) * lanes_a_leaf)) for leaf in own
        ]
        # Not with micro-batches, which are there to hold few rows' values at a time; not on a
        # GPU, where small products wait for their launches. Of more rows the product costs most.
        plain = config.precision != "bf16" and config.micro_batch is None
        few = config.batch_size <= _FEW_ROWS * config.leaves
        self._is_tiled = config.rules > 1 and plain and few and ranks.device.type == "cpu"

    def groups(self) -> list[range]:
        return [lanes for _, lanes in self._leaves]

    def backward(self, parts: Sequence[Tensor], count: int, draw: int) -> Tensor:
        losses, subtrees = [], _Subtrees()
        with self._products() as products:
            for (leaf, _), rows in zip(self._leaves, parts, strict=True):
                for parameter in self._parameters:
                    parameter.grad = None
                # Drawn for the leaf and the step, wherever the leaf is computed.
                found = [
                    self._losses.backward(self._model, piece, 1 / count, draw * 4096 + leaf)
                    for piece in self._losses.micro_batches(rows)
                ]
                losses.append(torch.stack(found).sum())
                others = [p for p in self._parameters if p.grad is not None]
                subtrees.push([p.grad for p in others if p.grad is not None])
                products.end_leaf()
        for parameter, gradient in zip(others, subtrees.root(), strict=True):
            parameter.grad = gradient
        products.add_to_gradients()
        self._add_ranks()
        return torch.stack(losses).sum()

    def _products(self) -> contextlib.AbstractContextManager[_Products]:
        """Return what takes the weights' gradients of Linears aside, where that pays."""
        return _Products() if self._is_tiled else contextlib.nullcontext(_Products())

    def _add_ranks(self) -> None:
        """Add up what each rank's own leaves gave."""
        if self._ranks.world == 1:
            return
        used = [(p, p.grad) for p in self._parameters if p.grad is not None]
        flat = self._ranks.add_in_order(torch.cat([g.reshape(-1) for _, g in used]))
        pieces = torch.split(flat, [g.numel() for _, g in used])
        for (parameter, _), piece in zip(used, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        own = tree_sum(parts)
        return self._ranks.add_in_order(own.reshape(-1)).view_as(own)


class _Subtrees:
    """A binary counter of partial sums: log2(V) gradients in memory instead of V."""

    def __init__(self) -> None:
        self._held: list[tuple[int, list[Tensor]]] = []

    def push(self, tensors: list[Tensor]) -> None:
        """Take the next leaf; add equal subtrees, the left one first."""
        leaves = 1
        while self._held and self._held[-1][0] == leaves:
            _, left = self._held.pop()
            for a, b in zip(left, tensors, strict=True):
                a.add_(b)
            leaves, tensors = 2 * leaves, left
        self._held.append((leaves, tensors))

    def root(self) -> list[Tensor]:
        """Return the sum of all leaves pushed, 2^n of them."""
        ((_, tensors),) = self._held
        return tensors


class _Products(TorchFunctionMode):
    """Takes aside what the gradients of Linears' weights are products of, and adds these up.

    A leaf's gradient of a weight is as large as the weight: written, read again and added for
    each leaf it costs more memory traffic than the product itself. Here all leaves' products are
    made and added a tile at a time, in cache, with the same operands in the same order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._leaf: dict[Tensor, list[_Factors]] = {}
        self._leaves: list[dict[Tensor, list[_Factors]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is linear and len(args) + len(kwargs or {}) <= 3:
            return self._linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        if not (weight.is_leaf and weight.requires_grad and torch.is_grad_enabled()):
            return linear(input, weight, bias)
        factors = self._leaf.setdefault(weight, [])
        return _Linear.apply(input, weight, bias, factors)  # type: ignore[no-untyped-call]

    def end_leaf(self) -> None:
        """Count what came since the last call as one leaf's."""
        if self._leaf:
            self._leaves.append(self._leaf)
            self._leaf = {}

    def add_to_gradients(self) -> None:
        """Add the sum of all leaves' products to each weight's gradient."""
        for weight in self._leaves[0] if self._leaves else ():
            found = self._sum(weight, [leaf[weight] for leaf in self._leaves])
            weight.grad = found if weight.grad is None else weight.grad + found

    def _sum(self, weight: Tensor, leaves: list[list[_Factors]]) -> Tensor:
        total = torch.empty_like(weight)
        for tile in torch.split(total, max(1, _TILE_NUMBERS // weight.shape[1])):
            low = tile.storage_offset() // weight.shape[1]
            outputs, subtrees = slice(low, low + len(tile)), _Subtrees()
            for leaf, factors in enumerate(leaves):
                # The first leaf's is where its subtree, in the end the whole sum, is added up.
                into = torch.empty_like(tile) if leaf else tile
                for number, (errors, rows) in enumerate(factors):
                    product = torch.mm(
                        errors.t()[outputs], rows, out=torch.empty_like(tile) if number else into
                    )
                    if number:
                        into.add_(product)
                subtrees.push([into])
            subtrees.root()
        return total


class _Linear(torch.autograd.Function):
    """A Linear whose weight's gradient is left to `_Products`."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, factors: list[_Factors]
    ) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.factors = factors
        return linear(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> Any:
        rows, weight = ctx.saved_tensors
        (error,) = errors
        flat = error.flatten(0, -2)
        ctx.factors.append((flat.detach(), rows.flatten(0, -2).detach()))
        of_rows = error @ weight if ctx.needs_input_grad[0] else None
        of_bias = flat.sum(dim=0) if ctx.needs_input_grad[2] else None
        return of_rows, None, of_bias, None
