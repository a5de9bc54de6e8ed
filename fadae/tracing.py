"""Spans of OpenTelemetry around stages and their tasks, where its API is installed; else nothing.

Only the API is used: who wants spans starts fadae with an SDK (`opentelemetry-instrument fadae
run ...`), on the workers too. Without one no span is made and nothing travels.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cache

from fadae._version import __version__

RECORDING = "fadae.recording"  # the attribute with a recording's id


@contextlib.contextmanager
def stage(name: str) -> Iterator[Mapping[str, str]]:
    """Make the block a span; give what its tasks, wherever they run, need to belong to it.

    The span is not made the current one: the block may be a generator's, left and entered again.
    """
    if not _has_api():
        yield {}
        return
    from opentelemetry import propagate, trace

    span = trace.get_tracer("fadae", __version__).start_span(f"fadae {name}")
    parent: dict[str, str] = {}
    propagate.inject(parent, trace.set_span_in_context(span))
    try:
        yield parent
    except Exception as error:  # told, and raised again
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()


@contextlib.contextmanager
def task(name: str, parent: Mapping[str, str]) -> Iterator[None]:
    """Make the block a span of a stage: its parent is what `stage` gave."""
    if not parent or not _has_api():
        yield
        return
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("fadae", __version__)
    with tracer.start_as_current_span(f"fadae {name} task", context=propagate.extract(parent)):
        yield


def annotate(name: str, value: str) -> None:
    """Give the current span an attribute."""
    if _has_api():
        from opentelemetry import trace

        trace.get_current_span().set_attribute(name, value)


@cache
def _has_api() -> bool:
    return importlib.util.find_spec("opentelemetry") is not None
