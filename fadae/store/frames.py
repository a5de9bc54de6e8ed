"""Growing Zarr groups on one frame axis: blocks written whole, published by their metadata.

A `FrameStore` is one Zarr v3 group (features.zarr, reconstructions/<run>.zarr). Its arrays share
the axis `frame`, beside arrays on the axis `recording` and fixed ones. Tasks write blocks of 1024
frames, one object an array, beyond the published shape; the driver then publishes the new shape
of all arrays at once by writing the group's consolidated metadata last. A reader opens the old
dataset or the new one, never a part of one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, TypedDict

import numpy as np
import zarr

from fadae.arrays import Array
from fadae.errors import FadaeError
from fadae.records import canonical_json
from fadae.store.layout import (
    BLOCK_FRAMES,
    CHUNK_FRAMES,
    FRAME,
    RECORDING,
    RECORDINGS_PER_CHUNK,
    ArraySpec,
    new_group,
)
from fadae.store.location import Location
from fadae.store.zarr_internals import first_object, group_of, object_key, with_rows

__all__ = [
    "BLOCK_FRAMES",
    "CHUNK_FRAMES",
    "RECORDINGS_PER_CHUNK",
    "DamagedError",
    "FrameStore",
]


class DamagedError(FadaeError, ValueError):
    """Stored bytes are not what was written."""


class ChunkShape(TypedDict):
    """The shape of an array's chunks, or shards."""

    chunk_shape: list[int]


class ChunkGrid(TypedDict):
    """How an array is cut."""

    configuration: ChunkShape


class ArrayDocument(TypedDict):
    """What is read here of an array's own zarr.json."""

    shape: list[int]
    chunk_grid: ChunkGrid
    dimension_names: list[str]


class Consolidated(TypedDict):
    """The arrays' documents inside the root's."""

    metadata: dict[str, ArrayDocument]


class GroupDocument(TypedDict):
    """What is read here of a group's zarr.json."""

    attributes: dict[str, object]
    consolidated_metadata: Consolidated


