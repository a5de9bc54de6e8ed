"""How finely to quantise, so that rows take as many bytes as asked.

`average`: one step a recording, such that its rows take N bytes on average; where the sound is
denser, rows take more, at most 4 N. An equal step everywhere is what makes the squared error
least. `constant`: for each row about the finest step with which it fits into N bytes.

What a row takes depends on little but how many of its coefficients are not zero, so many bits
each: He and Mitra, "A unified rate-distortion analysis framework for transform coding", IEEE
Transactions on Circuits and Systems for Video Technology, 2001. Counting costs next to nothing,
and what a few rows are found to take foretells the others.

Indices go on beyond the coarsest step: there bits are worth more and more, so that fewer and
fewer coefficients are kept, until at `SILENT` there are none. Whatever is to fit somewhere does.
All arithmetic that decides is exact, hence the same everywhere: whole numbers, and sums, products
and quotients of single floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.coder import WORTH, ByteCoder, Draft
from fadae.coding.symbols import ROUNDING, STEP, STEPS, STEPS_AN_OCTAVE

Array = npt.NDArray[Any]

CAP = 4  # times N: the most bytes of a row at an average rate
SAMPLE_ROWS = 256  # of a recording, by which its step is found
LEAST_BYTES, MOST_BYTES = 16, 8192  # a row's N may be

MEASURED_ROWS = 48  # of those, which are coded to see what they take
_GOLDEN = 0.6180339887498949  # its multiples are spread evenly over [0, 1)
_MEASURES = 12  # one or two, unless a model knows nothing yet
_FAR = 0.06  # of the bytes: over such a change a coefficient takes the same, about

SILENT = STEPS + 127
_EIGHTHS = np.rint(2.0 ** (np.arange(8) / 8) * 2**20) / 2**20
# What a bit is worth at each index: more, in eighths of an octave, beyond the coarsest step.
_WORTH = np.concatenate(
    [np.full(STEPS, WORTH), *(WORTH * _EIGHTHS * 2.0**octave for octave in range(16))]
).astype(np.float32)
# What a bit is worth where rows are filled up: more, in sixty-fourths of an octave. Bytes fall with
# about the fourth root of it: by a hundredth in `_DEARER_FALL / 100` entries.
_DEARER = np.float32(WORTH) * np.rint(2.0 ** (np.arange(65) / 64) * 2**20).astype(np.float32)
_DEARER *= np.float32(2.0**-20)
_DEARER_FALL, _DEARER_TRIES = 300, 2
_FINER = 1.06  # times the bytes, at the next finer step
_ROOM = 0.6  # bytes to spare: lengths are known nearly
# Magnitudes that become zeros at each index; beyond the steps, about.
_ZEROS = np.float32(1 - ROUNDING) * np.concatenate(
    [STEP, *(STEP[-STEPS_AN_OCTAVE:] * np.float32(2.0**octave) for octave in range(1, 9))]
)


@dataclass(frozen=True)
class Step:
    """The step of a recording: index, or index + 1 in a `share` of its rows.

    Sixteen steps an octave change the bytes by three in a hundred each; mixing two hits any mean.

    >>> Step(100, 0.25).of_rows(0, 8).tolist()
    [101, 100, 101, 100, 100, 101, 100, 100]
    """

    index: int
    share: float

    @classmethod
    def at(cls, index: float) -> Step:
        """Return the step between two indices, the fraction being the share of the greater.

        >>> Step.at(100.25)
        Step(index=100, share=0.25)
        """
        return cls(int(index), index % 1)

    def of_rows(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the index of rows first .. first + count of the recording, [count]."""
        turn = np.arange(first, first + count) * _GOLDEN % 1.0
        return np.asarray(self.index + (turn < self.share), dtype=np.int64)


