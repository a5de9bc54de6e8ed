"""What fadae asks of zarr beyond its public interface, in one place.

Made for the versions that pyproject.toml admits (3.1.6 up to, not including, 3.5): zarr.core is
private, so look here first when the bound is raised.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np
import zarr
import zarr.storage
from numcodecs.zstd import Zstd
from zarr.abc.store import Store
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.array import AsyncArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.group import AsyncGroup, GroupMetadata

from fadae.arrays import Array

_SKIPPED = (0x184D2A50).to_bytes(4, "little")  # the magic number of a frame to be skipped


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


def first_object(array: zarr.Array[Any], rows: Any) -> bytes | memoryview:
    """Return the one object that `rows`, as many as an object of the array has, are encoded to.

    Made in memory: zarr itself would first read what an earlier attempt, or damage, left. A shard
    of the codecs that `layout` asks for is put together here, at 0.6 of the cost; the test of it
    holds the bytes against zarr's.
    """
    if (plain := _plain_shard(array)) is not None:
        return _shard(np.ascontiguousarray(rows, array.dtype), *plain)
    objects: dict[str, Any] = {}
    memory = zarr.storage.StorePath(zarr.storage.MemoryStore(objects))
    whole = with_rows(array, len(rows), memory)
    whole[:] = rows
    return memoryview(objects[object_key(whole, 0)].as_buffer_like())


def merged_object(
    array: zarr.Array[Any], index: int, stored: bytes | None, first_row: int, rows: Any
) -> bytes:
    """Return the object at a place along the first axis with some of its rows replaced.

    stored: the object as it is, None where there is none: then its other rows are fill values.
    Raises what zarr raises where it is damaged.
    """
    objects: dict[str, Any] = {}
    key = object_key(array, index)
    if stored is not None:
        objects[key] = default_buffer_prototype().buffer.from_bytes(stored)
    memory = zarr.storage.StorePath(zarr.storage.MemoryStore(objects))
    view = with_rows(array, (index + 1) * array.chunks[0], memory)
    view[first_row : first_row + len(rows)] = rows
    data: bytes = objects[key].to_bytes()
    return data


def filled_object(array: zarr.Array[Any], index: int, stored: bytes, rows: Array) -> bytes:
    """Return an object at a place along the first axis with single rows filled."""
    first = index * array.chunks[0]
    key, objects = object_key(array, index), dict[str, Any]()
    objects[key] = default_buffer_prototype().buffer.from_bytes(stored)
    memory = zarr.storage.StorePath(zarr.storage.MemoryStore(objects))
    view = with_rows(array, first + array.chunks[0], memory)
    values = np.asarray(view[first:])
    values[np.asarray(rows) - first] = array.fill_value
    view[first:] = values
    data: bytes = objects[key].to_bytes()
    return data


def blanked_object(
    array: zarr.Array[Any], index: int, stored: bytes, spans: list[tuple[int, int]]
) -> bytes:
    """Return an object with some of its rows, [start, stop) within it, filled; unchanged if so.

    The chunks of a plain shard stay where they are, and those of other rows the bytes that they
    are: a filled one is shorter, and what it leaves is a skippable frame of Zstandard (RFC 8878,
    3.1.2). So who has read the shard's index already reads the new chunk at its place.
    """
    plain = _plain_shard(array)
    if plain is not None and (data := _blanked_shard(array, stored, spans, *plain)) is not None:
        return data
    first_row = index * (array.shards or array.chunks)[0]
    for start, stop in spans:
        fill = np.full((stop - start, *array.shape[1:]), array.fill_value, array.dtype)
        stored = merged_object(array, index, stored, first_row + start, fill)
    return stored


def _blanked_shard(
    array: zarr.Array[Any],
    stored: bytes,
    spans: list[tuple[int, int]],
    chunk_rows: int,
    level: int,
) -> bytes | None:
    """Return a plain shard with rows filled, None where a chunk does not fit into its old place.

    Raises ValueError or RuntimeError where it is damaged.
    """
    chunks = (array.shards or array.chunks)[0] // chunk_rows
    offsets = np.frombuffer(_unchecked(stored[-16 * chunks - 4 :]), "<u8").reshape(chunks, 2)
    little, zstd, made = array.dtype.newbyteorder("<"), Zstd(level=level), bytearray(stored)
    for chunk, (at, length) in enumerate(offsets.tolist()):
        first = chunk * chunk_rows
        near = (span for span in spans if span[0] < first + chunk_rows and span[1] > first)
        own = [(max(a - first, 0), b - first) for a, b in near]
        if not own:
            continue
        data = bytearray(zstd.decode(_unchecked(stored[at : at + length])))
        rows = np.frombuffer(data, little).reshape(chunk_rows, -1)
        before = bytes(data)
        for start, stop in own:
            rows[start:stop] = array.fill_value
        if data == before:
            continue
        encoded, room = bytes(zstd.encode(rows)), length - 4
        if len(encoded) != room:
            if len(encoded) + 8 > room:
                return None
            left = room - len(encoded) - 8
            encoded += _SKIPPED + left.to_bytes(4, "little") + bytes(left)
        made[at : at + length] = _checked(encoded)
    return bytes(made)


def _unchecked(data: bytes) -> bytes:
    """Return bytes without the CRC-32C behind them; raises ValueError where it is another."""
    if _checked(data[:-4]) != data:
        raise ValueError("checksum does not match")
    return data[:-4]


def _plain_shard(array: zarr.Array[Any]) -> tuple[int, int] | None:
    """Return the rows of a chunk and the level of Zstandard, None where the codecs are others.

    Plain are shards cut along the first axis alone, of little-endian bytes, Zstandard and CRC-32C.
    """
    match getattr(array.metadata, "codecs", ()):
        case (
            ShardingCodec(
                codecs=(
                    BytesCodec(endian=endian),
                    ZstdCodec(level=level, checksum=False),
                    Crc32cCodec(),
                ),
                index_codecs=(BytesCodec(), Crc32cCodec()),
                chunk_shape=(rows, *rest),
            ) as codec,
        ) if (
            array.shards is not None
            and tuple(rest) == array.shards[1:]
            and str(getattr(endian, "value", endian)) == "little"
            and str(getattr(codec.index_location, "value", codec.index_location)) == "end"
        ):
            return rows, level
    return None


def _shard(rows: Array, chunk_rows: int, level: int) -> bytes:
    """Return a shard: its chunks, each with its checksum; their offsets and lengths; a checksum.

    Source: the sharding codec of Zarr v3, version 1.0.
    """
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    zstd, parts = Zstd(level=level), list[bytes]()
    for first in range(0, len(rows), chunk_rows):
        parts.append(_checked(zstd.encode(little[first : first + chunk_rows])))
    lengths = np.array([len(part) for part in parts], "<u8")
    index = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1).astype("<u8")
    return b"".join([*parts, _checked(index.tobytes())])


def _checked(data: bytes) -> bytes:
    """Return bytes with their CRC-32C behind them."""
    return data + int(google_crc32c.value(data)).to_bytes(4, "little")


def objects_of(store: zarr.storage.MemoryStore) -> dict[str, bytes]:
    """Return what a store in memory holds, by key."""
    return {key: value.to_bytes() for key, value in store._store_dict.items()}
