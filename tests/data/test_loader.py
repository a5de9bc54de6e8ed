"""The loader: the order's batches at any world size, each window read once, errors told."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from fadae.data.loader import Loader, UnitReader
from fadae.data.order import CHUNK_ROWS, DataOrder, lanes_of
from fadae.data.rows import RowSet
from fadae.errors import StorageError

ROWS = 9000


class Store:
    """Rows that say their own number, and count how often they are read."""

    def __init__(self) -> None:
        self.data = np.repeat(np.arange(ROWS, dtype=np.float32)[:, None], 2, axis=1)
        self.reads = np.zeros(ROWS, dtype=int)
        self.failures_left = 0
        self.lock = threading.Lock()

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        with self.lock:
            self.reads[start:stop] += 1
            if self.failures_left:
                self.failures_left -= 1
                raise StorageError("rows are not there")
        return self.data[start:stop]


def an_order() -> DataOrder:
    return DataOrder(RowSet.of([0, 1500, 4096], [1000, 4000, ROWS], key=5), 0, 500)


def loader(
    store: Store, order: DataOrder, lanes: range, first_step: int = 0, cache_bytes: int = 0
) -> Loader[list[int]]:
    reader = UnitReader(store, order, cache_bytes, ROWS)
    rows = lambda features: features[:, 0].astype(int).tolist()  # noqa: E731
    return Loader(reader, order, [lanes], rows, 2, np.float32, first_step)


@pytest.mark.parametrize("world", [1, 3])
def test_ranks_together_read_the_orders_batches(world: int) -> None:
    order = an_order()
    ranks = [loader(Store(), order, lanes_of(r, world, 16), first_step=5) for r in range(world)]
    for rank in ranks:
        rank.__enter__()
    try:
        for step in range(5, 2 * order.steps + 2):
            parts = [rank.next() for rank in ranks]
            assert [(p.epoch, p.step) for p in parts] == [divmod(step, order.steps)] * world
            rows = [row for part in parts for row in part.parts[0]]
            assert rows == order.batch(*divmod(step, order.steps)).tolist()
    finally:
        for rank in ranks:
            rank.__exit__()


def test_a_cached_set_is_read_once_a_run() -> None:
    store, order = Store(), an_order()
    with loader(store, order, range(16), cache_bytes=10**9) as batches:
        for _ in range(3 * order.steps):
            batches.next()
    wanted = order.rows.within(0, ROWS)
    # A unit at a lane's border may be asked for by both lanes at the same moment.
    assert store.reads[wanted].mean() < 1.3


def test_the_cache_keeps_no_more_than_its_budget() -> None:
    store, order = Store(), an_order()
    row_bytes = store.data[0].nbytes
    reader = UnitReader(store, order, 1000 * row_bytes, ROWS)
    for _ in range(3):
        for unit in order.units.tolist():
            reader.unit(unit)
    kept = store.reads[order.rows.within(0, ROWS)] == 1
    assert 900 < kept.sum() <= 1000


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_sample_reads_at_most_twice_what_it_uses(share: float) -> None:
    whole = RowSet.of([0, 1500, 4096], [1000, 4000, ROWS], key=5)
    rows = whole.in_chunks(int(share * whole.count), CHUNK_ROWS)
    store, order = Store(), DataOrder(rows, 0, 50)
    reader = UnitReader(store, order, 0, ROWS)
    read = [reader.unit(unit) for unit in order.units.tolist()]
    np.testing.assert_array_equal(
        np.concatenate([found for found, _ in read]), rows.within(0, ROWS)
    )
    np.testing.assert_array_equal(
        np.concatenate([features[:, 0] for _, features in read]), rows.within(0, ROWS)
    )
    touched = np.unique(np.flatnonzero(store.reads) // CHUNK_ROWS)
    assert len(touched) * CHUNK_ROWS <= 2 * rows.count + CHUNK_ROWS


def test_what_reading_raises_ends_the_stream() -> None:
    store = Store()
    store.failures_left = 1
    with (
        loader(store, an_order(), range(16)) as batches,
        pytest.raises(StorageError, match="rows"),
    ):
        batches.next()


def test_leaving_stops_the_threads() -> None:
    before = threading.active_count()
    with loader(Store(), an_order(), range(16)) as batches:
        batches.next()
    assert threading.active_count() == before
