"""Rows of coefficients to bytes and back, each row by itself.

A row's bytes: its step index, then its symbols (see `bitstream`): the classes of bandwidth and
count, the magnitudes in the order of `coding_order` with what exceeds the alphabet after each
phase, and the signs. A row of zeros has no bytes.

Rows are computed in groups of similar bandwidth; arithmetic is in whole numbers, so what is
computed beside a row changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.bitstream import ESCAPE_BITS, Pulled, Pushed, bit_classes
from fadae.coding.entropy import ALPHABET, ESCAPE, TOTAL, EntropyModel, probabilities
from fadae.coding.symbols import (
    CENTROIDS,
    MOST,
    ROUNDING,
    STEP,
    Context,
    Side,
    coding_order,
    dequantise,
    grid,
    phases,
)
from fadae.errors import CodeError

Array = npt.NDArray[Any]

LENGTH_UNIT = 1024  # code lengths are counted in such parts of a bit
_ROW_BITS = 8 + 1 + 3.5  # step, sentinel, and what fills up the last byte on average
# What a bit is worth in squared error, in steps: the slope of the best such trade.
WORTH = 0.1
# The level of noise just above a row's bandwidth, in steps: in music, all above it has about half
# of that on average.
ABOVE = 0.08
_GROUP_ROWS = 16  # computed at a time: their network inputs stay in the caches


@dataclass(frozen=True)
class Chosen:
    """The symbols of a group of rows in coding order, and the distribution of each.

    index [F, n] uint16, values [F, n] int32 (signed), coded [F, n] bool: whether it is below its
    row's bandwidth; order [n]: where in a row they belong; ends: where each phase ends.
    """

    side: Side
    index: npt.NDArray[np.uint16]
    values: npt.NDArray[np.int32]
    coded: npt.NDArray[np.bool_]
    order: npt.NDArray[np.int64]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, model: EntropyModel, q: npt.NDArray[np.int32]) -> Chosen:
        """Return all symbols of whole numbers [F, size] as they are."""
        cells = grid(q, model.blocks)
        side = Side.of(cells)
        stops = side.stop
        most = int(stops.max(initial=0))
        context = Context.of(cells)
        index = [
            model.choose(number, phase, context, side, most)
            for number, phase in enumerate(phases(model.blocks))
        ]
        order, ends = coding_order(model.blocks, most)
        coded = order // model.blocks < stops[:, None]
        return cls(side, np.concatenate(index, axis=1), q[:, order], coded, order, ends)


@dataclass(frozen=True)
class Draft:
    """Rows that are all but bytes: what `ByteCoder.code` takes.

    groups: rows that were computed together, with their symbols; place [F, 2]: the group of each
    row and where in it, -1 where the row is silent; bits [F]: about how many it takes.
    """

    step_index: npt.NDArray[np.uint8]
    groups: list[Chosen]
    place: npt.NDArray[np.int64]
    bits: npt.NDArray[np.float64]


class ByteCoder:
    """Codes rows of coefficients [F, size] with an entropy model; see the module."""

    def __init__(self, model: EntropyModel, size: int, *, fill: float = 0.0) -> None:
        """Make the coder of a model for rows of `size` coefficients.

        fill: 0 .. 1, the strength of the noise that `decode` puts where zeros are, in rows that are
        not silent. Below a row's bandwidth each becomes what is expected of one of its
        distribution, above it `ABOVE` steps, falling as 1/f; times `fill`, with a sign that
        depends on the row's bytes alone.
        """
        if size % model.blocks:
            raise ValueError(f"a row of {size} is not {model.blocks} blocks")
        self.model = model
        self.size = size
        self._bins = size // model.blocks
        self._probabilities = probabilities(model.distributions)
        self._bandwidth = probabilities(model.bandwidth)
        self._count = probabilities(model.count)
        self._centroids = model.centroids.astype(np.float32) / np.float32(1024)
        self._strength = fill
        self._fill = zero_levels(model.distributions) * np.float32(fill)
        # Code lengths are whole numbers too: what an encoder chooses depends on no rounding.
        self._lengths = _lengths(model.distributions)
        self._lengths[:, 1:] += LENGTH_UNIT  # the sign
        self._prices = self._lengths.astype(np.float32)
        self._side_lengths = _lengths(model.bandwidth)[:, None] + _lengths(model.count)

    def encode(self, c: Array, step_index: npt.NDArray[np.uint8]) -> list[bytes]:
        """Return the bytes of each row of coefficients [F, size], with a step a row [F]."""
        return self.codes(self.draft(c, step_index))

    def draft(
        self,
        c: Array,
        step_index: npt.NDArray[np.uint8],
        worth: npt.NDArray[np.float32] | None = None,
    ) -> Draft:
        """Return rows of coefficients [F, size] quantised with a step each [F].

        Of the nearest magnitude, the one below it and zero, each becomes the one with the least
        squared error (in steps) plus `worth` [F] (default WORTH) times its bits, phase by phase:
        what is decided is the context of what comes later. Bandwidth and count are those of plain
        rounding.
        """
        worth = np.full(len(c), WORTH, dtype=np.float32) if worth is None else worth
        scaled = c * (np.float32(1) / STEP[step_index])[:, None]
        exact = np.minimum(np.abs(scaled), np.float32(MOST))
        side = Side.of(grid(exact > 1 - ROUNDING, self.model.blocks))
        loud = np.flatnonzero(side.count)
        place = np.full((len(c), 2), -1)
        groups: list[Chosen] = []
        bits = np.zeros(len(c))
        for some in _by_bandwidth(side.bandwidth[loud]):
            rows = loud[some]
            chosen = self._decide(exact[rows], scaled[rows] < 0, side.rows(rows), worth[rows])
            held = chosen.values.any(axis=1)
            bits[rows] = np.where(held, self._bits(chosen), 0)
            place[rows[held], 0] = len(groups)
            place[rows[held], 1] = np.flatnonzero(held)
            groups.append(chosen)
        return Draft(step_index, groups, place, bits)

    def draft_of(self, q: npt.NDArray[np.int32], step_index: npt.NDArray[np.uint8]) -> Draft:
        """Return whole numbers [F, size], with a step a row [F], to be coded as they are."""
        place = np.full((len(q), 2), -1)
        groups: list[Chosen] = []
        bits = np.zeros(len(q))
        loud = np.flatnonzero(q.any(axis=1))
        for first in range(0, len(loud), _GROUP_ROWS):
            rows = loud[first : first + _GROUP_ROWS]
            chosen = Chosen.of(self.model, q[rows])
            bits[rows] = self._bits(chosen)
            place[rows, 0], place[rows, 1] = len(groups), np.arange(len(rows))
            groups.append(chosen)
        return Draft(step_index, groups, place, bits)

    def codes(self, draft: Draft) -> list[bytes]:
        """Return the bytes of a draft's rows."""
        return [self.code(draft, row) for row in range(len(draft.place))]

    def code(self, draft: Draft, row: int) -> bytes:
        """Return the bytes of one of a draft's rows."""
        group, at = draft.place[row]
        if group < 0:
            return b""
        return bytes([draft.step_index[row]]) + self._push(draft.groups[group], at).tobytes()

    def decode(self, codes: Sequence[bytes], *, strict: bool = True) -> npt.NDArray[np.float32]:
        """Return the coefficients [F, size] float32 of rows' bytes.

        Raises CodeError where they are not what `encode` made with this model. With `strict`
        false any bytes decode to some row: random ones to what the model holds for music.
        """
        out = np.zeros((len(codes), self.size), dtype=np.float32)
        opened = [(row, Pulled(code[1:])) for row, code in enumerate(codes) if code]
        sides = [self._pull_side(pulled) for _, pulled in opened]
        for some in _by_bandwidth(np.array([side[0] for side in sides], dtype=np.uint8)):
            rows = np.array([opened[i][0] for i in some])
            pulled = [opened[i][1] for i in some]
            bandwidth, count = np.array([sides[i] for i in some], dtype=np.uint8).T
            side = Side(bandwidth.copy(), count.copy(), self._bins)
            steps = np.array([codes[row][0] for row in rows])
            q, offsets = self._decode_group(pulled, side, strict=strict)
            out[rows] = dequantise(q, offsets, steps)
            if self._fill.any():
                levels = np.where(q == 0, offsets, np.float32(0))
                noise = _noise(levels, side, [codes[row] for row in rows], self._strength)
                out[rows] += noise * STEP[steps][:, None]
        return out

    def reconstruct(self, draft: Draft) -> npt.NDArray[np.float32]:
        """Return the coefficients [F, size] that `decode` gives for the codes of a draft."""
        out = np.zeros((len(draft.place), self.size), dtype=np.float32)
        for number, chosen in enumerate(draft.groups):
            rows = np.flatnonzero(draft.place[:, 0] == number)
            at = draft.place[rows, 1]
            some = self._placed(chosen.order, chosen.values[at], chosen.index[at])
            out[rows] = dequantise(*some, draft.step_index[rows])
        return out

    def _decide(
        self, exact: Array, minus: npt.NDArray[np.bool_], side: Side, worth: Array
    ) -> Chosen:
        """Return the symbols of magnitudes [F, size], in steps, that are worth their bits."""
        blocks, stops = self.model.blocks, side.stop
        most = int(stops.max(initial=0))
        order, ends = coding_order(blocks, most)
        coded = order // blocks < stops[:, None]
        wanted = np.where(coded, exact[:, order], np.float32(0))
        context = Context(blocks, len(exact), self._bins)
        index = np.empty(wanted.shape, dtype=np.uint16)
        magnitudes = np.zeros(wanted.shape, dtype=np.int32)
        prices = worth / np.float32(LENGTH_UNIT)
        begin = 0
        for number, (phase, end) in enumerate(zip(phases(blocks), ends, strict=True)):
            part = (slice(None), slice(begin, end))
            index[part] = self.model.choose(number, phase, context, side, most)
            at = np.nonzero(wanted[part] > 0.5)
            found = magnitudes[part]
            found[at] = self._worthwhile(wanted[part][at], index[part][at], prices[at[0]])
            context.reveal(phase, found)
            begin = end
        values = np.where(minus[:, order], -magnitudes, magnitudes)
        return Chosen(side, index, values, coded, order, ends)

    def _worthwhile(self, exact: Array, index: Array, price: Array) -> npt.NDArray[np.int32]:
        """Return the magnitudes [n] that exact ones are best coded as.

        By distributions [n], at a price [n] of each part of a bit.
        """
        nearest = (exact + np.float32(0.5)).astype(np.int32)
        least = exact * exact + price * self._prices[index, 0]
        best = np.zeros_like(nearest)
        for magnitude in (nearest - 1, nearest):
            error = exact - magnitude - self._centroids[index, _centroid_class(magnitude)]
            cost = error * error + price * self._prices[index, np.minimum(magnitude, ESCAPE)]
            better = (cost < least) & (magnitude > 0)
            least = np.where(better, cost, least)
            best = np.where(better, magnitude, best)
        return best

    def _bits(self, chosen: Chosen) -> npt.NDArray[np.float64]:
        """Return about how many bits each of a group's rows takes, [F]."""
        magnitudes = np.abs(chosen.values)
        at = chosen.index * np.int32(ALPHABET) + np.minimum(magnitudes, ESCAPE)
        total = (self._lengths.ravel()[at] * chosen.coded).sum(axis=1, dtype=np.int64)
        rows, beyond = np.nonzero(magnitudes >= ESCAPE)
        classes = bit_classes(magnitudes[rows, beyond] - ESCAPE)
        np.add.at(total, rows, np.rint(ESCAPE_BITS[classes] * LENGTH_UNIT).astype(np.int64))
        total += self._side_lengths[chosen.side.bandwidth, chosen.side.count]
        return np.asarray(total / LENGTH_UNIT + _ROW_BITS)

    def _push(self, chosen: Chosen, row: int) -> Pushed:
        coded = chosen.coded[row]
        values, index = chosen.values[row][coded], chosen.index[row][coded]
        magnitudes = np.abs(values)
        symbols = np.minimum(magnitudes, ESCAPE)
        pushed = Pushed(values[values != 0] < 0)
        stop = len(values)  # what is pushed already begins here
        escapes = np.flatnonzero(symbols == ESCAPE)
        if len(escapes):
            ends = np.cumsum(coded)[np.array(chosen.ends) - 1]
            phase_of = np.searchsorted(ends, escapes, side="right")
            for phase in reversed(np.unique(phase_of)):
                end = ends[phase]
                pushed.symbols(symbols[end:stop], self._probabilities[index[end:stop]])
                pushed.escapes(magnitudes[escapes[phase_of == phase]] - ESCAPE)
                stop = end
        pushed.symbols(symbols[:stop], self._probabilities[index[:stop]])
        bandwidth, count = int(chosen.side.bandwidth[row]), int(chosen.side.count[row])
        pushed.symbols(np.array([count], dtype=np.int32), self._count[bandwidth][None])
        pushed.symbols(np.array([bandwidth], dtype=np.int32), self._bandwidth[None])
        return pushed

    def _pull_side(self, pulled: Pulled) -> tuple[int, int]:
        bandwidth = int(pulled.symbols(self._bandwidth[None])[0])
        return bandwidth, int(pulled.symbols(self._count[bandwidth][None])[0])

    def _decode_group(
        self, pulled: list[Pulled], side: Side, *, strict: bool
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return whole numbers [F, size], and how far coefficients lie beyond theirs, in steps."""
        blocks, stops = self.model.blocks, side.stop
        most = int(stops.max())
        order, ends = coding_order(blocks, most)
        context = Context(blocks, len(pulled), self._bins)
        index = np.empty((len(pulled), len(order)), dtype=np.uint16)
        values = np.zeros(index.shape, dtype=np.int32)
        begin = 0
        for number, (phase, end) in enumerate(zip(phases(blocks), ends, strict=True)):
            index[:, begin:end] = self.model.choose(number, phase, context, side, most)
            for row, one in enumerate(pulled):
                part = (row, slice(begin, begin + phase.count(int(stops[row]))))
                symbols = one.symbols(self._probabilities[index[part]])
                escaped = np.flatnonzero(symbols == ESCAPE)
                if len(escaped):
                    symbols[escaped] += one.escapes(len(escaped))
                values[part] = symbols
            context.reveal(phase, values[:, begin:end])
            begin = end
        for row, one in enumerate(pulled):
            held = np.flatnonzero(values[row])
            minus = held[one.signs(len(held), strict=strict)]
            values[row, minus] *= -1
        return self._placed(order, values, index)

    def _beyond(
        self, index: npt.NDArray[np.uint16], magnitudes: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return [F, n], in steps: the centroids of magnitudes, and the levels of the zeros."""
        beyond: npt.NDArray[np.float32] = self._centroids[index, _centroid_class(magnitudes)]
        return np.where(magnitudes == 0, self._fill[index], beyond) if self._fill.any() else beyond

    def _placed(self, order: Array, values: Array, index: Array) -> tuple[Array, Array]:
        """Return rows [F, size] of values [F, n] in coding order, and of what lies beyond them."""
        q = np.zeros((len(values), self.size), dtype=np.int32)
        offsets = np.zeros(q.shape, dtype=np.float32)
        q[:, order] = values
        offsets[:, order] = self._beyond(index, np.abs(values))
        return q, offsets


def _by_bandwidth(bandwidth: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield groups of rows [n] of about the same bandwidth."""
    order = np.argsort(bandwidth, kind="stable")
    for first in range(0, len(order), _GROUP_ROWS):
        yield order[first : first + _GROUP_ROWS]


def _lengths(frequencies: npt.NDArray[np.uint16]) -> npt.NDArray[np.int32]:
    """Return the lengths of symbols of these frequencies, in 1/LENGTH_UNIT bits."""
    bits = np.log2(TOTAL) - np.log2(frequencies.astype(np.float64))
    return np.asarray(np.rint(bits * LENGTH_UNIT), dtype=np.int32)


def zero_levels(frequencies: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return [D], in steps: the mean |c| of zeros, were |c| exponential with so many zeros.

    Within a tenth of what is measured on music where zeros are less likely than 99 in 100; a
    fifth above it elsewhere. Rounded to 1/1024, so that no platform's logarithm shows.
    """
    zeros = frequencies[:, 0] / TOTAL
    widest = 1 - ROUNDING  # step: what was smaller became zero
    level = -widest / np.log1p(-zeros) - widest * (1 - zeros) / zeros
    return np.asarray(np.rint(level * 1024) / 1024, dtype=np.float32)


def _noise(
    levels: npt.NDArray[np.float32], side: Side, codes: Sequence[bytes], fill: float
) -> npt.NDArray[np.float32]:
    """Return levels [F, size], those above each row's bandwidth added, with signs by its bytes."""
    rows, size = levels.shape
    bins, stop = np.arange(size) // (size // side.bins), side.stop[:, None]
    above = np.float32(fill * ABOVE) * stop.astype(np.float32) / np.maximum(bins, 1)
    levels = np.where(bins < stop, levels, above.astype(np.float32))
    drawn = b"".join(hashlib.shake_128(code).digest(-(-size // 8)) for code in codes)
    bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8).reshape(rows, -1), axis=1)
    return np.where(bits[:, :size] > 0, -levels, levels)


def _centroid_class(magnitudes: Array) -> Array:
    return np.clip(magnitudes, 1, CENTROIDS) - 1


def pack(codes: Sequence[bytes], cap: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return codes as stored: uint8 [F, cap] ending in zeros, and how many bytes count, [F]."""
    packed = np.zeros((len(codes), cap), dtype=np.uint8)
    for row, code in zip(packed, codes, strict=True):
        if len(code) > cap:
            raise ValueError(f"a row of {len(code)} bytes, more than {cap}")
        row[: len(code)] = np.frombuffer(code, dtype=np.uint8)
    return packed, np.array([len(code) for code in codes], dtype=np.int32)


def unpack(packed: Array, code_bytes: Array) -> list[bytes]:
    """Return the bytes of each row of stored codes [F, cap]; undoes `pack`.

    Raises CodeError where a row says it has more bytes than there are.
    """
    if np.any(code_bytes < 0) or np.any(code_bytes > packed.shape[1]):
        raise CodeError(f"a row of more than {packed.shape[1]} bytes")
    return [row[:n].tobytes() for row, n in zip(packed, code_bytes, strict=True)]
