"""The arrays of a growing Zarr group: axes, chunks, codecs, CF attributes; and its documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
import zarr
import zarr.storage
from zarr.codecs import Crc32cCodec, ZstdCodec

from fadae.arrays import Array
from fadae.records import canonical_json
from fadae.store.zarr_internals import objects_of

FRAME, RECORDING = "frame", "recording"
BLOCK_FRAMES = 1024  # frames an object (shard), one task's property
CHUNK_FRAMES = 64  # frames a checksummed inner chunk: what reading one row costs
RECORDINGS_PER_CHUNK = 16384


@dataclass(frozen=True)
class ArraySpec:
    """One array of a group: its axes, type and CF attributes, before it has any rows."""

    name: str
    dims: tuple[str, ...]
    row_shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any]
    fill: float | int | str
    values: Array | None = field(default=None, compare=False)  # of a fixed array, stored at once


def frame_array(
    name: str, row: Mapping[str, int], dtype: str, fill: float | int, attrs: Mapping[str, Any]
) -> ArraySpec:
    """Return the spec of an array with one row a frame; `row` names the row's axes and sizes."""
    return ArraySpec(name, (FRAME, *row), tuple(row.values()), dtype, attrs, fill)


def recording_array(
    name: str, dtype: str, fill: float | int | str, attrs: Mapping[str, Any]
) -> ArraySpec:
    """Return the spec of an array with one value a recording; dtype "str" for texts."""
    return ArraySpec(name, (RECORDING,), (), dtype, attrs, fill)


def fixed_array(name: str, dim: str, values: Array, attrs: Mapping[str, Any]) -> ArraySpec:
    """Return the spec of a one-dimensional array that is complete from the beginning."""
    fill = 0 if np.issubdtype(values.dtype, np.integer) else float("nan")
    return ArraySpec(name, (dim,), (), str(values.dtype), attrs, fill, values)


def new_group(specs: list[ArraySpec], attrs: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the objects of a new group by their paths, the root document last."""
    store = zarr.storage.MemoryStore()
    group = zarr.create_group(store)
    for spec in specs:
        length = 0 if spec.values is None else len(spec.values)
        array = group.create_array(
            spec.name,
            shape=(length, *spec.row_shape),
            dtype=str if spec.dtype == "str" else spec.dtype,
            fill_value=spec.fill,
            dimension_names=spec.dims,
            attributes=dict(spec.attrs),
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            config={"write_empty_chunks": True},
            **_grid(spec),
        )
        if spec.values is not None:
            array[:] = spec.values
    documents = objects_of(store)
    metadata = {spec.name: json.loads(documents[f"{spec.name}/zarr.json"]) for spec in specs}
    for name, values in metadata.items():
        documents[f"{name}/zarr.json"] = canonical_json(values).encode()
    documents.pop("zarr.json")
    documents["zarr.json"] = canonical_json(
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": dict(attrs),
            "consolidated_metadata": {
                "kind": "inline",
                "must_understand": False,
                "metadata": metadata,
            },
        }
    ).encode()
    return documents


class Grid(TypedDict):
    """How an array is cut: shards of chunks on the frame axis, chunks elsewhere."""

    chunks: tuple[int, ...]
    shards: NotRequired[tuple[int, ...]]


def _grid(spec: ArraySpec) -> Grid:
    """Return chunks and shards: blocks of frames, with inner chunks where a row is an array."""
    if spec.values is not None:
        return {"chunks": spec.values.shape}
    if spec.dims[0] == RECORDING:
        return {"chunks": (RECORDINGS_PER_CHUNK,)}
    if not spec.row_shape:
        return {"chunks": (BLOCK_FRAMES,)}
    return {
        "chunks": (CHUNK_FRAMES, *spec.row_shape),
        "shards": (BLOCK_FRAMES, *spec.row_shape),
    }
