"""Growing groups: what is written beyond the published shape, and shown with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fadae.store.frames import RECORDINGS_PER_CHUNK, FrameStore, OvertakenError
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


def test_a_root_that_is_replaced_while_another_looks_at_it_stays(tmp_path: Path) -> None:
    spec = recording_array("recording_n", "int64", -1, {"units": "1"})
    location = Location(str(tmp_path))
    FrameStore.create(location, "a.zarr", [spec], {})

    class Overtaken(Location):
        """Has another driver publish just after it read the root's version."""

        looks = 0

        def read_version(self, path: str) -> tuple[bytes, str]:
            found = super().read_version(path)
            if path == "a.zarr/zarr.json":
                self.looks += 1
                if self.looks == 1:
                    FrameStore.open(location, "a.zarr").publish(0, 7)
            return found

    late = FrameStore.open(Overtaken(location.url), "a.zarr")
    with pytest.raises(OvertakenError):
        late.publish(0, 3)
    assert FrameStore.open(location, "a.zarr").recording_rows == 7
