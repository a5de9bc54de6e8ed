"""Which GPU is whose, where workers were each given some: by the names in CUDA_VISIBLE_DEVICES.

The variable numbers GPUs anew in its own order, by index, UUID (`GPU-...`) or slice (`MIG-...`):
https://docs.nvidia.com/cuda/cuda-c-programming-guide/, "CUDA Environment Variables".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
Place = tuple[str, str]  # a worker's machine, and its list of GPUs; "" where it has none


def gpus_in(listed: str) -> list[str]:
    """Return the names in a list of GPUs: CUDA reads up to the first that cannot be one.

    >>> gpus_in("GPU-8e1f,GPU-02a4"), gpus_in("1, 0,-1,2"), gpus_in("")
    (['GPU-8e1f', 'GPU-02a4'], ['1', '0'], [])
    """
    names: list[str] = []
    for name in map(str.strip, listed.split(",")):
        if not name or name.startswith("-"):
            break
        names.append(name)
    return names


def local_ranks_of(places: Mapping[str, Place], workers: Sequence[str]) -> list[int]:
    """Return which GPU of its worker's list each rank takes: the first that fewest others have.

    Workers without a list see all GPUs of their machine and take them in turn. LocalCUDACluster
    gives each worker all of them, another one first: so each takes the first.

    >>> local_ranks_of({"a": ("host", ""), "b": ("host", "")}, ["a", "b"])
    [0, 1]
    >>> local_ranks_of({"a": ("host", "0,1"), "b": ("host", "1,0")}, ["a", "b"])
    [0, 0]
    """
    found = [places.get(worker, (worker, "")) for worker in workers]  # one may be lost by now
    taken: Counter[Place] = Counter()
    chosen = [0] * len(found)
    # Who has few to choose from chooses first.
    for rank in sorted(range(len(found)), key=lambda rank: len(gpus_in(found[rank][1]))):
        host, listed = found[rank]
        names = gpus_in(listed)
        uses = [taken[host, name] for name in names]
        chosen[rank] = uses.index(min(uses)) if names else taken[host, ""]
        taken[host, names[chosen[rank]] if names else ""] += 1
    return chosen


def workers_with_gpu(found: Mapping[str, tuple[Place, int]]) -> int:
    """Return how many workers have a GPU of their own: of {worker: (place, GPUs seen there)}.

    >>> workers_with_gpu({worker: (("host", ""), 2) for worker in "abc"})
    2
    >>> workers_with_gpu({"a": (("host", "0,1"), 2), "b": (("host", "1,0"), 2)})
    2
    """
    seeing = {worker: place for worker, (place, count) in found.items() if count}
    chosen = dict(zip(seeing, local_ranks_of(seeing, list(seeing)), strict=True))
    listed = {
        (host, gpus_in(names)[chosen[worker]])
        for worker, (host, names) in seeing.items()
        if gpus_in(names)
    }
    unlisted = sum(
        chosen[worker] < found[worker][1]
        for worker, (_, names) in seeing.items()
        if not gpus_in(names)
    )
    return len(listed) + unlisted


def only_gpu(listed: str, local_rank: int, device: str) -> dict[str, str]:
    """Return what a rank's environment says of GPUs: the one of its worker's list that is its own.

    By its name, for of several MIG slices CUDA shows a process the first alone. Nothing where the
    worker has no list, or where `device` says which one of it.

    >>> only_gpu("MIG-1,MIG-2", 1, "auto"), only_gpu("0,1", 1, "cuda:0")
    ({'CUDA_VISIBLE_DEVICES': 'MIG-2'}, {})
    """
    names = gpus_in(listed)
    if not names or device not in ("auto", "cuda"):
        return {}
    return {VISIBLE: names[local_rank % len(names)]}
