"""Rows of coefficients to bytes and back, each row by itself.

A row's bytes: its step index, then its symbols (see `bitstream`): the classes of bandwidth and
count, the magnitudes in the order of `layout` with what exceeds the alphabet after each phase,
and the signs. A row of zeros has no bytes.

Rows are computed in groups of similar bandwidth; arithmetic is in whole numbers, so what is
computed beside a row changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fadae.coding.bitstream import ESCAPE_BITS, Pulled, Pushed
from fadae.coding.entropy import ESCAPE, TOTAL, EntropyModel, probabilities
from fadae.coding.symbols import (
    CENTROIDS,
    MOST,
    ROUNDING,
    STEP,
    Context,
    Side,
    dequantise,
    grid,
    phases,
    quantise,
    ungrid,
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


class Chosen:
    """The symbols of a group of rows in coding order, and the distribution of each.

    index [F, n] uint16, symbols [F, n] int32 (magnitudes), signs [F, n] bool, coded [F, n] bool:
    whether it is below its row's bandwidth; ends: where each phase ends among the n.
    """

    def __init__(self, model: EntropyModel, cells: npt.NDArray[np.int32], side: Side) -> None:
        """Choose the distributions of all symbols of a grid [blocks, F, bins]."""
        self.side = side
        stops = side.stop
        most = int(stops.max(initial=0))
        context = Context.of(cells)
        index, values, coded = [], [], []
        for number, phase in enumerate(phases(model.blocks)):
            index.append(model.choose(number, phase, context, side, most))
            values.append(cells[phase.block][:, phase.bins(most)])
            bins = np.arange(most)[phase.bins(most)]
            coded.append(bins[None, :] < stops[:, None])
        self.ends = np.cumsum([part.shape[1] for part in index])
        self.index = np.concatenate(index, axis=1)
        self.values = np.concatenate(values, axis=1)
        self.coded = np.concatenate(coded, axis=1)

    def in_order(self, model: EntropyModel, cells: Array) -> Array:
        """Return the values of another grid [blocks, F, bins] in the symbols' order, [F, n]."""
        most = int(self.side.stop.max(initial=0))
        parts = [cells[phase.block][:, phase.bins(most)] for phase in phases(model.blocks)]
        return np.concatenate(parts, axis=1)


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
        self._side_lengths = _lengths(model.bandwidth)[:, None] + _lengths(model.count)

    def encode(
        self, c: Array, step_index: npt.NDArray[np.uint8], *, q: npt.NDArray[np.int32] | None = None
    ) -> list[bytes]:
        """Return the bytes of each row of coefficients [F, size], with a step a row [F].

        `q` [F, size] int32, where it is known already, is coded as it is.
        """
        q = quantise(c, step_index) if q is None else q
        codes = [b""] * len(q)
        for rows, chosen in self._groups(q):
            for at, row in enumerate(rows):
                if chosen.side.count[at]:
                    pushed = self._push(chosen, at)
                    codes[row] = bytes([step_index[row]]) + pushed.tobytes()
        return codes

    def bits(self, q: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Return about how many bits each row of whole numbers [F, size] takes, [F]."""
        bits = np.zeros(len(q))
        for rows, chosen in self._groups(q):
            bits[rows] = np.where(
                chosen.side.count > 0, self._group_bits(chosen, np.abs(chosen.values)), 0
            )
        return bits

    def refine(
        self,
        c: Array,
        q: npt.NDArray[np.int32],
        step_index: npt.NDArray[np.uint8],
        worth: float = WORTH,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return whole numbers [F, size] that serve c [F, size] better than q, for their bytes.

        Also returns about how many bits each row then takes, [F], each number being reckoned as
        if the others were still those of `q`: within three in a hundred.

        Of the nearest magnitude, the one below it and zero, each becomes the one with the least
        squared error (in steps) plus `worth` times its bits, the rest being as in `q`.
        """
        scaled = np.abs(c) / STEP[step_index][:, None]
        best, bits = np.zeros_like(q), np.zeros(len(q))
        price = np.float32(worth / LENGTH_UNIT)
        for rows, chosen in self._groups(q):
            wanted = chosen.in_order(self.model, grid(scaled[rows], self.model.blocks))
            at = np.nonzero(chosen.coded & (wanted > 0.5))
            index, exact = chosen.index[at], wanted[at]
            nearest = np.minimum(exact + 0.5, MOST).astype(np.int32)
            least = exact * exact + price * self._lengths[index, 0]
            magnitude = np.zeros_like(nearest)
            for candidate in (nearest - 1, nearest):
                error = exact - candidate - self._centroids[index, _centroid_class(candidate)]
                length = self._lengths[index, np.minimum(candidate, ESCAPE)]
                cost = error * error + price * length
                better = (cost < least) & (candidate > 0)
                least = np.where(better, cost, least)
                magnitude = np.where(better, candidate, magnitude)
            ordered = np.zeros(wanted.shape, dtype=np.int32)
            ordered[at] = magnitude
            cells = np.zeros((self.model.blocks, len(rows), self._bins), dtype=np.int32)
            self._spread(chosen.ends, ordered, cells)
            best[rows] = ungrid(cells)
            held = ordered.any(axis=1)
            bits[rows] = np.where(held, self._group_bits(chosen, ordered), 0)
        return np.where(c < 0, -best, best), bits

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
                levels = np.where(q == 0, offsets, 0)
                noise = _noise(levels, side, [codes[row] for row in rows], self._strength)
                out[rows] += noise * STEP[steps][:, None]
        return out

    def reconstruct(
        self, q: npt.NDArray[np.int32], step_index: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        """Return the coefficients [F, size] that `decode` gives for whole numbers [F, size]."""
        out = np.zeros(q.shape, dtype=np.float32)
        for rows, chosen in self._groups(q):
            centroid = self._centroids[chosen.index, _centroid_class(np.abs(chosen.values))]
            cells = np.zeros((self.model.blocks, len(rows), self._bins), dtype=np.float32)
            self._spread(chosen.ends, centroid, cells)
            flat = cells.transpose(1, 2, 0).reshape(len(rows), self.size)
            out[rows] = dequantise(q[rows], flat, step_index[rows])
        return out

    def _groups(self, q: npt.NDArray[np.int32]) -> Iterator[tuple[Array, Chosen]]:
        """Yield rows [n] that are computed together, and their symbols."""
        cells = grid(q, self.model.blocks)
        side = Side.of(cells)
        for rows in _by_bandwidth(side.bandwidth):
            group = np.ascontiguousarray(cells[:, rows])
            yield rows, Chosen(self.model, group, side.rows(rows))

    def _group_bits(self, chosen: Chosen, magnitudes: npt.NDArray[np.int32]) -> Array:
        """Return the bits [F] of magnitudes [F, n], were their distributions the chosen ones."""
        symbols = np.minimum(magnitudes, ESCAPE)
        lengths = self._lengths[chosen.index, symbols]
        total = np.where(chosen.coded, lengths, 0).sum(axis=1, dtype=np.int64)
        beyond = magnitudes - ESCAPE
        rows, at = np.nonzero(beyond >= 0)
        classes = np.log2(beyond[rows, at] + 1.0).astype(np.int64)
        np.add.at(total, rows, np.rint(ESCAPE_BITS[classes] * LENGTH_UNIT).astype(np.int64))
        bandwidth, count = chosen.side.bandwidth, chosen.side.count
        total += self._side_lengths[bandwidth, count]
        return np.asarray(total / LENGTH_UNIT + _ROW_BITS)

    def _push(self, chosen: Chosen, row: int) -> Pushed:
        coded = chosen.coded[row]
        values, index = chosen.values[row], chosen.index[row]
        magnitudes = np.abs(values)
        pushed = Pushed(values[coded & (values != 0)] < 0)
        stop = len(values)  # what is pushed already begins here
        escapes = np.flatnonzero(magnitudes >= ESCAPE)
        symbols = np.minimum(magnitudes, ESCAPE)
        for phase in reversed(np.unique(np.searchsorted(chosen.ends, escapes, side="right"))):
            end = chosen.ends[phase]
            begin = chosen.ends[phase - 1] if phase else 0
            later = slice(end, stop)
            mask = coded[later]
            pushed.symbols(symbols[later][mask], self._probabilities[index[later][mask]])
            inside = escapes[(escapes >= begin) & (escapes < end)]
            pushed.escapes(magnitudes[inside] - ESCAPE)
            stop = end
        mask = coded[:stop]
        pushed.symbols(symbols[:stop][mask], self._probabilities[index[:stop][mask]])
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
        stops = side.stop
        most = int(stops.max())
        context = Context(self.model.blocks, len(pulled), self._bins)
        magnitudes: list[npt.NDArray[np.int32]] = []
        centroids: list[npt.NDArray[np.float32]] = []
        for number, phase in enumerate(phases(self.model.blocks)):
            index = self.model.choose(number, phase, context, side, most)
            found = np.zeros(index.shape, dtype=np.int32)
            for row, one in enumerate(pulled):
                n = phase.count(int(stops[row]))
                symbols = one.symbols(self._probabilities[index[row, :n]])
                escaped = np.flatnonzero(symbols == ESCAPE)
                if len(escaped):
                    symbols[escaped] += one.escapes(len(escaped))
                found[row, :n] = symbols
            context.reveal(phase, found)
            magnitudes.append(found)
            centroids.append(self._beyond(index, found))
        values = np.concatenate(magnitudes, axis=1)
        for row, one in enumerate(pulled):
            held = np.flatnonzero(values[row])
            minus = held[one.signs(len(held), strict=strict)]
            values[row, minus] *= -1
        ends = np.cumsum([part.shape[1] for part in magnitudes])
        q = np.zeros((self.model.blocks, len(pulled), self._bins), dtype=np.int32)
        offsets = np.zeros(q.shape, dtype=np.float32)
        self._spread(ends, values, q)
        self._spread(ends, np.concatenate(centroids, axis=1), offsets)
        flat = offsets.transpose(1, 2, 0).reshape(len(pulled), self.size)
        return ungrid(q), flat

    def _beyond(
        self, index: npt.NDArray[np.uint16], magnitudes: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return [F, n], in steps: the centroids of magnitudes, and the levels of the zeros."""
        beyond: npt.NDArray[np.float32] = self._centroids[index, _centroid_class(magnitudes)]
        return np.where(magnitudes == 0, self._fill[index], beyond) if self._fill.any() else beyond

    def _spread(self, ends: Array, values: Array, cells: Array) -> None:
        """Put symbols [F, n] in coding order where they belong in a grid [blocks, F, bins]."""
        begin = 0
        for phase, end in zip(phases(self.model.blocks), ends, strict=True):
            place = cells[phase.block][:, phase.residue :: phase.stride]
            place[:, : end - begin] = values[:, begin:end]
            begin = end


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
