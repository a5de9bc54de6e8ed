"""Shards that fadae puts together itself are those that zarr would have written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.storage
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import Crc32cCodec, ZstdCodec

from fadae.arrays import Array
from fadae.store.zarr_internals import first_object, object_key

ROWS, CHUNK = 16, 4
PLAIN = (ZstdCodec(level=1), Crc32cCodec())


def _array(
    rows: Array, compressors: Sequence[BytesBytesCodec] = PLAIN, level: int | None = None
) -> zarr.Array[Any]:
    """Return an array of one shard that zarr wrote; level: of Zstandard."""
    array = zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=rows.shape,
        dtype=rows.dtype,
        fill_value=0,
        chunks=(CHUNK, *rows.shape[1:]),
        shards=rows.shape,
        compressors=compressors if level is None else (ZstdCodec(level=level), Crc32cCodec()),
        config={"write_empty_chunks": True},
    )
    array[:] = rows
    return array


def _stored(array: zarr.Array[Any]) -> bytes:
    store = array.store
    assert isinstance(store, zarr.storage.MemoryStore)
    return store._store_dict[object_key(array, 0)].to_bytes()


@pytest.mark.parametrize("dtype", ["int16", "float16", "float32", "uint8", "float64"])
def test_a_shard_is_byte_for_byte_what_zarr_writes(dtype: str) -> None:
    rows = np.random.default_rng(1).integers(-40, 40, (ROWS, 50)).astype(dtype)
    rows[CHUNK : 2 * CHUNK] = 0  # an empty chunk is written too
    array = _array(rows)
    assert bytes(first_object(array, rows)) == _stored(array)
    assert np.array_equal(np.asarray(array[:]), rows)


def test_rows_of_another_layout_or_byte_order_are_the_same_shard() -> None:
    rows = np.arange(ROWS * 8, dtype="<i2").reshape(ROWS, 8)
    array = _array(rows)
    assert bytes(first_object(array, np.asfortranarray(rows))) == _stored(array)
    assert bytes(first_object(array, rows.astype(">i2"))) == _stored(array)


@pytest.mark.parametrize(
    "compressors", [(ZstdCodec(level=1),), (ZstdCodec(level=1, checksum=True), Crc32cCodec()), ()]
)
def test_shards_of_other_codecs_are_left_to_zarr(compressors: Sequence[BytesBytesCodec]) -> None:
    rows = np.arange(ROWS * 8, dtype=np.int16).reshape(ROWS, 8)
    array = _array(rows, compressors)
    assert bytes(first_object(array, rows)) == _stored(array)


def test_the_level_of_compression_is_the_arrays_own() -> None:
    rows = np.random.default_rng(2).integers(-9, 9, (ROWS, 4000)).astype(np.int16)
    array = _array(rows, level=7)
    assert bytes(first_object(array, rows)) == _stored(array)
    assert _stored(array) != _stored(_array(rows))
