"""How a process keeps the memory that it frees, and how much it may have."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>
_NEVER_BYTES = 2**30
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # cgroup v1 tells a limit near 2^63 where there is none
_MOST_CACHE = 4 * 2**30
_TRAINER_BYTES = 2**30  # torch, a model of 18 million weights, its gradients, Adam's moments


def memory_limit_bytes(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the memory that this process's control group may take, v1 or v2; 0 where no limit is.

    A container sees its own group as the root. Elsewhere `own` names the group, and the smallest
    limit on the way to it holds.
    """
    found = [0]
    groups = own.read_text("utf-8").splitlines() if own.exists() else []
    for line in ["::/", ":memory:/", *groups]:
        _, controllers, group = line.split(":", 2)
        place = Path(group.lstrip("/"))
        root = cgroups if not controllers else cgroups / "memory"
        if controllers and "memory" not in controllers.split(","):
            continue
        for folder in (place, *place.parents):
            for name in ("memory.max", "memory.limit_in_bytes"):
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                    found.append(int((root / folder / name).read_text("utf-8")))
    return min((limit for limit in found if 0 < limit < _UNLIMITED), default=0)


def cache_within(limit_bytes: int) -> int:
    """Return the bytes that a rank may keep frames in, of its group's limit; 0 is no limit.

    The ranks of one machine, LOCAL_WORLD_SIZE of them, share the limit.

    >>> [cache_within(gib * 2**30) / 2**30 for gib in (0, 1, 2, 5, 64)]
    [4.0, 0.0, 0.5, 2.0, 4.0]
    """
    if not limit_bytes:
        return _MOST_CACHE
    ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return min(_MOST_CACHE, max(0, limit_bytes // ranks - _TRAINER_BYTES) // 2)


def keep_freed_memory() -> None:
    """Have glibc keep large freed blocks instead of giving them back to the system.

    Gradients, blocks of coefficients and their encoded bytes are freed and allocated again every
    step, tens of MB each; by default each of these blocks is mapped anew and the kernel faults in
    and zeroes every page of it. Elsewhere than on glibc nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _NEVER_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)
