"""How a process keeps the memory that it frees."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>
_NEVER_BYTES = 2**30


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
