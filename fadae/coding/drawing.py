"""Rows that no recording has, each drawn given the row before, so that sound goes on.

A row is drawn as the entropy model says: its bandwidth and count, then phase after phase the
magnitudes, each from the distribution that the row's earlier phases pick. Alone, every row is a
fair draw from the model. What picks a symbol is a normal number; those in the same place of two
neighbouring rows are correlated (a Gaussian copula over a first-order autoregressive process), so
what sounds loud in one row mostly does in the next, and the bandwidth and the loudness change
slowly. The model itself knows nothing across rows, so there is no melody or metre. Signs have no
memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from fadae.coding.entropy import TOTAL, EntropyModel
from fadae.coding.symbols import Context, Side, grid, phases, ungrid

# Of one row's numbers with the next row's. With these, levels in 32 bands and in single bins stay
# from row to row about as they do in music.
SYMBOLS_STAY = 0.8
SIDE_STAYS = 0.9
_ROWS = 16  # at a time


def draw(model: EntropyModel, size: int, frames: int, seed: int) -> Iterator[npt.NDArray[np.int32]]:
    """Yield whole numbers [n, size], `frames` rows in all; a pure function of the arguments.

    A magnitude beyond the alphabet is its last one.
    """
    random = np.random.default_rng(seed)
    side, symbols = _Memory(random, 2, SIDE_STAYS), _Memory(random, size, SYMBOLS_STAY)
    for first in range(0, frames, _ROWS):
        bandwidth, held = side.shares(_ROWS).T
        drawn = _drawn(model, size // model.blocks, bandwidth, held, symbols.shares(_ROWS))
        signed = np.where(random.random(drawn.shape) < 0.5, -drawn, drawn)
        yield signed[: frames - first]  # more seconds of the same seed begin with the same ones


class _Memory:
    """Normal numbers [rows, n] of which each stays near the one above it, as shares 0 .. 1."""

    def __init__(self, random: np.random.Generator, size: int, stay: float) -> None:
        self._random, self._stay = random, stay
        self._last = random.standard_normal(size)

    def shares(self, rows: int) -> npt.NDArray[np.float64]:
        """Return the next rows [rows, n], evenly spread over 0 .. 1."""
        found = self._random.standard_normal((rows, len(self._last)))
        found *= np.sqrt(1 - self._stay**2)
        for row in range(rows):
            found[row] += self._stay * self._last
            self._last = found[row]
        return np.asarray(ndtr(found))


def _drawn(
    model: EntropyModel,
    bins: int,
    bandwidth: npt.NDArray[np.float64],
    held: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
) -> npt.NDArray[np.int32]:
    """Return the magnitudes [F, size] that shares [F], [F] and [F, size] pick."""
    reach = _picked(
        np.broadcast_to(model.bandwidth, (len(held), *model.bandwidth.shape)), bandwidth
    )
    side = Side(reach, _picked(model.count[reach], held), bins)
    most = int(side.stop.max())
    wanted = grid(shares, model.blocks)
    cells = np.zeros(wanted.shape, dtype=np.int32)
    context = Context.of(cells)
    for number, phase in enumerate(phases(model.blocks)):
        at = phase.bins(most)
        index = model.choose(number, phase, context, side, most)
        found = _picked(model.distributions[index], wanted[phase.block][:, at]).astype(np.int32)
        found[np.arange(most)[at] >= side.stop[:, None]] = 0
        context.reveal(phase, found)
        cells[phase.block][:, at] = found
    return ungrid(cells)


def _picked(
    frequencies: npt.NDArray[np.uint16], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Return the symbols [...] at shares [...] of frequencies [..., n]."""
    ends = np.cumsum(frequencies, axis=-1, dtype=np.int64)[..., :-1]
    below = np.count_nonzero(shares[..., None] * TOTAL >= ends, axis=-1)
    return np.asarray(below, dtype=np.uint8)
