"""How finely to quantise, so that rows take as many bytes as asked.

`average`: one step a recording, such that its rows take N bytes on average; where the sound is
denser, rows take more, at most 4 N. An equal step everywhere is what makes the squared error
least. `constant`: for each row the finest step with which it fits into N bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.coder import ByteCoder
from fadae.coding.symbols import ROUNDING, STEP, STEPS, quantise

Array = npt.NDArray[Any]

CAP = 4  # times N: the most bytes of a row at an average rate
SAMPLE_ROWS = 256  # of a recording, by which its step is found
LEAST_BYTES, MOST_BYTES = 16, 8192  # a row's N may be

COARSE_ROWS = 48  # of those, by which it is found nearly
_GOLDEN = 0.6180339887498949  # its multiples are spread evenly over [0, 1)
_TRIES = 4
HALVING = 20  # step indices for half the bytes, about
_LEAST_CHANGE = 0.02  # of the bytes, from one step to the next
_BITS_EACH = 5.5  # a coefficient that is not zero takes, about


@dataclass(frozen=True)
class Step:
    """The step of a recording: index, or index + 1 in a `share` of its rows.

    Sixteen steps an octave change the bytes by three in a hundred each; mixing two hits any mean.

    >>> Step(100, 0.25).of_rows(0, 8).tolist()
    [101, 100, 101, 100, 100, 101, 100, 100]
    """

    index: int
    share: float

    def of_rows(self, first: int, count: int) -> npt.NDArray[np.uint8]:
        """Return the step index of rows first .. first + count of the recording, [count]."""
        turn = np.arange(first, first + count) * _GOLDEN % 1.0
        index = self.index + (turn < self.share)
        return np.asarray(np.minimum(index, STEPS - 1), dtype=np.uint8)


def find_step(coder: ByteCoder, c: Array, code_bytes: float) -> Step:
    """Return the step with which rows c [F, size] of a recording take `code_bytes` on average.

    Give all rows, or those of `sample_rows`. Rows that would take more than CAP times as much
    count as that. The finest step there is, where everything fits.
    """
    index, wanted = (
        near_step(coder, c[sample_rows(len(c), COARSE_ROWS)], code_bytes),
        len(c) * code_bytes,
    )
    step = Step(index, 0.0)
    for _ in range(_TRIES):
        step = exact_step(index, total_bytes(coder, c, index, code_bytes), wanted)
        if abs(step.index + step.share - index) <= 1:
            break
        index = round(step.index + step.share)
    return step


def near_step(coder: ByteCoder, few: Array, code_bytes: float) -> int:
    """Return about the step index with which these rows take `code_bytes` on average."""
    if not np.any(few):
        return 0
    total = len(few) * code_bytes
    guess = _guess(few.reshape(1, -1), total)

    def bytes_of(_: Array, k: Array) -> Array:
        return np.array([total_bytes(coder, few, int(k[0]), code_bytes)])

    return int(_finest(bytes_of, guess, total)[0])


def total_bytes(coder: ByteCoder, c: Array, index: int, code_bytes: float) -> float:
    """Return about how many bytes all rows take with one step, none more than the cap."""
    lengths = _refined(coder, c, np.full(len(c), index, dtype=np.uint8))[1]
    return float(np.minimum(lengths, CAP * code_bytes).sum())


def exact_step(index: int, taken: float, wanted: float) -> Step:
    """Return the step with which `wanted` bytes are taken, where `index` takes `taken`."""
    if taken <= 0 or (index == 0 and taken <= wanted):
        return Step(0, 0.0)
    at = float(np.clip(index + HALVING * np.log2(taken / wanted), 0, STEPS - 1))
    return Step(int(at), at % 1)


def sample_rows(rows: int, most: int = SAMPLE_ROWS) -> npt.NDArray[np.int64]:
    """Return which rows of a recording to find its step by: all, or some spread evenly."""
    count = min(rows, most)
    return (2 * np.arange(count) + 1) * rows // max(2 * count, 1)


def encode_average(
    coder: ByteCoder, c: Array, step: Step, cap: int, first_row: int = 0
) -> list[bytes]:
    """Return the bytes of rows c [F, size] of a recording, from its `first_row` on.

    A row that takes more than `cap` bytes gets the finest step with which it does not.
    """
    return encode_with_steps(coder, c, step.of_rows(first_row, len(c)), cap)


def encode_with_steps(
    coder: ByteCoder, c: Array, index: npt.NDArray[np.uint8], cap: int
) -> list[bytes]:
    """Return the bytes of rows c [F, size] with a step each [F], coarser where `cap` needs it."""
    codes = _encode(coder, c, index)
    return _fit(coder, c, index, codes, cap)


def encode_constant(coder: ByteCoder, c: Array, code_bytes: int) -> list[bytes]:
    """Return the bytes of rows c [F, size], each with the finest step that fits `code_bytes`."""
    index, q = _finest_that_fit(coder, c, code_bytes)
    return _fit(coder, c, index, coder.encode(c, index, q=q), code_bytes)


def _encode(coder: ByteCoder, c: Array, index: npt.NDArray[np.uint8]) -> list[bytes]:
    return coder.encode(c, index, q=_refined(coder, c, index)[0])


def _refined(
    coder: ByteCoder, c: Array, index: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Return whole numbers [F, size] for rows with the given steps, and about their bytes [F]."""
    q, bits = coder.refine(c, quantise(c, index), index)
    return q, bits / 8


