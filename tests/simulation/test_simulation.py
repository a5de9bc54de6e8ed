"""Drivers killed and misled anywhere: what was published stays, and all ends alike."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadae.records import canonical_json
from fadae.store import frames
from fadae.store.frames import FrameStore
from tests.simulation.interleaving import interleaving, play, simplest
from tests.simulation.laboratory import laboratory
from tests.simulation.scheduler import FATES, UNTIL, Turn
from tests.simulation.world import Setting

SEEDS, BATCHES = 160, 4  # and a hundred that hypothesis draws

turns = st.builds(
    Turn,
    process=st.integers(0, 3),
    requests=st.integers(1, 300),
    until=st.sampled_from(UNTIL),
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


def old_publish(
    self: FrameStore, rows: int, recordings: int, attrs: Mapping[str, Any] | None = None
) -> FrameStore:
    """Publish as it was done once: whoever comes last has the root."""
    root = self._grown(rows, recordings, attrs or {})
    for name, metadata in root["consolidated_metadata"]["metadata"].items():
        document = canonical_json(metadata).encode()
        self.location.write_bytes(f"{self.path}/{name}/zarr.json", document)
    self.location.write_bytes(f"{self.path}/zarr.json", canonical_json(root).encode())
    return FrameStore(self.location, self.path, root)


def old_write_recordings(self: FrameStore, start: int, columns: Mapping[str, Any]) -> None:
    """Write the table as it was done once: who is late writes fill where others have written."""
    for name, values in columns.items():
        view = self._view(name, start + len(values))
        dtype = np.dtypes.StringDType() if view.dtype.kind == "T" else view.dtype
        step = frames.RECORDINGS_PER_CHUNK
        for low in range(start, start + len(values), step):
            part = values[low - start : low - start + step]
            view[low : low + len(part)] = np.asarray(part, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "old", "first"),
    [("publish", old_publish, 40), ("write_recordings", old_write_recordings, 120)],
)
def test_what_publication_once_did_is_found_wrong(
    name: str, old: object, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameStore, name, old)
    assert any(play(*interleaving(seed)).wrong for seed in range(first, first + 300))