class FrameStore:
    """One growing group, as it was published when it was opened."""

    def __init__(self, location: Location, path: str, root: GroupDocument) -> None:
        """Take the group's root document; use `open` or `create`."""
        self.location, self.path, self._root = location, path, root

    @classmethod
    def open(cls, location: Location, path: str) -> Self:
        """Return the group as published now; raises FileNotFoundError where there is none."""
        document = f"{path}/zarr.json"
        try:
            root = json.loads(location.read_bytes(document))
        except ValueError as error:
            raise DamagedError(
                f"{document} is damaged ({error}); run `fadae verify --repair`, then extract again"
            ) from error
        return cls(location, path, root)

    @classmethod
    def find(cls, location: Location, path: str) -> Self | None:
        """Return the group as `open` does, None where there is none."""
        try:
            return cls.open(location, path)
        except FileNotFoundError:
            return None

    @classmethod
    def create(
        cls, location: Location, path: str, specs: Iterable[ArraySpec], attrs: Mapping[str, Any]
    ) -> Self:
        """Return the group, created with no rows unless it is already there.

        Every object is created exclusively and the root last, so that a second driver, however
        late, never sets a published group back.
        """
        for name, data in new_group(list(specs), attrs).items():
            location.create_exclusive(f"{path}/{name}", data)
        return cls.open(location, path)

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The group's attributes."""
        return self._root["attributes"]

    @property
    def rows(self) -> int:
        """Published frames, the padding before each growth included."""
        return self._length(FRAME)

    @property
    def recording_rows(self) -> int:
        """Published recordings."""
        return self._length(RECORDING)

    @property
    def names(self) -> list[str]:
        """The names of all arrays."""
        return sorted(self._metadata)

    @property
    def frame_names(self) -> list[str]:
        """The names of the arrays on the frame axis."""
        return [name for name in self.names if self._axis(name) == FRAME]

    def array(self, name: str) -> zarr.Array[Any]:
        """Return one array with its published shape, for reading."""
        found = self._group[name]
        assert isinstance(found, zarr.Array)
        return found

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows [start, stop) of an array along its first axis; never beyond what is there.

        Raises DamagedError where a checksum does not match.
        """
        array = self.array(name)
        try:
            with self.location.errors(f"read {self.path}/{name}"):
                return np.asarray(array[start:stop])
        except (ValueError, RuntimeError, IndexError) as error:  # checksum; compressed data; length
            raise DamagedError(
                f"{self.path}/{name} is damaged ({error}); run `fadae verify --repair`"
            ) from error

    def read_block(self, name: str, block: int) -> Array:
        """Return the 1024 rows of one block of an array, published or not yet."""
        stop = (block + 1) * BLOCK_FRAMES
        with self.location.errors(f"read {self.block_path(name, block)}"):
            return np.asarray(self._view(name, stop)[stop - BLOCK_FRAMES : stop])

    def write_block(self, block: int, rows: Mapping[str, Array], under: str) -> None:
        """Write one block of all frame arrays; what it has not reached its end is not kept.

        Each of `rows` is [1024, ...]: two writers never meet in one object, and an unpublished
        block written twice gets the same bytes. `under` names the plan the block belongs to.
        """
        if sorted(rows) != self.frame_names:
            raise ValueError(f"{self.path}: a block has {self.frame_names}, got {sorted(rows)}")
        for name, values in rows.items():
            if len(values) != BLOCK_FRAMES:
                raise ValueError(
                    f"{self.path}/{name}: {len(values)} rows are not a whole block of "
                    f"{BLOCK_FRAMES}; writing a part of a shard loses what others wrote there"
                )

        def write(name: str) -> None:
            data = first_object(self.array(name), rows[name])
            self.location.write_bytes(self.block_path(name, block), data)

        for _ in self.location.concurrently(write, rows):
            pass
        self.location.write_bytes(self._mark(block, under), b"")

    def block_path(self, name: str, block: int) -> str:
        """Return the path of the one object a block of an array is."""
        return self._object_path(name, block)

    def object_paths(self, name: str) -> list[str]:
        """Return the paths of an array's published objects along its first axis."""
        shape, grid = self._metadata[name]["shape"], self._metadata[name]["chunk_grid"]
        length = grid["configuration"]["chunk_shape"][0]
        return [self._object_path(name, i) for i in range(-(-shape[0] // length))]

    def _object_path(self, name: str, index: int) -> str:
        return f"{self.path}/{name}/{object_key(self.array(name), index)}"

    def has_block(self, block: int, under: str) -> bool:
        """Return whether a block is complete under its own plan."""
        return self.location.exists(self._mark(block, under))

    def block_written_seconds(self, block: int, under: Iterable[str]) -> float | None:
        """Return when a block was completed under one of some plans, in s since 1970, or None."""
        for token in under:
            with contextlib.suppress(FileNotFoundError):
                return self.location.modified_seconds(self._mark(block, token))
        return None

    def forget_block(self, block: int, under: str) -> None:
        """Take a block for unwritten: the next writer computes it again."""
        self.location.delete(self._mark(block, under))

    def forget_block_under_any(self, block: int) -> None:
        """Take a block for unwritten whatever plan it was written under."""
        for under in self.location.names(self.marks):
            self.forget_block(block, under)

    def differing_documents(self) -> Iterator[str]:
        """Yield the paths of the arrays' own documents that are not what the root says."""
        for name in self.names:
            path = f"{self.path}/{name}/zarr.json"
            try:
                same = json.loads(self.location.read_bytes(path)) == self._metadata[name]
            except (FileNotFoundError, ValueError):
                same = False
            if not same:
                yield path

    def write_recordings(self, start: int, columns: Mapping[str, Sequence[Any] | Array]) -> None:
        """Write rows [start, start + n) of some recording arrays; earlier rows keep their values.

        Readers see them once the new length is published. One writer at a time.
        """
        for name, values in columns.items():
            view = self._view(name, start + len(values))
            dtype = np.dtypes.StringDType() if view.dtype.kind == "T" else view.dtype
            for low in range(start, start + len(values), RECORDINGS_PER_CHUNK):
                part = values[low - start : low - start + RECORDINGS_PER_CHUNK]
                with self.location.errors(f"write {self.path}/{name}"):
                    view[low : low + len(part)] = np.asarray(part, dtype=dtype)

    def publish(self, rows: int, recordings: int, attrs: Mapping[str, Any] | None = None) -> Self:
        """Show everybody the new shape of all arrays at once; return the group as published.

        The arrays' own documents come first and the root's consolidated metadata last: that
        write is the commit. `attrs` replaces the attributes it names.
        """
        lengths = {FRAME: rows, RECORDING: recordings}
        root: GroupDocument = json.loads(json.dumps(self._root))
        root["attributes"].update(attrs or {})
        for name, metadata in root["consolidated_metadata"]["metadata"].items():
            axis = metadata["dimension_names"][0]
            if axis in lengths:
                metadata["shape"][0] = lengths[axis]
            document = canonical_json(metadata).encode()
            self.location.write_bytes(f"{self.path}/{name}/zarr.json", document)
        self.location.write_bytes(f"{self.path}/zarr.json", canonical_json(root).encode())
        return type(self)(self.location, self.path, root)

    @property
    def _metadata(self) -> dict[str, ArrayDocument]:
        return self._root["consolidated_metadata"]["metadata"]

    def _axis(self, name: str) -> str:
        return str(self._metadata[name]["dimension_names"][0])

    def _length(self, axis: str) -> int:
        return max(
            (self._metadata[n]["shape"][0] for n in self.names if self._axis(n) == axis), default=0
        )

    def _mark(self, block: int, under: str) -> str:
        return f"{self.marks}/{under}/{block}"

    @property
    def marks(self) -> str:
        """The folder of the marks of complete blocks, by what they were written under."""
        # Inside an array's folder, where Zarr looks for no members: it goes when the group goes.
        return f"{self.path}/{self.frame_names[0]}/blocks"

    @cached_property
    def _group(self) -> zarr.Group:
        return group_of(self._root, self.location.zarr_store(self.path))

    def _view(self, name: str, rows: int) -> zarr.Array[Any]:
        """Return an array as if `rows` rows were published, empty chunks written too."""
        return with_rows(self.array(name), rows)
