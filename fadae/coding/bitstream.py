"""One row's symbols to bytes and back, by asymmetric numeral systems (`constriction`).

The coder is a stack: what is pushed last comes off first. The signs lie at its bottom as plain
bits under a single one, so a row takes its information and less than a byte more, every string of
bytes decodes to some row, and after the last symbol exactly the signs must be left: bytes that
are damaged or of another model do not end there, and so betray themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from constriction import stream

from fadae.errors import CodeError

Array = npt.NDArray[Any]

_FAMILY = stream.model.Categorical(perfect=False)
_UNIFORM = stream.model.Uniform()
# What a magnitude exceeds the alphabet by, plus one, has `e` bits after its first: a class e
# takes about e / 2 + 1 bits, and the bits themselves.
ESCAPE_CLASSES = 23
_ESCAPE = (2.0 ** -(np.arange(ESCAPE_CLASSES) / 2)).astype(np.float32)
ESCAPE_BITS = -np.log2(_ESCAPE / _ESCAPE.sum()) + np.arange(ESCAPE_CLASSES)
_ESCAPES = stream.model.Categorical(_ESCAPE, perfect=False)


def bit_classes(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the whole part of log2(n + 1) of numbers n of 0 or more.

    >>> bit_classes(np.array([0, 1, 2, 3, 6, 7])).tolist()
    [0, 1, 1, 2, 2, 3]
    """
    # Exact, which no logarithm promises to be.
    return np.asarray(np.frexp(numbers + 1.0)[1] - 1, dtype=np.int32)


class Pushed:
    """Bytes in the making: push in the reverse of the order in which they will be read."""

    def __init__(self, signs: npt.NDArray[np.bool_]) -> None:
        """Begin with the signs, which are read last."""
        bits = np.append(signs, True)
        packed = np.packbits(bits, bitorder="little").tobytes()
        self._coder = stream.stack.AnsCoder(_words(packed))

    def symbols(self, symbols: npt.NDArray[np.int32], probabilities: Array) -> None:
        """Push symbols [n], each with its own probabilities [n, alphabet] float32."""
        if len(symbols):
            self._coder.encode_reverse(symbols, _FAMILY, probabilities)

    def escapes(self, excess: npt.NDArray[np.int32]) -> None:
        """Push what magnitudes exceed the alphabet by, [n] of 0 or more."""
        if len(excess) == 0:
            return
        classes = bit_classes(excess)
        long = classes > 0
        if long.any():
            sizes = np.left_shift(1, classes[long]).astype(np.int32)
            self._coder.encode_reverse(excess[long] + 1 - sizes, _UNIFORM, sizes)
        self._coder.encode_reverse(classes, _ESCAPES)

    def tobytes(self) -> bytes:
        """Return the bytes, without the zeros that end the last word."""
        code: bytes = self._coder.get_compressed().astype("<u4").tobytes()
        return code.rstrip(b"\0")


class Pulled:
    """Symbols out of bytes, in the order in which they are to be read."""

    def __init__(self, code: bytes) -> None:
        """Begin with a row's bytes; any are allowed."""
        self._coder = stream.stack.AnsCoder(_words(code.rstrip(b"\0")))

    def symbols(self, probabilities: Array) -> npt.NDArray[np.int32]:
        """Pull symbols [n] with the probabilities [n, alphabet] of each."""
        if len(probabilities) == 0:
            return np.zeros(0, dtype=np.int32)
        pulled: npt.NDArray[np.int32] = self._coder.decode(_FAMILY, probabilities)
        return pulled

    def escapes(self, count: int) -> npt.NDArray[np.int32]:
        """Pull what `count` magnitudes exceed the alphabet by."""
        classes: npt.NDArray[np.int32] = self._coder.decode(_ESCAPES, count)
        sizes = np.left_shift(1, classes).astype(np.int32)
        long = classes > 0
        excess = sizes - 1
        if long.any():
            excess[long] += self._coder.decode(_UNIFORM, sizes[long])
        return excess

    def signs(self, count: int, *, strict: bool) -> npt.NDArray[np.bool_]:
        """Return the signs [count] that are left.

        Raises CodeError where `strict` and something else is left; else what there is, and pluses.
        """
        rest = self._coder.get_compressed().astype("<u4").view(np.uint8)
        bits = np.unpackbits(rest, bitorder="little").astype(bool)
        ends = np.flatnonzero(bits)
        if strict and (len(ends) == 0 or ends[-1] != count):
            raise CodeError("a row's bytes do not end where its symbols do")
        signs = np.zeros(count, dtype=bool)
        signs[: len(bits)] = bits[:count]
        return signs


def pushed_uniform(
    classes: npt.NDArray[np.int32], shares: npt.NDArray[np.uint8], rest: npt.NDArray[np.int32]
) -> bytes:
    """Return the bytes of classes [n] of these shares, and of a rest below 2^class for each."""
    coder = stream.stack.AnsCoder(_words(b"\1"))
    long = classes > 0
    if long.any():
        sizes = np.left_shift(1, classes[long]).astype(np.int32)
        coder.encode_reverse(rest[long].astype(np.int32), _UNIFORM, sizes)
    if len(shares) > 1:
        coder.encode_reverse(classes, _of_shares(shares))
    code: bytes = coder.get_compressed().astype("<u4").tobytes()
    return code.rstrip(b"\0")


def pulled_uniform(
    code: bytes, shares: npt.NDArray[np.uint8], count: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the `count` classes and rests of such bytes; of others, something."""
    coder = stream.stack.AnsCoder(_words(code.rstrip(b"\0")))
    classes = np.zeros(count, dtype=np.int32)
    if len(shares) > 1 and count:
        classes = coder.decode(_of_shares(shares), count)
    rest = np.zeros(count, dtype=np.int32)
    long = classes > 0
    if long.any():
        rest[long] = coder.decode(_UNIFORM, np.left_shift(1, classes[long]).astype(np.int32))
    return classes, rest


def _of_shares(shares: npt.NDArray[np.uint8]) -> Any:
    return stream.model.Categorical(shares.astype(np.float32) + np.float32(2**-6), perfect=False)


def _words(code: bytes) -> npt.NDArray[np.uint32]:
    padded = code + b"\0" * (-len(code) % 4)
    return np.frombuffer(padded, dtype="<u4").astype(np.uint32)


_CLASSES = 23


def pack_column(numbers: npt.NDArray[np.int64]) -> bytes:
    """Return the bytes of whole numbers [n] between -2^21 and 2^21.

    >>> len(pack_column(np.zeros(1000, dtype=np.int64)))
    3
    """
    folded = np.where(numbers < 0, -2 * numbers - 1, 2 * numbers).astype(np.int32)
    classes = bit_classes(folded)
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
