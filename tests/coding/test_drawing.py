"""Drawn rows are fair draws from the model, each near the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fadae.coding.coder import ByteCoder
from fadae.coding.drawing import draw
from fadae.coding.symbols import STEP, Side, grid
from tests.coding import models
from tests.coding.models import SIZE, rows, steps

Array = np.ndarray[Any, Any]
FRAMES = 80


def drawn(seed: int, frames: int = FRAMES) -> Array:
    return np.concatenate(list(draw(models.tables(), SIZE, frames, seed)))


def continuity(q: Array) -> float:
    """Return the correlation of levels in 25 bands, about their means, with the next row's."""
    c = np.abs(q).reshape(len(q), 25, -1).astype(float).sum(axis=2)
    level = np.log1p(c) - np.log1p(c).mean(axis=0)
    return float(np.corrcoef(level[1:].ravel(), level[:-1].ravel())[0, 1])


def test_rows_go_on_where_random_ones_do_not() -> None:
    q = drawn(seed=1)
    shuffled = np.random.default_rng(0).permutation(q)
    assert continuity(q) > 0.35
    assert abs(continuity(shuffled)) < 0.2


def test_rows_hold_what_the_model_expects() -> None:
    q = np.concatenate([drawn(seed) for seed in range(4)])
    c = rows(60, seed=9)  # that the tables were counted over
    held = np.count_nonzero(np.abs(c) > STEP[110], axis=1).mean()
    assert held / 2 < np.count_nonzero(q, axis=1).mean() < 2 * held
    signs = q[q != 0] > 0
    assert signs.mean() == pytest.approx(0.5, abs=0.02)
    low, high = np.abs(q[:, :300]).mean(), np.abs(q[:, 1500:]).mean()
    assert low > 3 * high, "louder below, as what the tables were counted over"


def test_a_seed_is_all_they_depend_on() -> None:
    np.testing.assert_array_equal(drawn(3), drawn(3))
    np.testing.assert_array_equal(drawn(3, frames=20), drawn(3)[:20])
    assert np.any(drawn(3) != drawn(4))
    assert list(draw(models.tables(), SIZE, 0, 1)) == []


@pytest.mark.parametrize("size", [36, 2880])
def test_rows_of_other_rates_can_be_coded(size: int) -> None:
    (q,) = draw(models.tables(), size, 5, 1)
    coder = ByteCoder(models.tables(), size)
    draft = coder.draft_of(q, steps(5))
    np.testing.assert_array_equal(coder.decode(coder.codes(draft)), coder.reconstruct(draft))
    assert Side.of(grid(q, 3)).stop.max() <= size // 3
