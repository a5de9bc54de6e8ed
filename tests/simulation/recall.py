"""Zarr's reads and writes of arrays, computed once: what they ask of the bucket stays what it is.

What zarr asks next, and what it returns at last, follows from the operation and from the answers
it had. So both are kept in a tree, by those; an operation asks the bucket as the tree says, and
only where an answer is new does zarr run, from the start, with the answers that there were.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import zarr

from tests.simulation.bucket import BucketStore, Request

_getitem, _setitem = zarr.Array.__getitem__, zarr.Array.__setitem__


@dataclass(slots=True)
class _Step:
    """What is asked next, and what follows by the answer; or how the operation ended."""

    request: Request | None = None
    after: dict[bytes | None, _Step] = field(default_factory=dict)
    done: bool = False
    result: Any = None
    error: Exception | None = None


_operations: dict[object, _Step] = {}


def getitem(array: zarr.Array[Any], selection: Any) -> Any:
    """Return what an array holds at a place, as zarr does."""
    if not isinstance(array.store, BucketStore):
        return _getitem(array, selection)
    key = ("get", array.path, array.shape, _told(selection))
    found = _recalled(key, array.store, lambda: _getitem(array, selection))
    return found.copy() if isinstance(found, np.ndarray) else found


def setitem(array: zarr.Array[Any], selection: Any, values: Any) -> None:
    """Write values to a place of an array, as zarr does."""
    if not isinstance(array.store, BucketStore):
        _setitem(array, selection, values)
        return
    content = values.tobytes() if values.dtype.kind != "T" else tuple(values.tolist())
    key = ("set", array.path, array.shape, _told(selection), content)
    _recalled(key, array.store, lambda: _setitem(array, selection, values))


def _told(selection: slice) -> tuple[Any, ...]:
    return selection.start, selection.stop, selection.step


def _recalled(key: object, store: BucketStore, operation: Callable[[], Any]) -> Any:
    step, answers = _operations.setdefault(key, _Step()), list[bytes | None]()
    while step.request is not None:
        answers.append(store.ask(step.request))
        if answers[-1] not in step.after:
            return _learned(_operations[key], store, operation, answers)
        step = step.after[answers[-1]]
    if not step.done:
        return _learned(_operations[key], store, operation, answers)
    if step.error is not None:
        raise copy.copy(step.error)
    return step.result


def _learned(
    step: _Step, store: BucketStore, operation: Callable[[], Any], answers: list[bytes | None]
) -> Any:
    """Run an operation with the answers that it had, and keep what it asks and how it ends."""
    had = deque(answers)

    def ask(request: Request) -> bytes | None:
        nonlocal step
        assert step.request in (None, request), "after the same answers zarr asks for the same"
        step.request = request
        answer = had.popleft() if had else BucketStore.ask(store, request)
        step = step.after.setdefault(answer, _Step())
        return answer

    with mock.patch.object(store, "ask", ask):
        try:
            result = operation()
        except Exception as error:
            step.done, step.error = True, error
            raise
    step.done, step.result = True, result
    return result
