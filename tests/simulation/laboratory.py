"""What makes the real stages cheap and repeatable enough for ten thousand interleavings.

Nothing that decides what is asked of the bucket, or in which order, is replaced. Blocks and chunks
are small, so that a few frames cross their borders; zarr's coroutines run where they are called,
so that a request inside one can wait for its turn; pure functions are asked once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from unittest import mock

import zarr.core.array
import zarr.core.group
import zarr.core.sync
import zarr.storage
from zarr.core.group import AsyncGroup, GroupMetadata

import fadae.stages.extract
from fadae.records import canonical_json
from fadae.store import frames, layout, root_checks, zarr_internals
from fadae.store.layout import ArraySpec
from tests.simulation import recall
from tests.simulation.bucket import BucketLocation, BucketStore

SMALL = {"BLOCK_FRAMES": 8, "CHUNK_FRAMES": 4, "RECORDINGS_PER_CHUNK": 4}

T = TypeVar("T")


@contextlib.contextmanager
def laboratory() -> Iterator[None]:
    """Let everything in the block run in one thread, on small blocks."""
    with contextlib.ExitStack() as stack:
        patch = mock.patch.object
        for name, value in SMALL.items():
            for module in [m for n, m in sys.modules.items() if n.startswith("fadae.")]:
                if name in vars(module):
                    stack.enter_context(patch(module, name, value))
        stack.enter_context(_synchronous(run_here))
        for module in [m for n, m in sys.modules.items() if n.startswith("zarr.")]:
            if "concurrent_map" in vars(module):
                stack.enter_context(patch(module, "concurrent_map", _in_turn))
        stack.enter_context(patch(asyncio, "to_thread", _at_once))
        stack.enter_context(patch(frames.FrameStore, "array", _array))
        stack.enter_context(patch(frames.FrameStore, "_length", _length))
        for user in (frames, root_checks):
            stack.enter_context(patch(user, "new_group", _new_group))
        stack.enter_context(patch(frames, "group_of", _group_of))
        stack.enter_context(patch(frames, "first_object", _first_object))
        stack.enter_context(patch(frames, "merged_object", _merged_object))
        stack.enter_context(patch(frames, "with_rows", _with_rows))
        stack.enter_context(patch(zarr.Array, "__getitem__", recall.getitem))
        stack.enter_context(patch(zarr.Array, "__setitem__", recall.setitem))
        stack.enter_context(patch(zarr.config, "get", _option))
        logging.disable(logging.WARNING)
        stack.callback(logging.disable, logging.NOTSET)
        # A figure for the summary, of a twentieth of a second's reading.
        stack.enter_context(patch(fadae.stages.extract, "energy_kept", lambda features: None))
        yield


@contextlib.contextmanager
def _synchronous(sync: Callable[..., Any]) -> Iterator[None]:
    """Let zarr run its coroutines by `sync`."""
    with contextlib.ExitStack() as stack:
        for module in (zarr.core.sync, zarr.core.array, zarr.core.group):
            stack.enter_context(mock.patch.object(module, "sync", sync))
        yield


def run_here(coroutine: Coroutine[Any, Any, T], loop: object = None, timeout: object = None) -> T:
    """Return what a coroutine returns that waits for nothing: zarr's `sync`, for a simulation."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError(f"{coroutine} waits for something")


async def _in_turn(
    items: Iterable[Any], function: Callable[..., Awaitable[T]], limit: int | None = None
) -> list[T]:
    return [await function(*item) for item in items]


async def _at_once(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return function(*arguments, **options)


_made: dict[str, dict[str, bytes]] = {}
_objects: dict[tuple[Any, ...], bytes | memoryview] = {}
_merged: dict[tuple[Any, ...], bytes] = {}
_real_new_group, _real_first_object = layout.new_group, zarr_internals.first_object
_real_sync = zarr.core.sync.sync
_real_array, _real_length = frames.FrameStore.array, frames.FrameStore._length


def _new_group(specs: list[ArraySpec], attrs: Mapping[str, Any]) -> dict[str, bytes]:
    key = canonical_json([dict(attrs), [spec.name for spec in specs]])
    if key not in _made:
        with _synchronous(_real_sync):  # it creates several arrays at once
            _made[key] = _real_new_group(specs, attrs)
    return dict(_made[key])


def _first_object(array: zarr.Array[Any], rows: Any) -> bytes | memoryview:
    key = (array.path, rows.shape, rows.dtype.str, rows.tobytes())
    if key not in _objects:
        _objects[key] = _real_first_object(array, rows)
    return _objects[key]


def _merged_object(
    array: zarr.Array[Any], index: int, stored: bytes | None, first_row: int, rows: Any
) -> bytes:
    content = rows.tobytes() if rows.dtype.kind != "T" else tuple(rows.tolist())
    key = (array.path, index, stored, first_row, content)
    if key not in _merged:
        _merged[key] = zarr_internals.merged_object(array, index, stored, first_row, rows)
    return _merged[key]


_options: dict[str, Any] = {}
_real_option = zarr.config.get


def _option(key: str, *default: Any) -> Any:
    """Return one of zarr's options, which a simulation leaves as they are."""
    if key not in _options:
        _options[key] = _real_option(key, *default)
    return _options[key]


@functools.lru_cache(maxsize=256)
def _metadata(document: str) -> GroupMetadata:
    return GroupMetadata.from_dict(json.loads(document))


def _group_of(document: Mapping[str, Any], store: BucketStore) -> zarr.Group:
    """Return what `group_of` does, once for a process and a publication."""
    kept, key = store.location.kept, json.dumps(document)
    if key not in kept:
        path = zarr.storage.StorePath(store)
        kept[key] = zarr.Group(AsyncGroup(metadata=_metadata(key), store_path=path))
    group: zarr.Group = kept[key]
    return group


def _array(store: frames.FrameStore, name: str) -> zarr.Array[Any]:
    """Return what `FrameStore.array` does, likewise."""
    assert isinstance(store.location, BucketLocation)
    kept, key = store.location.kept, (id(store._group), name)
    if key not in kept:
        kept[key] = _real_array(store, name)
    array: zarr.Array[Any] = kept[key]
    return array


def _length(store: frames.FrameStore, axis: str) -> int:
    """Return what `FrameStore._length` does, asked once."""
    lengths: dict[str, int] = vars(store).setdefault("_lengths", {})
    if axis not in lengths:
        lengths[axis] = _real_length(store, axis)
    return lengths[axis]


def _with_rows(array: zarr.Array[Any], rows: int) -> zarr.Array[Any]:
    """Return what `with_rows` does, likewise."""
    store = array.store
    assert isinstance(store, BucketStore)
    kept, key = store.location.kept, (id(array), rows)
    if key not in kept:
        kept[key] = zarr_internals.with_rows(array, rows)
    view: zarr.Array[Any] = kept[key]
    return view
