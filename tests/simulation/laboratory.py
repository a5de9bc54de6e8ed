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
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextvars import Context
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import zarr.core.array
import zarr.core.group
import zarr.core.sync
import zarr.storage
from zarr.core.group import AsyncGroup, GroupMetadata

import fadae.stages.extract
from fadae.records import canonical_json
from fadae.store import frames, layout, verify  # noqa: F401 - all modules that small() looks through
from fadae.store.layout import ArraySpec

SMALL = {"BLOCK_FRAMES": 8, "CHUNK_FRAMES": 4, "RECORDINGS_PER_CHUNK": 4}

T = TypeVar("T")


@contextlib.contextmanager
def laboratory() -> Iterator[None]:
    """Let everything in the block run in one thread, on small blocks, ."""
    with contextlib.ExitStack() as stack:
        patch = mock.patch.object
        for name, value in SMALL.items():
            for module in [m for n, m in sys.modules.items() if n.startswith("fadae.")]:
                if name in vars(module):
                    stack.enter_context(patch(module, name, value))
        for module in (zarr.core.sync, zarr.core.array, zarr.core.group):
            stack.enter_context(patch(module, "sync", run_here))
        stack.enter_context(patch(asyncio, "to_thread", _at_once))
        stack.enter_context(patch(frames, "new_group", _new_group))
        stack.enter_context(patch(frames, "group_of", _group_of))
        stack.enter_context(patch(frames, "first_object", _first_object))
        logging.disable(logging.WARNING)
        stack.callback(logging.disable, logging.NOTSET)
        # A figure for the summary, of a twentieth of a second's reading.
        stack.enter_context(patch(fadae.stages.extract, "energy_kept", lambda features: None))
        yield


class _Loop(asyncio.AbstractEventLoop):
    """The least of an event loop: what is ready runs, in its order; nothing waits for the world."""

    def __init__(self) -> None:
        self.ready = deque[tuple[Callable[..., object], tuple[Any, ...], Context | None]]()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> None:
        self.ready.append((callback, arguments, context))

    def create_task(self, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=self, **options)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: Mapping[str, Any]) -> None:
        raise AssertionError(context)


def run_here(coroutine: Coroutine[Any, Any, T], loop: object = None, timeout: object = None) -> T:
    """Return what a coroutine returns, run in this thread: zarr's `sync`, for a simulation."""
    own, outer = _Loop(), asyncio._get_running_loop()
    asyncio._set_running_loop(own)
    try:
        task: asyncio.Task[T] = own.create_task(coroutine)
        while own.ready:
            callback, arguments, context = own.ready.popleft()
            if context is None:
                callback(*arguments)
            else:
                context.run(callback, *arguments)
    finally:
        asyncio._set_running_loop(outer)
    return task.result()


async def _at_once(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return function(*arguments, **options)


_made: dict[str, dict[str, bytes]] = {}
_objects: dict[tuple[Any, ...], memoryview] = {}
_real_new_group, _real_first_object = frames.new_group, frames.first_object


def _new_group(specs: list[ArraySpec], attrs: Mapping[str, Any]) -> dict[str, bytes]:
    key = canonical_json([dict(attrs), [spec.name for spec in specs]])
    if key not in _made:
        _made[key] = _real_new_group(specs, attrs)
    return dict(_made[key])


def _first_object(array: zarr.Array[Any], rows: Any) -> memoryview:
    key = (array.path, rows.shape, rows.dtype.str, rows.tobytes())
    if key not in _objects:
        _objects[key] = _real_first_object(array, rows)
    return _objects[key]


@functools.lru_cache(maxsize=256)
def _metadata(document: str) -> GroupMetadata:
    return GroupMetadata.from_dict(json.loads(document))


def _group_of(document: Mapping[str, Any], store: Any) -> zarr.Group:
    metadata = _metadata(json.dumps(document))
    return zarr.Group(AsyncGroup(metadata=metadata, store_path=zarr.storage.StorePath(store)))