def _finest_that_fit(
    coder: ByteCoder, c: Array, code_bytes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return for each row about the least step index that fits, [F], and its numbers [F, size]."""
    kept = np.zeros(c.shape, dtype=np.int32)

    def bytes_of(rows: Array, k: Array) -> Array:
        q, lengths = _refined(coder, c[rows], k.astype(np.uint8))
        fits = lengths <= code_bytes
        kept[rows[fits]] = q[fits]  # what fits is always finer than what fitted before
        return lengths

    return _finest(bytes_of, _guess(c, code_bytes), code_bytes), kept


def _finest(
    bytes_of: Callable[[Array, Array], Array], guess: Array, wanted: float
) -> npt.NDArray[np.uint8]:
    """Return for each of n problems about the least step index with which it takes `wanted`.

    bytes_of(problems, step indices) -> bytes, falling with the index. The greatest index where
    none fits.
    """
    low, high = np.full(len(guess), -1), np.full(len(guess), STEPS - 1)
    guess = np.clip(guess, 0, STEPS - 2)
    while len(unsettled := np.flatnonzero(high - low > 1)):
        k = guess[unsettled]
        lengths = bytes_of(unsettled, k)
        fits = lengths <= wanted
        high[unsettled[fits]], low[unsettled[~fits]] = k[fits], k[~fits]
        close = unsettled[fits & (lengths * (1 + _LEAST_CHANGE) > wanted)]
        low[close] = high[close] - 1  # the next finer step would not fit
        # Where the bytes would be those wanted if they halved every `HALVING` indices.
        away = np.ceil(np.log2(np.maximum(lengths, 1) / wanted) * HALVING)
        ahead = k + np.where(fits, np.minimum(away, -1), np.maximum(away, 1))
        guess[unsettled] = np.clip(ahead, low[unsettled] + 1, high[unsettled] - 1)
    return high.astype(np.uint8)


def _guess(c: Array, code_bytes: float) -> npt.NDArray[np.int64]:
    """Return about the step index with which each row of c [F, n] takes `code_bytes`, [F].

    So many bytes hold so many coefficients: the step is such that no more are not zero.
    """
    held = int(np.clip(8 * code_bytes / _BITS_EACH, 1, c.shape[1]))
    least = np.partition(np.abs(c), c.shape[1] - held, axis=1)[:, c.shape[1] - held]
    return np.searchsorted(STEP, least / np.float32(1 - ROUNDING))


def _fit(
    coder: ByteCoder, c: Array, index: npt.NDArray[np.uint8], codes: list[bytes], cap: int
) -> list[bytes]:
    """Return the codes, those of more than `cap` bytes made anew with greater steps."""
    over = np.array([row for row, code in enumerate(codes) if len(code) > cap], dtype=np.int64)
    if len(over) == 0:
        return codes
    coarser = np.maximum(_finest_that_fit(coder, c[over], cap)[0], index[over])
    while len(over):
        for row, code in zip(over, _encode(coder, c[over], coarser), strict=True):
            codes[row] = code
        still = np.array([len(codes[row]) > cap for row in over])
        if np.any(coarser[still] == STEPS - 1):
            raise ValueError(f"a row takes more than {cap} bytes whatever the step")
        over, coarser = over[still], coarser[still] + np.uint8(1)
    return codes
