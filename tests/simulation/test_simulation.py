"""Drivers killed and misled anywhere: what was published stays, and all ends alike."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.interleaving import interleaving, play, simplest
from tests.simulation.laboratory import laboratory
from tests.simulation.scheduler import FATES, Turn
from tests.simulation.world import Setting

SEEDS, BATCHES = 400, 4  # and a hundred that hypothesis draws

turns = st.builds(
    Turn,
    process=st.integers(0, 3),
    requests=st.integers(1, 300),
    fate=st.sampled_from(FATES),
    later=st.integers(0, 150),
)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with laboratory():
        yield


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_interleaving_changes_hides_or_loses_what_is_published(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        outcome = play(*interleaving(seed))
        assert not outcome.wrong, f"seed {seed}: {simplest(outcome)}"


@given(setting=st.integers(0, 2**32 - 1), turns=st.lists(turns, max_size=15))
def test_none_that_hypothesis_draws_does(setting: int, turns: list[Turn]) -> None:
    outcome = play(Setting.drawn(random.Random(setting)), turns)
    assert not outcome.wrong, str(outcome)


def test_a_number_says_all_that_happens() -> None:
    for seed in range(1000, 1010):
        once, again = play(*interleaving(seed)), play(*interleaving(seed))
        assert once.trace == again.trace
