"""The ranks of a run as one rank sees them: few verbs on torch.distributed, none for one rank.

Every collective is bounded by the group's time-out. What a lost or late peer raises becomes
`PeerLost`: the launcher starts the ranks again from the newest checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fadae.errors import TransientError
from fadae.model import resolve_device


class PeerLost(TransientError):  # noqa: N818 - says what happened
    """A rank died, hangs or never came; the others cannot go on."""


@dataclass(frozen=True)
class Ranks:
    """This process among the ranks; with `world` 1 nothing is sent anywhere."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the one that writes."""
        return self.rank == 0

    def total(self, figures: Sequence[float]) -> list[float]:
        """Return the sums over all ranks of a few numbers, in float64."""
        if self.world == 1:
            return [float(figure) for figure in figures]
        sums = torch.tensor(figures, dtype=torch.float64, device=self.device)
        with collective():
            dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, in its own memory."""
        if self.world > 1:
            with collective():
                dist.all_reduce(tensor)
        return tensor

    def add_in_order(self, tensor: Tensor) -> Tensor:
        """Return the sum of a flat tensor over 2^n ranks, added as a binary tree of the ranks.

        Unlike an all-reduce, whose order of additions is the library's business, every element is
        ((r0 + r1) + (r2 + r3)) + ...: a rank adds up its slice of the elements and passes it on.
        """
        if self.world == 1:
            return tensor
        size = -(-tensor.numel() // self.world)
        sent = torch.zeros(self.world * size, dtype=tensor.dtype, device=tensor.device)
        sent[: tensor.numel()] = tensor
        received = torch.empty_like(sent)
        with collective():
            dist.all_to_all_single(received, sent)
            total = tree_sum(list(received.view(self.world, size)))
            dist.all_gather(list(sent.view(self.world, size)), total)
        return sent[: tensor.numel()]

    def from_first(self, value: Any) -> Any:
        """Return rank 0's JSON-able value on every rank (the others' is ignored)."""
        if self.world == 1:
            return value
        data = json.dumps(value).encode() if self.is_first else b""
        length = torch.tensor([len(data)], device=self.device)
        with collective():
            dist.broadcast(length, 0)
            text = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
            if self.is_first:
                text.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            dist.broadcast(text, 0)
        return json.loads(bytes(text.cpu().numpy()))

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.world > 1:
            with collective():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of 2^n tensors, neighbours first: an order that halves can compute alone."""
    level = list(parts)
    while len(level) > 1:
        level = [level[i] + level[i + 1] for i in range(0, len(level), 2)]
    return level[0]


@contextlib.contextmanager
def collective() -> Iterator[None]:
    """Turn what a lost or late peer makes a collective raise into PeerLost; no other error."""
    try:
        yield
    except RuntimeError as error:
        if is_lost_peer(error):
            raise PeerLost(f"a rank is lost or late: {str(error).splitlines()[0]}") from error
        raise


# gloo raises plain RuntimeErrors: these are its texts (gloo/transport/tcp/{pair,unbound_buffer}.cc,
# gloo/rendezvous/context.cc), each seen when a peer was killed, hung or left, or read there.
_GLOO_LOST = re.compile(
    r"/gloo/transport/\S+\] (Connection closed by peer|Read error|Read timeout|Connect timeout"
    r"|writev |Timed out waiting \d+ms for (recv|send) operation)"
    r"|^Application timeout caused pair closure"
    r"|^Gloo connectFullMesh failed with "
)
# NCCL's come as DistBackendError, as do its real errors (out of memory, invalid usage).
_NCCL_LOST = re.compile(
    r"remote process exited or there was a network error|ncclRemoteError"
    r"|Watchdog caught collective operation timeout|NCCL communicator was aborted"
    r"|Connection (closed by remote peer|reset by peer|refused|timed out)"
)


def is_lost_peer(error: RuntimeError) -> bool:
    """Return whether an error of torch.distributed says that a peer is gone, hangs or is late.

    >>> is_lost_peer(dist.DistStoreError("wait timeout after 2000ms, keys: /0//cpu//0/1"))
    True
    >>> is_lost_peer(RuntimeError("not enough values in the tensor to store; file closed"))
    False
    """
    if isinstance(error, (dist.DistNetworkError, dist.DistStoreError)):
        return True
    texts = _NCCL_LOST if isinstance(error, dist.DistBackendError) else _GLOO_LOST
    return texts.search(str(error)) is not None


def open_store(host: str) -> Any:
    """Return a new meeting point of ranks on a free port, bound to this address only."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        listener.listen()
        return dist.TCPStore(  # type: ignore[attr-defined]
            host,
            listener.getsockname()[1],
            None,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=os.dup(listener.fileno()),
        )


@contextlib.contextmanager
def join_ranks(
    rank: int, world: int, store: Any | None, device: str, timeout_seconds: float
) -> Iterator[Ranks]:
    """Join the group of ranks and yield this one's place in it; leave it at the end.

    With no store the meeting point is the environment's (MASTER_ADDR, MASTER_PORT), as torchrun
    and a Kubernetes Job set it.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    place = Ranks(rank, world, resolve_device(device, local_rank))
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    if world == 1:
        yield place
        return
    if store is None:
        wait_for_name(os.environ["MASTER_ADDR"], timeout_seconds)
    with collective():
        dist.init_process_group(
            "nccl" if place.device.type == "cuda" else "gloo",
            init_method=None if store is not None else "env://",
            store=store,
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=timeout_seconds),
        )
    try:
        yield place
    finally:
        with contextlib.suppress(RuntimeError):  # a group that a lost peer has broken already
            dist.destroy_process_group()


def wait_for_name(host: str, timeout_seconds: float) -> None:
    """Return once a host's name resolves: a pod's may be published after its peers start.

    Raises PeerLost when it never does.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except socket.gaierror as error:
            if time.monotonic() > deadline:
                raise PeerLost(
                    f"MASTER_ADDR {host} does not resolve within {timeout_seconds:.0f} s: {error}"
                ) from error
            time.sleep(1)
