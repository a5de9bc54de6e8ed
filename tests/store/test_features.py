"""features.zarr as other tools see it: CF attributes, provenance, checksums, plain xarray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import fadae
from fadae.errors import NoInputError
from fadae.stages.extract import extract
from fadae.store.features import RECORDING_COLUMNS, FeatureSet
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.location import Location
from tests.store.staged import RATE_HZ, stage_all


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("dataset")))
    stage_all(location, {"a/1": 60 * RATE_HZ})
    extract(location)
    stage_all(location, {"b/2": 5000}, first_seed=1)
    extract(location)
    return location


def test_it_opens_with_plain_xarray_masked_and_scaled(workspace: Location) -> None:
    dataset = xr.open_zarr(f"{workspace.url}/features.zarr")
    assert dict(dataset.sizes) == {
        "frame": 1027,
        "sample": 3750,
        "coefficient": 8192,
        "band": 300,
        "recording": 2,
    }
    assert {"frame_time", "frame_recording"} <= set(dataset.features.coords)
    audio = dataset.audio[0].values
    assert np.abs(audio).max() <= 1
    padding = dataset.isel(frame=500)
    assert np.isnan(padding.audio).all()
    assert np.isnan(padding.features).all()
    assert padding.frame_recording == -1
    assert dataset.frame_recording.dtype == np.int32


def test_every_array_says_what_it_is(workspace: Location) -> None:
    group = zarr.open_group(f"{workspace.url}/features.zarr", mode="r")
    arrays = dict(group.arrays())
    assert {f"recording_{name}" for name in RECORDING_COLUMNS} <= set(arrays)
    for name, array in arrays.items():
        assert array.attrs["units"], name
        assert array.attrs["long_name"], name
    assert str(group.attrs["Conventions"]).startswith("CF-")
    assert group.attrs["fadae_version"] == fadae.__version__
    transform = group.attrs["transform"]
    assert isinstance(transform, dict) and transform["name"] == "seed"


def test_provenance_is_in_the_recording_table(workspace: Location) -> None:
    table = FeatureSet.open(workspace).recordings
    row = table.index("b/2")
    assert table.column("item")[row] == "b"
    assert table.column("creator")[row] == "A. Composer"
    assert table.column("licence")[row] == "CC0"
    assert len(table.column("sha1")[row]) == 40
    with pytest.raises(KeyError):
        table.index("b/3")
    with pytest.raises(KeyError):
        table.column("colour")


def test_each_chunk_is_compressed_and_checksummed(workspace: Location) -> None:
    for path in (Path(workspace.url) / "features.zarr").glob("*/zarr.json"):
        text = path.read_text()
        assert '"zstd"' in text and '"crc32c"' in text, path
        if path.parent.name in ("features", "audio"):
            grid = json.loads(text)
            assert grid["chunk_grid"]["configuration"]["chunk_shape"][0] == 1024
            assert grid["codecs"][0]["configuration"]["chunk_shape"][0] == 64


def test_flipped_bits_are_an_error_that_names_the_array(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    stage_all(location, {"a/1": 4000})
    extract(location)
    shard = tmp_path / "features.zarr/features/c/0/0"
    data = bytearray(shard.read_bytes())
    data[5] ^= 16
    shard.write_bytes(data)
    with pytest.raises(DamagedError, match=r"features.zarr/features is damaged .*fadae verify"):
        FeatureSet.open(location).read("features", 0, 1)


def test_a_part_of_a_block_is_refused(workspace: Location) -> None:
    store = FrameStore.open(workspace, "features.zarr")
    rows = {name: store.read_block(name, 0) for name in store.frame_names}
    with pytest.raises(ValueError, match="not a whole block"):
        store.write_block(7, rows | {"audio": rows["audio"][:64]}, under="test")
    with pytest.raises(ValueError, match="a block has"):
        store.write_block(7, {"audio": rows["audio"]}, under="test")


def test_a_workspace_in_memory_serves_this_process() -> None:
    location = Location("memory://store-test")
    with pytest.raises(NoInputError, match="no workspace at"):
        FeatureSet.open(location)
    stage_all(location, {"a/1": 4000})
    assert extract(location)["frames"] == 3
    assert FeatureSet.open(location).read("features").shape == (3, 8192)
    location.delete("")
