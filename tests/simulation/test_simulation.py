"""Any number of drivers, killed and misled anywhere: what was published stays, and all ends alike."""

from __future__ import annotations

import pytest

from tests.simulation.interleaving import interleave
from tests.simulation.laboratory import laboratory

SEEDS, BATCHES = 500, 5


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_interleaving_changes_hides_or_loses_what_is_published(batch: int) -> None:
    with laboratory():
        for seed in range(batch, SEEDS, BATCHES):
            failure = interleave(seed)
            assert failure is None, str(failure)
