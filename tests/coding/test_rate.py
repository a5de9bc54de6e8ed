"""Bytes as asked: on average, or for every row."""

from __future__ import annotations

import numpy as np
import pytest

from fadae.coding import rate
from fadae.coding.coder import ByteCoder
from tests.coding import models
from tests.coding.models import SIZE, rows


@pytest.fixture
def coder() -> ByteCoder:
    return ByteCoder(models.tables(), SIZE)


@pytest.mark.parametrize("wanted", [128, 256, 512])
def test_average(coder: ByteCoder, wanted: int) -> None:
    c = rows(120, seed=20)
    step = rate.find_step(coder, c, wanted)
    codes = rate.encode_with_steps(coder, c, step.of_rows(0, 120), cap=4 * wanted)
    lengths = [len(code) for code in codes]
    assert 0.98 * wanted <= np.mean(lengths) <= 1.01 * wanted
    assert max(lengths) <= 4 * wanted
    assert len({code[0] for code in codes}) >= 2


def test_average_does_not_depend_on_how_rows_are_cut(coder: ByteCoder) -> None:
    c = rows(60, seed=21)
    step = rate.find_step(coder, c, 200)
    whole = rate.encode_with_steps(coder, c, step.of_rows(0, 60), cap=400)
    parts = [
        code
        for first, stop in [(0, 13), (13, 14), (14, 60)]
        for code in rate.encode_with_steps(
            coder, c[first:stop], step.of_rows(first, stop - first), 400
        )
    ]
    assert parts == whole


@pytest.mark.parametrize("wanted", [64, 256])
def test_constant(coder: ByteCoder, wanted: int) -> None:
    c = rows(60, seed=22)
    c[7] = 0
    lengths = np.array([len(code) for code in rate.encode_constant(coder, c, wanted)])
    assert lengths[7] == 0
    loud = np.delete(lengths, 7)
    assert loud.max() <= wanted
    assert loud.mean() >= 0.93 * wanted


def test_what_always_fits_gets_the_finest_step(coder: ByteCoder) -> None:
    c = np.zeros((5, SIZE), dtype=np.float32)
    assert rate.find_step(coder, c, 256) == rate.Step(0, 0.0)
    assert rate.encode_with_steps(coder, c, np.zeros(5, dtype=int), 1024) == [b""] * 5
    assert rate.encode_constant(coder, c, 256) == [b""] * 5


def test_nothing(coder: ByteCoder) -> None:
    c = np.zeros((0, SIZE), dtype=np.float32)
    assert rate.find_step(coder, c, 256) == rate.Step(0, 0.0)
    assert rate.encode_constant(coder, c, 256) == []


def test_sample_rows_are_spread_evenly() -> None:
    assert rate.sample_rows(3).tolist() == [0, 1, 2]
    chosen = rate.sample_rows(1000, 10)
    assert len(set(chosen)) == 10
    assert set(np.diff(chosen)) == {100}
