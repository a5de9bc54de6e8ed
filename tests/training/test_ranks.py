"""Which errors say that a peer is lost: those of real lost peers do, those of real bugs do not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from fadae.config import TrainConfig
from fadae.training.gpus import VISIBLE, gpus_in, local_ranks_of, only_gpu, workers_with_gpu
from fadae.training.launch_dask import rank_variables
from fadae.training.process import LOOPBACK
from fadae.training.ranks import (
    PeerLost,
    collective,
    is_lost_peer,
    join_ranks,
    open_store,
)
from fadae.training.worker import Order


@pytest.mark.parametrize("how", ["killed", "hung", "left"])
@pytest.mark.slow
def test_a_lost_peer_is_one_in_every_collective(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.lost", how],
        env=os.environ | {"GLOO_SOCKET_IFNAME": LOOPBACK},
        capture_output=True,
        text=True,
    )
    told = done.stdout.splitlines()
    assert len(told) == 5, (told, done.stderr)
    assert all(line.startswith("PeerLost: a rank is lost or late: ") for line in told), told


def test_a_peer_that_never_comes_is_lost() -> None:
    store = open_store("127.0.0.1")
    with pytest.raises(PeerLost, match="wait timeout"), join_ranks(0, 2, store, "cpu", 0.5):
        pass


def test_a_meeting_point_that_is_away_is_lost() -> None:
    with pytest.raises(PeerLost, match="timed out"), collective():
        TCPStore("127.0.0.1", 1, None, is_master=False, timeout=timedelta(seconds=0.5))


GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/"


@pytest.mark.parametrize(
    "error",
    [
        # gloo's, met here with torch 2.13; NCCL's, from its sources: there is no GPU here.
        RuntimeError(f"{GLOO}pair.cc:537] Read error [127.0.0.1]:28054: Connection reset by peer."),
        RuntimeError(f"{GLOO}pair.cc:553] Connection closed by peer [127.0.0.1]:10642."),
        RuntimeError(f"{GLOO}unbound_buffer.cc:78] Timed out waiting 5000ms for recv operation"),
        RuntimeError(f"{GLOO}unbound_buffer.cc:129] Timed out waiting 5000ms for send operation"),
        RuntimeError("Application timeout caused pair closure"),
        RuntimeError(f"Gloo connectFullMesh failed with {GLOO}pair.cc:144] no error"),
        dist.DistNetworkError("Broken pipe"),
        dist.DistBackendError(
            "NCCL error in: NCCLUtils.cpp:77, remote process exited or there was a network error, "
            "NCCL version 2.27.5\nncclRemoteError: A call failed possibly due to a network error"
        ),
        dist.DistBackendError(
            "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1, "
            "OpType=ALLREDUCE, Timeout(ms)=60000) ran for 60081 milliseconds before timing out."
        ),
    ],
    ids=lambda error: str(error)[-30:],
)
def test_texts_of_lost_peers(error: RuntimeError) -> None:
    with pytest.raises(PeerLost), collective():
        raise error


def _shapes() -> None:
    torch.ones(2, 3) @ torch.ones(2, 3)


def _a_closed_file() -> None:
    file = Path(os.devnull).open()  # noqa: SIM115
    file.close()
    file.read()


def _not_enough_memory() -> None:
    torch.empty(2**60)


def _no_such_group() -> None:
    dist.all_reduce(torch.ones(1))


@pytest.mark.parametrize("bug", [_shapes, _a_closed_file, _not_enough_memory, _no_such_group])
def test_a_bug_is_no_lost_peer(bug: Callable[[], None]) -> None:
    with pytest.raises((RuntimeError, ValueError)) as told, collective():
        bug()
    assert not isinstance(told.value, PeerLost)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("not enough values in the tensor to store; connection closed, timed out"),
        RuntimeError("DDP expects same model across all ranks, but Rank 1 has 2 params"),
        dist.DistBackendError("NCCL error in: x.cpp:1, unhandled cuda error\nout of memory"),
        dist.DistBackendError("NCCL error in: x.cpp:1, invalid usage, NCCL version 2.27.5"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_words_alone_make_no_lost_peer(error: RuntimeError) -> None:
    assert not is_lost_peer(error)


def test_workers_with_their_own_lists_of_gpus_take_the_first() -> None:
    workers = ["a", "b", "c", "d"]
    own = {w: ("host", f"{i},{(i + 1) % 4}") for i, w in enumerate(workers)}
    assert local_ranks_of(own, workers) == [0, 0, 0, 0]
    shared = dict.fromkeys(workers, ("host", ""))
    assert local_ranks_of(shared, workers) == [0, 1, 2, 3]
    hosts = {"a": ("x", ""), "b": ("y", ""), "c": ("x", ""), "d": ("y", "")}
    assert local_ranks_of(hosts, workers) == [0, 0, 1, 1]
    assert local_ranks_of({}, workers) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "lists",
    [
        ["GPU-a,GPU-b,GPU-c", "GPU-b,GPU-c,GPU-a", "GPU-c,GPU-a,GPU-b"],  # LocalCUDACluster
        ["MIG-1,MIG-2,MIG-3"] * 3,
        ["3", "1", "0"],
        ["2,0,1", "0", "0, 1"],  # who has one takes it before who has more
        ["1,-1,0", "0", "2,,5"],  # CUDA stops reading at what names none
    ],
)
def test_no_two_workers_take_one_gpu_where_each_can_have_its_own(lists: list[str]) -> None:
    places = {str(number): ("host", listed) for number, listed in enumerate(lists)}
    chosen = local_ranks_of(places, list(places))
    names = [gpus_in(listed)[rank] for listed, rank in zip(lists, chosen, strict=True)]
    assert len(set(names)) == 3
    for listed, rank, name in zip(lists, chosen, names, strict=True):
        assert only_gpu(listed, rank, "auto") == {VISIBLE: name}
    assert workers_with_gpu({worker: (place, 1) for worker, place in places.items()}) == 3


def test_workers_that_share_a_gpu_count_once() -> None:
    same = dict.fromkeys("abc", (("host", "GPU-a"), 1))
    assert workers_with_gpu(same) == 1
    assert workers_with_gpu({**same, "d": (("other", "GPU-a"), 1)}) == 2
    assert workers_with_gpu({"a": (("host", "0"), 0)}) == 0


def test_a_rank_sees_the_gpu_of_its_workers_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU here has seen it: what a rank's process is started with."""

    def told(device: str) -> dict[str, str]:
        order = Order("w", TrainConfig(device=device), 2, "127.0.0.1", 0, "text")
        return rank_variables(order, 1)

    monkeypatch.setenv(VISIBLE, "GPU-b,GPU-a")
    assert told("auto")[VISIBLE] == "GPU-a"
    assert told("cuda:0")[VISIBLE] == "GPU-b,GPU-a"
    monkeypatch.delenv(VISIBLE)
    assert VISIBLE not in told("auto")
    assert told("auto")["LOCAL_RANK"] == "1"
