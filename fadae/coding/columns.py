"""Columns of small whole numbers to bytes and back, the same bytes everywhere.

A number n is folded to 0, -1, 1, -2, ... -> 0, 1, 2, 3, ..., and that plus one written as its
class (the bits after its first) and those bits. Classes are coded by asymmetric numeral systems
with their own frequencies, which come first: how many there are, then a byte each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.bitstream import pulled_uniform, pushed_uniform
from fadae.coding.errors import CodeError

Array = npt.NDArray[Any]

_CLASSES = 23


def pack_column(numbers: npt.NDArray[np.int64]) -> bytes:
    """Return the bytes of whole numbers [n] between -2^21 and 2^21.

    >>> len(pack_column(np.zeros(1000, dtype=np.int64)))
    3
    """
    folded = np.where(numbers < 0, -2 * numbers - 1, 2 * numbers).astype(np.int32)
    classes = np.floor(np.log2(folded + 1.0)).astype(np.int32)
    counts = np.bincount(classes, minlength=1)
    counts[0] = max(counts[0], 1)  # where there are no numbers at all
    shares = np.ceil(counts * 255 / max(1, counts.max())).astype(np.uint8)
    code = pushed_uniform(classes, shares, folded + 1 - np.left_shift(1, classes))
    return bytes([len(shares), *shares.tolist()]) + code


def unpack_column(code: bytes, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` numbers of a column's bytes; raises CodeError where they are not one."""
    known = code[0] if code else 0
    shares = np.frombuffer(code[1 : 1 + known], dtype=np.uint8)
    if not 0 < known <= _CLASSES or len(shares) < known or not shares.any():
        raise CodeError("the index is damaged")
    classes, rest = pulled_uniform(code[1 + known :], shares, count)
    folded = rest.astype(np.int64) + (1 << classes.astype(np.int64)) - 1
    return np.where(folded % 2 == 1, -(folded + 1) // 2, folded // 2)
