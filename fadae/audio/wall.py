"""The wall around the decoder: what a codec that is taken over can still do, which is little.

It holds the descriptors that it was given, and no name leads it to another. Limits that cannot be
raised, Landlock without a single rule, and a list of system calls do that, in pure ctypes. What a
kernel or a container does not have is left out and named.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from fadae.audio import seccomp
from fadae.audio.protocol import Wall
from fadae.config import Limits

DESCRIPTORS = 16
"""Two are in use, four while a file is decoded and mapped; their numbers are below this."""
_AGES = 1e9  # seconds
_CPU_SPARE_SECONDS = 60  # above what the parent lets pass, so that a live parent decides

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3

# Landlock's system calls have the same numbers everywhere, and its rights came with these ABIs.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_GET_VERSION = 1
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NETWORK_RIGHTS = {4: 0b11}  # bind and connect TCP
_SCOPES = {6: 0b11}  # abstract sockets and signals of processes outside


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scoped")]


def raise_wall(limits: Limits, without: Collection[str] = ()) -> Wall:
    """Shut this process in, for good; return what holds it.

    It must have one thread and have loaded all that it will run. `without` names parts that are
    known not to work here. Raises OSError where even the limits cannot be set.
    """
    parts: dict[str, Callable[[], str]] = {
        "limits": functools.partial(_limit, limits),
        "Landlock": _landlock,
        "seccomp": _seccomp,
    }
    holds, lacks = ["descriptors"], []
    for name, build in parts.items():
        try:
            holds.append(_left_out() if name in without else build())
        except OSError as error:
            if name == "limits":
                raise
            lacks.append(f"{name} ({error.strerror})")
    return Wall(tuple(holds), tuple(lacks))


def _left_out() -> str:
    raise OSError(0, "does not work here")


def _limit(limits: Limits) -> str:
    """Bound what the process may take, hard limits too, and drop what could raise them."""
    wanted = {
        resource.RLIMIT_CPU: int(time.process_time() + min(2 * limits.wall_seconds, _AGES))
        + _CPU_SPARE_SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: DESCRIPTORS,
        resource.RLIMIT_NPROC: 0,
    }
    taken = _address_space_bytes()
    if taken is not None:
        wanted[resource.RLIMIT_AS] = taken + limits.memory_bytes
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)  # of this process
        _called("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    return "limits"


def _address_space_bytes() -> int | None:
    """Return the size of this process's address space; None where nothing says so."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return int(statm.read_text().split()[0]) * resource.getpagesize()


def _landlock() -> str:
    """Forbid every right that this kernel's Landlock knows of; say which ABI it has."""
    _without_new_privileges()
    abi = _system_call(_CREATE_RULESET, None, 0, _GET_VERSION)
    rights = (_FILE_RIGHTS, _NETWORK_RIGHTS, _SCOPES)
    ruleset = _Ruleset(*(_known(some, abi) for some in rights))
    # Older kernels have a shorter ruleset; they take a longer one whose end is 0.
    size = ctypes.sizeof(ruleset)
    descriptor = _system_call(_CREATE_RULESET, ctypes.addressof(ruleset), size, 0)
    try:
        _system_call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)
    return f"Landlock ABI {abi}"


def _known(rights: dict[int, int], abi: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= abi)


def _seccomp() -> str:
    _without_new_privileges()
    seccomp.install(_prctl)
    return "seccomp"


def _without_new_privileges() -> None:
    """Do what a kernel asks for before anybody may shut himself in."""
    if sys.platform != "linux":
        raise OSError(0, "only on Linux")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _prctl(*arguments: int) -> None:
    _called("prctl", *map(ctypes.c_ulong, arguments))


def _system_call(number: int, *arguments: int | None) -> int:
    return _called("syscall", *(ctypes.c_long(one or 0) for one in (number, *arguments)))


def _called(name: str, *arguments: object) -> int:
    """Return what a function of the C library returns; raises OSError where that is -1."""
    result = int(getattr(_libc(), name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