@dataclass(frozen=True)
class Forecast:
    """What a row is expected to take in bytes: so much, and so much for each one that is no zero.

    As most models have it, until some rows have been measured.
    """

    row: float = 3.0
    each: float = 0.6

    def taken(self, magnitudes: Array, index: int, cap: float) -> float:
        """Return what rows |c| [F, size] take with one step, none of them more than `cap`."""
        held = _held(magnitudes, index)
        most = max(0, int((cap - self.row) / self.each))
        return self.row * int(np.count_nonzero(held)) + self.each * int(
            np.minimum(held, most).sum()
        )

    def corrected(self, held: Array, taken: float) -> Forecast:
        """Return the forecast that is right about rows that hold so many [F] and take so much."""
        more = taken - self.row * int(np.count_nonzero(held))
        return Forecast(self.row, max(more, 1.0) / max(int(held.sum()), 1))


def find_step(coder: ByteCoder, c: Array, code_bytes: float) -> Step:
    """Return the step with which rows c [F, size] of a recording take `code_bytes` on average.

    Give all rows, or those of `sample_rows`. Rows that would take more than CAP times as much
    count as that. The finest step there is, where everything fits.
    """
    return measured_step(coder, c, code_bytes)[0]


def measured_step(coder: ByteCoder, c: Array, code_bytes: float) -> tuple[Step, Forecast]:
    """Return the step of `find_step`, and the forecast it was found by."""
    magnitudes, wanted, cap = np.abs(c), len(c) * code_bytes, CAP * code_bytes
    chosen = sample_rows(len(c), MEASURED_ROWS)
    few, forecast = magnitudes[chosen], Forecast()
    low, high = (-1, 0.0), (SILENT, 0.0)  # indices at which too much is taken, or not, and that
    index, stride = int(_crossing(forecast, few, len(few) * code_bytes, cap)), 1
    for _ in range(_MEASURES):
        bits = draft_rows(coder, c[chosen], np.full(len(chosen), index)).bits
        forecast = forecast.corrected(_held(few, index), float(bits.sum()) / 8)
        taken = forecast.taken(magnitudes, index, cap)
        low, high = ((index, taken), high) if taken > wanted else (low, (index, taken))
        if abs(taken - wanted) <= _FAR * wanted or high[0] - low[0] <= 1:
            break
        if low[0] < 0 or high[0] == SILENT:
            index += stride * round(_crossing(forecast, magnitudes, wanted, cap) - index)
            stride *= 2
        else:
            share = (low[1] - wanted) / (low[1] - high[1])
            index = round(low[0] + share * (high[0] - low[0]))
        index = min(max(index, low[0] + 1), high[0] - 1)
    return Step.at(_crossing(forecast, magnitudes, wanted, cap)), forecast


def sample_rows(rows: int, most: int = SAMPLE_ROWS) -> npt.NDArray[np.int64]:
    """Return which rows of a recording to find its step by: all, or some spread evenly."""
    count = min(rows, most)
    return (2 * np.arange(count) + 1) * rows // max(2 * count, 1)


def encode_with_steps(coder: ByteCoder, c: Array, index: Array, cap: int) -> list[bytes]:
    """Return the bytes of rows c [F, size] at an index each [F].

    A row that takes more than `cap` bytes gets about the finest step with which it does not.
    """
    codes = coder.codes(draft_rows(coder, c, index))
    over = np.array([row for row, code in enumerate(codes) if len(code) > cap], dtype=np.int64)
    if len(over):
        for row, code in zip(over, encode_constant(coder, c[over], cap), strict=True):
            codes[row] = code
    return codes


def encode_constant(coder: ByteCoder, c: Array, code_bytes: int) -> list[bytes]:
    """Return the bytes of rows c [F, size], each with about the finest step that fits."""
    index, codes = _finest_that_fit(coder, c, code_bytes)
    over = np.array([row for row, code in enumerate(codes) if len(code) > code_bytes], np.int64)
    while len(over):  # by a byte: lengths were known nearly
        index[over] += 1
        made = coder.codes(draft_rows(coder, c[over], index[over]))
        for row, code in zip(over, made, strict=True):
            codes[row] = code
        over = over[[len(codes[row]) > code_bytes for row in over]]
    return _filled(coder, c, index, codes, code_bytes)


