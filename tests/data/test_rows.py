"""Row sets and the split: exact counts, whole recordings, the same for ever."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fadae.data.rows import RowSet, keyed_hash, split_rows

spans = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 300)), min_size=1, max_size=6)


def row_set(gaps_and_lengths: list[tuple[int, int]]) -> RowSet:
    starts, stops, at = [], [], 0
    for gap, length in gaps_and_lengths:
        starts.append(at + gap)
        stops.append(at + gap + length)
        at = stops[-1]
    return RowSet.of(starts, stops, key=7)


def listed(rows: RowSet) -> list[int]:
    return [
        int(row)
        for start, stop in zip(rows.starts, rows.stops, strict=True)
        for row in range(start, stop)
    ]


@given(spans, st.integers(0, 1500), st.integers(0, 1500))
@example([(0, 300)], 200, 100)  # an end before the start is an empty cut
def test_within_is_the_listing_cut(gaps: list[tuple[int, int]], a: int, b: int) -> None:
    rows = row_set(gaps)
    assert rows.within(a, b).tolist() == [row for row in listed(rows) if a <= row < b]


@given(spans, st.integers(1, 400))
def test_a_sample_has_exactly_its_size_and_grows_by_addition(
    gaps: list[tuple[int, int]], count: int
) -> None:
    rows = row_set(gaps)
    small, large = rows.thinned(count), rows.thinned(count + 10)
    assert small.count == min(count, rows.count)
    chosen = set(small.within(0, 10_000).tolist())
    assert chosen <= set(large.within(0, 10_000).tolist()) <= set(listed(rows))


@given(spans, st.integers(1, 400))
def test_a_sample_in_chunks_has_its_size_and_grows_by_addition(
    gaps: list[tuple[int, int]], count: int
) -> None:
    rows = row_set(gaps)
    small, large = rows.in_chunks(count, 16), rows.in_chunks(count + 10, 16)
    assert small.count == min(count, rows.count)
    chosen = set(listed(small))
    assert chosen <= set(listed(large)) <= set(listed(rows))
    # Whole chunks, but for the last one drawn.
    cut = [n for n in {row // 16 for row in chosen} if not chosen >= in_chunk(rows, n)]
    assert len(cut) <= 1


def in_chunk(rows: RowSet, chunk: int) -> set[int]:
    return set(rows.within(16 * chunk, 16 * chunk + 16).tolist())


def test_a_sample_in_chunks_uses_half_of_what_it_touches_however_sparse() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 20_000)
    starts = np.cumsum(lengths) - lengths
    ids = [str(number) for number in range(len(starts))]
    train = split_rows(ids, starts, lengths, int(lengths.sum()), 0.5, seed=0).train
    sample = train.in_chunks(train.count // 40, 64)
    chunks, counts = sample.counts(64)
    assert (counts >= 32).sum() >= len(chunks) - 1
    assert sample.in_chunks(sample.count, 64) is sample
    # Recordings of all of the table, and as many as so few chunks can hold.
    drawn = np.searchsorted(starts, sample.starts, side="right")
    assert np.ptp(np.unique(drawn)) > 0.95 * len(starts)


def test_samples_in_chunks_are_those_of_every_machine() -> None:
    # Frozen: other values here are other samples for every run there is.
    sample = RowSet.of([0, 700], [500, 1000], key=3).in_chunks(100, 64)
    assert list(zip(sample.starts.tolist(), sample.stops.tolist(), strict=True)) == [
        (64, 100),
        (256, 320),
    ]


@given(spans, st.sampled_from([8, 64]))
def test_counts_are_those_of_the_units(gaps: list[tuple[int, int]], unit: int) -> None:
    rows = row_set(gaps)
    units, counts = rows.counts(unit)
    expected = np.unique(np.array(listed(rows), dtype=int) // unit, return_counts=True)
    np.testing.assert_array_equal(units, expected[0])
    np.testing.assert_array_equal(counts, expected[1])


def test_a_sample_is_uniform_over_the_rows() -> None:
    rows = RowSet.of([0], [100_000], key=3).thinned(10_000).within(0, 100_000)
    tenths = np.histogram(rows, bins=10, range=(0, 100_000))[0]
    assert np.all(np.abs(tenths - 1000) < 5 * np.sqrt(1000 * 0.9))


def test_hashes_are_those_of_every_machine() -> None:
    # Frozen: another value here is another data order for every run there is.
    assert keyed_hash(1, np.arange(2)).tolist() == [6238072747940578789, 10451216379200822465]


def test_fifty_million_rows_are_sampled_in_flat_memory() -> None:
    rows = RowSet.of(np.arange(0, 50_000_000, 5000), np.arange(0, 50_000_000, 5000) + 4990)
    tracemalloc.start()
    assert rows.thinned(500_000).hash_limit < 2**64
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6


def test_whole_recordings_are_held_out_near_the_share() -> None:
    counts = np.random.default_rng(0).integers(50, 150, 200)
    starts = np.cumsum(counts) - counts
    ids = [f"item/{i}" for i in range(200)]
    split = split_rows(ids, starts, counts, int(counts.sum()) + 77, 0.3, seed=1)
    held = split.holdout.count / counts.sum()
    assert abs(held - 0.3) < 75 / counts.sum()
    assert split.train.count + split.holdout.count == counts.sum()
    assert split.padding_rows == 77
    bounds = set(zip(starts.tolist(), (starts + counts).tolist(), strict=True))
    assert (
        set(zip(split.holdout.starts.tolist(), split.holdout.stops.tolist(), strict=True)) < bounds
    )
    other = split_rows(ids, starts, counts, int(counts.sum()), 0.3, seed=2)
    assert other.holdout.starts.tolist() != split.holdout.starts.tolist()


def test_either_side_gets_a_recording_however_extreme_the_share() -> None:
    counts = np.array([1000, 5, 5, 5, 5])
    starts = np.cumsum(counts) - counts
    whole = [set(range(start, start + count)) for start, count in zip(starts, counts, strict=True)]
    for share, seed in itertools.product((0.001, 0.5, 0.999), range(5)):
        split = split_rows(list("abcde"), starts, counts, 1020, share, seed)
        train, held_out = (set(s.within(0, 2000).tolist()) for s in (split.train, split.holdout))
        assert train and held_out and not train & held_out
        assert train | held_out == set().union(*whole)
        assert all(rows <= train or rows <= held_out for rows in whole)
    one_of_two = split_rows(["a", "b"], starts[:2], counts[:2], 1005, 0.999, seed=0)
    assert {one_of_two.train.count, one_of_two.holdout.count} == {1000, 5}


def test_one_recording_is_cut_in_time_with_a_gap() -> None:
    split = split_rows(["a"], np.array([10]), np.array([100]), 110, 0.25, seed=0)
    assert split.train.within(0, 1000).tolist() == list(range(10, 85))
    assert split.holdout.within(0, 1000).tolist() == list(range(86, 110))


def test_without_a_holdout_everything_is_trained_on() -> None:
    split = split_rows(["a", "b"], np.array([0, 5]), np.array([5, 5]), 10, 0.0, seed=0)
    assert (split.train.count, split.holdout.count) == (10, 0)
