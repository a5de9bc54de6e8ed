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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, TypedDict

import numpy as np
import zarr

from fadae.arrays import Array
from fadae.errors import FadaeError, TransientError
from fadae.records import canonical_json, sha256_hex
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
from fadae.store.zarr_internals import (
    blanked_object,
    filled_object,
    first_object,
    group_of,
    merged_object,
    object_key,
    with_rows,
)

__all__ = [
    "BLOCK_FRAMES",
    "CHUNK_FRAMES",
    "RECORDINGS_PER_CHUNK",
    "DamagedError",
    "FrameStore",
    "OvertakenError",
]


SEAL = "root_sha256"  # attribute of a root that was published: the SHA-256 of all but itself


class DamagedError(FadaeError, ValueError):
    """Stored bytes are not what was written."""


class OvertakenError(TransientError):
    """Another process has replaced what this one was about to: look again, then go on."""


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
            return cls.of_root(location, path, location.read_bytes(document))
        except DamagedError as error:
            raise DamagedError(
                f"{document} is damaged ({error}); run `fadae verify --repair`, then extract again"
            ) from error

    @property
    def root(self) -> bytes:
        """The root document as it is stored."""
        return canonical_json(self._root).encode()

    @classmethod
    def of_root(cls, location: Location, path: str, root: bytes) -> Self:
        """Return the group that a root document tells of; raises DamagedError where it is none.

        So where it is not what was written, as far as it says: an early one does not.
        """
        try:
            store = cls(location, path, json.loads(root))
            if SEAL in store.attrs and _sealed(store._root) != store._root:
                raise DamagedError("its digest is another")
            _ = store.rows, store.recording_rows
        except DamagedError:
            raise
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamagedError(f"{error!r}") from error
        return store

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

    def has_lengths(self, rows: int, recordings: int) -> bool:
        """Return whether every array has so many rows on its axis."""
        lengths = {FRAME: rows, RECORDING: recordings}
        return all(
            self._metadata[name]["shape"][0] == lengths.get(self._axis(name))
            for name in self.names
            if self._axis(name) in lengths
        )

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

    def differing_documents(
        self, also: Sequence[tuple[int, int]] = ()
    ) -> dict[str, tuple[str | None, bytes]]:
        """Return the arrays' own documents that are not what the root says: by path, (version, it).

        `also` are lengths, (frames, recordings), that a publication under way may have written.
        """
        roots = [self._root, *(self._grown(*lengths, {}) for lengths in also)]
        every = [root["consolidated_metadata"]["metadata"] for root in roots]
        differing: dict[str, tuple[str | None, bytes]] = {}
        for name in self.names:
            path = f"{self.path}/{name}/zarr.json"
            stored, version = self.location.find_version(path)
            try:
                found = json.loads(stored or b"")
            except ValueError:
                found = None
            if found not in [metadata[name] for metadata in every]:
                differing[path] = (version, canonical_json(self._metadata[name]).encode())
        return differing

    def write_recordings(self, start: int, columns: Mapping[str, Sequence[Any] | Array]) -> None:
        """Write rows [start, start + n) of some recording arrays; all other rows keep their values.

        Readers see them once the new length is published. Objects of other drivers' rows are
        compared and swapped: whoever is late adds its rows to theirs, which are the same where
        they are of the same plan. Raises DamagedError where rows before these are lost.
        """
        chunks = [
            (name, low, values[low - start : min(low + RECORDINGS_PER_CHUNK, stop) - start])
            for name, values in columns.items()
            for stop in (start + len(values),)
            for low in _chunk_starts(start, stop)
        ]
        for _ in self.location.concurrently(lambda chunk: self._merge(*chunk), chunks):
            pass

    def rewrite_recordings(
        self, name: str, start: int, values: Sequence[Any], version: str | None
    ) -> None:
        """Write a whole object of a recording array anew, unless it is another version by now."""
        array, index = self.array(name), start // RECORDINGS_PER_CHUNK
        data = merged_object(array, index, None, start, _column(array, values))
        self.location.replace(self._object_path(name, index), data, version)

    def fill_recordings(self, names: Iterable[str], rows: Sequence[int]) -> None:
        """Put fill values in place of single rows of some recording arrays."""
        by_object: dict[int, list[int]] = {}
        for row in rows:
            by_object.setdefault(row // RECORDINGS_PER_CHUNK, []).append(row)
        for name in names:
            for index, its in by_object.items():
                array, own = self.array(name), np.array(its)
                self._change(
                    self._object_path(name, index),
                    lambda stored: filled_object(array, index, stored, own),  # noqa: B023 - at once
                )

    def fill_block(self, block: int, spans: Iterable[tuple[int, int]]) -> None:
        """Put fill values in place of rows [start, stop) within a block, of every frame array.

        All other rows keep their bytes. Blocks and arrays that are not there stay so.
        """
        its = list(spans)
        for name in self.frame_names:
            array = self.array(name)
            self._change(
                self.block_path(name, block),
                lambda stored: blanked_object(array, block, stored, its),  # noqa: B023 - at once
            )

    def _change(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """Replace an object, unless it is absent, by what a function makes of it."""
        self.location.change(
            path, lambda stored: None if stored is None else _sound(path, lambda: change(stored))
        )

    def _merge(self, name: str, start: int, values: Sequence[Any] | Array) -> None:
        """Write some rows of one object of a recording array."""
        array = self.array(name)
        index, within = divmod(start, RECORDINGS_PER_CHUNK)
        path = self._object_path(name, index)
        rows = _column(array, values)

        def merged(stored: bytes | None) -> bytes:
            if stored is None and within:
                raise DamagedError(f"{path} is missing; run `fadae verify --repair`")
            return _sound(path, lambda: merged_object(array, index, stored, start, rows))

        self.location.change(path, merged)

    def publish(self, rows: int, recordings: int, attrs: Mapping[str, Any] | None = None) -> Self:
        """Show everybody the new shape of all arrays at once; return the group as published.

        The arrays' own documents come first and the root's consolidated metadata last: that
        write is the commit, and it takes place only if the root still is what was opened here.
        `attrs` replaces the attributes it names. Raises OvertakenError where it is not.
        """
        root = _sealed(self._grown(rows, recordings, attrs or {}))
        for _ in self.location.concurrently(
            lambda one: self._grow_document(*one), root["consolidated_metadata"]["metadata"].items()
        ):
            pass
        return self.replace_root(root)

    def replace_root(self, root: GroupDocument) -> Self:
        """Put another root in place of the one that was opened; raises OvertakenError."""
        document, data = f"{self.path}/zarr.json", canonical_json(root).encode()
        stored, version = self.location.find_version(document)
        if stored != data and not self._is_opened(stored):
            raise OvertakenError(f"{document} was replaced meanwhile")
        swapped = stored == data or self.location.replace(document, data, version)
        if (
            not swapped and self.location.find_version(document)[0] != data
        ):  # else an answer was lost
            raise OvertakenError(f"{document} was replaced meanwhile")
        return type(self)(self.location, self.path, root)

    def _is_opened(self, stored: bytes | None) -> bool:
        """Return whether a root document says what the one says that was opened here."""
        try:
            return stored is not None and json.loads(stored) == self._root
        except ValueError:
            return False

    def _grown(self, rows: int, recordings: int, attrs: Mapping[str, Any]) -> GroupDocument:
        """Return the root with other lengths and attributes."""
        lengths = {FRAME: rows, RECORDING: recordings}
        root: GroupDocument = json.loads(json.dumps(self._root))
        root["attributes"].update(attrs)
        for metadata in root["consolidated_metadata"]["metadata"].values():
            axis = metadata["dimension_names"][0]
            if axis in lengths:
                metadata["shape"][0] = lengths[axis]
        return root

    def _grow_document(self, name: str, metadata: ArrayDocument) -> None:
        """Write an array's own document unless it tells of more rows already."""
        data = canonical_json(metadata).encode()

        def grown(stored: bytes | None) -> bytes | None:
            return None if stored is not None and _is_longer(stored, metadata) else data

        self.location.change(f"{self.path}/{name}/zarr.json", grown)

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


def _sealed(root: GroupDocument) -> GroupDocument:
    """Return a root document with the SHA-256 of the rest of it among its attributes."""
    attributes = {name: value for name, value in root["attributes"].items() if name != SEAL}
    rest: GroupDocument = {**root, "attributes": attributes}
    attributes = {**attributes, SEAL: sha256_hex(canonical_json(rest))}
    return {**root, "attributes": attributes}


def _column(array: zarr.Array[Any], values: Sequence[Any] | Array) -> Array:
    dtype = np.dtypes.StringDType() if array.dtype.kind == "T" else array.dtype
    return np.asarray(values, dtype=dtype)


def _chunk_starts(start: int, stop: int) -> Iterator[int]:
    """Yield the first of some rows in each object of a recording array that they lie in."""
    yield start
    step = RECORDINGS_PER_CHUNK
    yield from range((start // step + 1) * step, stop, step)


def _sound(path: str, made: Callable[[], bytes]) -> bytes:
    """Return what is made of an object's bytes; raises DamagedError where that cannot be."""
    try:
        return made()
    except (ValueError, RuntimeError, IndexError) as error:
        raise DamagedError(f"{path} is damaged ({error}); run `fadae verify --repair`") from error


def _is_longer(stored: bytes, metadata: ArrayDocument) -> bool:
    """Return whether an array's own document is the same but for more rows."""
    try:
        found: ArrayDocument = json.loads(stored)
        longer = found["shape"][0] > metadata["shape"][0]
        return longer and {**found, "shape": metadata["shape"]} == metadata
    except (ValueError, KeyError, TypeError, IndexError):  # damaged: written anew
        return False
