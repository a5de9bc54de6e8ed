"""What fadae asks of zarr beyond its public interface, in one place.

Made for the versions that pyproject.toml admits (3.1.6 up to, not including, 3.5): zarr.core is
private, so look here first when the bound is raised.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import zarr
import zarr.storage
from zarr.abc.store import Store
from zarr.core.array import AsyncArray
from zarr.core.group import AsyncGroup, GroupMetadata


def group_of(document: Mapping[str, Any], store: Store) -> zarr.Group:
    """Return the group that a root document with consolidated metadata describes.

    Nothing is read: all arrays are of the one publication that the document tells of.
    """
    metadata = GroupMetadata.from_dict(json.loads(json.dumps(document)))
    return zarr.Group(AsyncGroup(metadata=metadata, store_path=zarr.storage.StorePath(store)))


def with_rows(
    array: zarr.Array[Any], rows: int, at: zarr.storage.StorePath | None = None
) -> zarr.Array[Any]:
    """Return an array as if its first axis had `rows` rows, empty chunks written too.

    at: where its objects lie instead, in the memory of this process say.
    """
    opened = array._async_array
    shape = (rows, *opened.metadata.shape[1:])
    return zarr.Array(
        AsyncArray(
            metadata=dataclasses.replace(opened.metadata, shape=shape),
            store_path=at or opened.store_path,
            config=dataclasses.replace(opened.config, write_empty_chunks=True),
        )
    )


def object_key(array: zarr.Array[Any], index: int) -> str:
    """Return the key, below the array's own, of the object at a place along the first axis."""
    key: str = array.metadata.encode_chunk_key((index,) + (0,) * (array.ndim - 1))
    return key


def first_object(array: zarr.Array[Any], rows: Any) -> memoryview:
    """Return the one object that `rows`, as many as an object of the array has, are encoded to.

    Made in memory: zarr itself would first read what an earlier attempt, or damage, left.
    """
    objects: dict[str, Any] = {}
    memory = zarr.storage.StorePath(zarr.storage.MemoryStore(objects))
    whole = with_rows(array, len(rows), memory)
    whole[:] = rows
    return memoryview(objects[object_key(whole, 0)].as_buffer_like())


def objects_of(store: zarr.storage.MemoryStore) -> dict[str, bytes]:
    """Return what a store in memory holds, by key."""
    return {key: value.to_bytes() for key, value in store._store_dict.items()}
