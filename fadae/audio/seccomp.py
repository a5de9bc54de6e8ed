"""The decoder's system calls: those that decoding an open file takes, and no other.

A filter in classic BPF, as seccomp(2) describes it, installed by prctl: no library is needed. For
64-bit x86 and ARM; other processors have other numbers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterable

_ALLOWED = {  # on x86_64, on aarch64
    "read": (0, 63),
    "pread64": (17, 67),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "recvmsg": (47, 212),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),  # how a kernel goes on with some calls after a stop
    "sigaltstack": (131, 132),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "prlimit64": (302, 261),
    "fcntl": (72, 25),
    "tgkill": (234, 131),
}
# What a late import tries: it is told no, and fails as it would for a file that is not there.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ioctl": (16, 29),
    "openat": (257, 56),
    "readlinkat": (267, 78),
    "open": (2, None),
    "stat": (4, None),
    "lstat": (6, None),
    "access": (21, None),
    "readlink": (89, None),
    "getcwd": (79, 17),
    "getrandom": (318, 278),
}

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_...

# Offsets in struct seccomp_data, little-endian: the call's number, the architecture, arguments.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_KILL, _ALLOW, _NO = 0x80000000, 0x7FFF0000, 0x00050000  # SECCOMP_RET_...; _NO | errno
_EPERM = 1
_PROT_EXEC = 4
_DESCRIPTOR_COMMANDS = (1, 3, 1030)  # F_GETFD, F_GETFL, F_DUPFD_CLOEXEC
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(prctl: Callable[..., None]) -> None:
    """Leave this process nothing but the calls above, for good.

    Another call ends the process by SIGSYS, so does memory that is to hold code. It needs
    PR_SET_NO_NEW_PRIVS. Raises OSError where this processor or this kernel has no such filter.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES or sys.maxsize < 2**32:
        raise OSError(0, f"only for {' and '.join(_ARCHITECTURES)}")
    code = b"".join(struct.pack("=HBBI", *one) for one in _instructions(machine, os.getpid()))
    program = _Program(len(code) // 8, ctypes.cast(ctypes.c_char_p(code), ctypes.c_void_p))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program), 0, 0)


def _instructions(machine: str, process_id: int) -> list[_Instruction]:
    column = list(_ARCHITECTURES).index(machine)
    checked = _checked(process_id)
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name, numbers in _ALLOWED.items():
        block = checked.get(name, [(_RETURN, 0, 0, _ALLOW)])
        program += [(_IF_EQUAL, 0, len(block), numbers[column]), *block]
    for number in (numbers[column] for numbers in _REFUSED.values()):
        if number is not None:
            program += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NO | _EPERM)]
    return [*program, (_RETURN, 0, 0, _KILL)]


def _checked(process_id: int) -> dict[str, list[_Instruction]]:
    """Return what decides about calls whose arguments matter."""
    no_code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * 2),
        (_IF_ANY_BIT, 0, 1, _PROT_EXEC),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return {
        "mmap": no_code,
        "mprotect": no_code,
        "prlimit64": [  # without a new limit, all 64 bits of its address 0: reading
            (_LOAD, 0, 0, _ARGUMENTS + 8 * 2),
            (_IF_EQUAL, 0, 3, 0),
            (_LOAD, 0, 0, _ARGUMENTS + 8 * 2 + 4),
            (_IF_EQUAL, 0, 1, 0),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _KILL),
        ],
        "fcntl": _one_of(1, _DESCRIPTOR_COMMANDS),
        "tgkill": _one_of(0, [process_id]),
    }


def _one_of(argument: int, values: Iterable[int]) -> list[_Instruction]:
    """Return what allows a call whose argument is one of some values, and refuses others."""
    block: list[_Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    for value in values:
        block += [(_IF_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*block, (_RETURN, 0, 0, _NO | _EPERM)]