def _filled(
    coder: ByteCoder, c: Array, index: npt.NDArray[np.int64], codes: list[bytes], code_bytes: int
) -> list[bytes]:
    """Return the codes with the room that is left used: worth 0.12 dB.

    The next finer step takes too much; a bit worth a little more there makes it fit. How much is
    found by the bytes falling with the fourth root of the worth, about.
    """
    codes, room = list(codes), code_bytes - _ROOM
    rows = np.flatnonzero((index > 0) & (index < STEPS))
    taken = _FINER * np.array([len(codes[row]) for row in rows])
    tried = np.zeros(len(rows), np.int64)
    for _ in range(_DEARER_TRIES):
        away = np.rint(_DEARER_FALL * (taken - room) / room).astype(np.int64)
        away = np.where(taken > room, np.maximum(away, 1), np.minimum(away, -1))
        tried = np.clip(tried + away, 1, len(_DEARER) - 1)
        draft = coder.draft(c[rows], (index[rows] - 1).astype(np.uint8), _DEARER[tried])
        taken = draft.bits / 8
        for place in np.flatnonzero(taken <= room).tolist():
            made = coder.code(draft, place)
            if len(codes[rows[place]]) < len(made) <= code_bytes:
                codes[rows[place]] = made
    return codes


def draft_rows(coder: ByteCoder, c: Array, index: Array) -> Draft:
    """Return rows c [F, size], quantised at an index each [F], to be coded."""
    heard = np.where((index < SILENT)[:, None], c, np.float32(0)) if np.any(index >= SILENT) else c
    steps = np.minimum(index, STEPS - 1).astype(np.uint8)
    return coder.draft(heard, steps, _WORTH[np.minimum(index, SILENT)])


def _held(magnitudes: Array, index: int | Array) -> npt.NDArray[np.int64]:
    """Return how many of |c| [F, size] are not zero at an index, or one a row, [F]."""
    most = _ZEROS[index]
    above = magnitudes > (most[:, None] if np.ndim(index) else most)
    return np.asarray(np.count_nonzero(above, axis=1))


def _crossing(forecast: Forecast, magnitudes: Array, wanted: float, cap: float) -> float:
    """Return at which index, the fraction included, rows |c| [F, size] take what is wanted.

    0 where they never take more.
    """
    low, high = 0, SILENT
    above, below = forecast.taken(magnitudes, low, cap), 0.0
    if above <= wanted:
        return 0.0
    while high - low > 1:
        middle = (low + high) // 2
        found = forecast.taken(magnitudes, middle, cap)
        if found > wanted:
            low, above = middle, found
        else:
            high, below = middle, found
    return low + (above - wanted) / (above - below)


def _finest_that_fit(
    coder: ByteCoder, c: Array, code_bytes: int
) -> tuple[npt.NDArray[np.int64], list[bytes]]:
    """Return for each row about the least index that fits, [F], and its bytes."""
    magnitudes = np.abs(c)
    ordered = -np.sort(-magnitudes, axis=1)
    kept: list[tuple[Draft, int] | None] = [None] * len(c)
    forecast = Forecast()
    low, high = np.full(len(c), -1), np.full(len(c), SILENT)
    room = code_bytes - forecast.row
    guess = _index_holding(ordered, np.full(len(c), room / forecast.each))
    while len(rows := np.flatnonzero(high - low > 1)):
        k = np.clip(guess[rows], low[rows] + 1, high[rows] - 1)
        draft = draft_rows(coder, c[rows], k)
        lengths = draft.bits / 8
        fits = lengths <= code_bytes
        for at in np.flatnonzero(fits).tolist():
            kept[rows[at]] = draft, at  # finer than what fitted before
        high[rows[fits]], low[rows[~fits]] = k[fits], k[~fits]
        held = _held(magnitudes[rows], k)
        spent = np.maximum(lengths - forecast.row, 1)
        guess[rows] = _index_holding(ordered[rows], held * (room / spent))
        no_finer = rows[fits & (guess[rows] >= k)]
        low[no_finer] = high[no_finer] - 1
    return high, [coder.code(*one) if one is not None else b"" for one in kept]


def _index_holding(ordered: Array, count: Array) -> npt.NDArray[np.int64]:
    """Return about the least index at which rows, |c| in falling order, hold so many, [F]."""
    at = np.clip(count, 0, ordered.shape[1] - 1).astype(np.int64)
    return np.asarray(np.searchsorted(_ZEROS, ordered[np.arange(len(ordered)), at]))
