"""Growing groups: what is written beyond the published shape, and shown with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fadae.store.frames import RECORDINGS_PER_CHUNK, FrameStore
from fadae.store.layout import recording_array
from fadae.store.location import Location


def test_a_column_longer_than_its_chunks_is_written_whole(tmp_path: Path) -> None:
    spec = recording_array("recording_n", "int64", -1, {"units": "1"})
    store = FrameStore.create(Location(str(tmp_path)), "a.zarr", [spec], {})
    values = np.arange(2 * RECORDINGS_PER_CHUNK + 5)
    store.write_recordings(0, {"recording_n": values[:3]})
    store.write_recordings(3, {"recording_n": values[3:]})
    published = store.publish(0, len(values))
    np.testing.assert_array_equal(published.read("recording_n"), values)
