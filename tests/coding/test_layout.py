"""The order of coding: everything once, and only earlier things as context."""

from __future__ import annotations

import numpy as np
import pytest

from fadae.coding.symbols import NEIGHBOURS, REACH_BINS, Context, Side, coding_order, grid, phases

every_layout = pytest.mark.parametrize("blocks", [1, 3, 5, 15])


@every_layout
def test_every_coefficient_is_coded_once(blocks: int) -> None:
    seen = np.zeros((blocks, 101), dtype=int)
    for phase in phases(blocks):
        seen[phase.block, phase.bins(101)] += 1
        assert phase.count(101) == len(range(101)[phase.bins(101)])
    assert np.all(seen == 1)


@every_layout
def test_neighbours_are_coded_earlier(blocks: int) -> None:
    bins = 160
    known = np.zeros((blocks, bins + 2 * REACH_BINS), dtype=bool)
    known[:, :REACH_BINS] = known[:, -REACH_BINS:] = True
    for phase in phases(blocks):
        at = np.arange(bins)[phase.bins(bins)] + REACH_BINS
        for away, other in phase.offsets:
            assert known[phase.block + other, at + away].all()
        assert len(set(phase.offsets)) == len(phase.offsets) <= NEIGHBOURS
        known[phase.block, at] = True


def test_a_grid_is_ordered_by_block() -> None:
    rows = np.arange(24).reshape(2, 12)
    cells = grid(rows, 3)
    assert cells.shape == (3, 2, 4)
    assert cells[1, 0].tolist() == [1, 4, 7, 10]
    assert cells[2, 1].tolist() == [14, 17, 20, 23]


@every_layout
def test_the_order_is_that_of_the_phases(blocks: int) -> None:
    rows = np.arange(2 * 101 * blocks).reshape(2, -1)
    order, ends = coding_order(blocks, 90)
    cells = grid(rows, blocks)
    begin = 0
    for phase, end in zip(phases(blocks), ends, strict=True):
        expected = cells[phase.block][:, phase.bins(90)]
        np.testing.assert_array_equal(rows[:, order[begin:end]], expected)
        begin = end
    assert len(order) == begin == 90 * blocks


def test_what_is_revealed_is_what_the_encoder_saw() -> None:
    rng = np.random.default_rng(0)
    cells = rng.geometric(0.3, (3, 4, 50)).astype(np.int32) - 1
    whole, growing = Context.of(cells), Context(3, 4, 50)
    for phase in phases(3):
        seen, known = np.zeros((2, len(phase.offsets), 4, phase.count(50)))
        np.testing.assert_array_equal(
            whole.neighbours(phase, 50, seen), growing.neighbours(phase, 50, known)
        )
        growing.reveal(phase, cells[phase.block][:, phase.bins(50)])
    np.testing.assert_array_equal(whole.levels, growing.levels)


def test_side_information_covers_what_it_describes() -> None:
    cells = np.zeros((3, 4, 1250), dtype=np.int32)
    cells[1, 1, 0] = 5
    cells[2, 2, 900] = -1
    cells[:, 3] = 1
    side = Side.of(cells)
    assert side.count[0] == 0
    assert np.all(side.stop[1:] >= [1, 901, 1250])
    assert side.stop.tolist()[1:] == [8, 922, 1250] or side.stop[2] < 1000
    assert np.all(np.diff(side.count.astype(int)) >= 0)
    assert side.inputs().max() <= 127
