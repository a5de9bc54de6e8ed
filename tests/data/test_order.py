"""The data order: every row once an epoch, the same batches at any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.data.order import DataOrder, Piece, Window, lanes_of
from fadae.data.rows import RowSet


def order_of(
    rows: int = 3000, batch_size: int = 64, window_rows: int = 200, gap: int = 100, seed: int = 0
) -> DataOrder:
    starts = np.arange(0, rows, 500)
    return DataOrder(
        RowSet.of(starts, starts + 500 - gap, key=1), seed, batch_size, window_rows=window_rows
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 3))
def test_an_epoch_visits_every_row_once(batch_size: int, window: int, epoch: int) -> None:
    order = order_of(1500, batch_size, window)
    batches = [order.batch(epoch, step) for step in range(order.steps)]
    assert [len(batch) for batch in batches] == [order.batch_rows(s) for s in range(order.steps)]
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), order.rows.within(0, 10**6))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    batch = order_of().batch(0, 3).tolist()
    assert order_of().batch(0, 3).tolist() == batch
    assert order_of().batch(1, 3).tolist() != batch
    assert order_of(seed=1).batch(0, 3).tolist() != batch


def test_units_their_parts_and_windows_are_each_shuffled_by_seed_and_epoch() -> None:
    def found(seed: int, epoch: int) -> tuple[list[int], list[int], list[int]]:
        order = order_of(40_000, seed=seed)
        unit, rows = int(order.units[0]), int(order.counts[0])
        window = Window(0, rows, (Piece(unit, 0, rows),))
        return (
            [piece.unit for window in order.windows(epoch, 0) for piece in window.pieces],
            sorted(order.piece_rows(epoch, Piece(unit, 0, rows // 2)).tolist()),
            order.window_order(epoch, window).tolist(),
        )

    for units, part, window in (found(0, 1), found(1, 0)):
        assert units != found(0, 0)[0]
        assert part != found(0, 0)[1]
        assert window != found(0, 0)[2] and sorted(window) == sorted(found(0, 0)[2])


def test_a_batch_mixes_rows_from_all_over() -> None:
    order = order_of(40_000)
    spread = [np.ptp(order.batch(0, step)) / 40_000 for step in range(20)]
    assert min(spread) > 0.6
    neighbours = [np.min(np.diff(np.sort(order.batch(0, step)))) for step in range(20)]
    assert np.median(neighbours) >= 1


@pytest.mark.parametrize("world", [1, 2, 3, 4, 16])
def test_ranks_share_the_lanes_in_order(world: int) -> None:
    lanes = [lane for rank in range(world) for lane in lanes_of(rank, world, 16)]
    assert lanes == list(range(16))


@pytest.mark.parametrize("rows", [64, 50, 7, 1])
def test_leaves_are_the_batch_cut_evenly(rows: int) -> None:
    order = order_of(batch_size=rows)
    for leaf in range(4):
        lanes = range(4 * leaf, 4 * leaf + 4)
        share = sum(order.share(0, lane) for lane in lanes)
        assert share == (leaf + 1) * rows // 4 - leaf * rows // 4


def test_a_unit_is_fetched_by_one_rank_or_two_at_a_border() -> None:
    order = order_of(40_000)
    world = 4
    users: dict[int, set[int]] = {}
    for rank in range(world):
        for lane in lanes_of(rank, world, order.lanes):
            for window in order.windows(2, lane):
                for piece in window.pieces:
                    users.setdefault(piece.unit, set()).add(rank)
    assert sorted(users) == order.units.tolist()
    assert sum(len(ranks) - 1 for ranks in users.values()) <= world - 1


def test_fifty_million_rows_cost_a_few_bytes_a_shard() -> None:
    starts = np.arange(0, 50_000_000, 100_000)
    order = DataOrder(RowSet.of(starts, starts + 99_990, key=1), 0, 4096)
    assert order.unit_rows == 1024
    assert order.units.nbytes + order.counts.nbytes < 1_000_000
    window = next(order.windows(0, 5))
    assert len(order.window_order(0, window)) == window.rows <= 2048
