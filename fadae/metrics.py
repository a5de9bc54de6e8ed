"""Numbers of this process for Prometheus: counted always, served where they are asked for.

`METRICS` declares every name, each with one label: docs/examples/grafana-dashboard.json uses them.
Counting needs no package; the text format is that of prometheus-client (`fadae[metrics]`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fadae.errors import UsageError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is said of a metric once."""

    kind: Literal["counter", "gauge"]
    label: str
    help: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a metric at one value of its label."""

    name: str
    label: str
    value: float


METRICS = {
    # Of a driver, since it started.
    "fadae_units_done_total": Metric("counter", "stage", "Units done by this process's stages."),
    "fadae_units_expected_total": Metric(
        "counter", "stage", "Units that its stages knew they had to do."
    ),
    "fadae_units_failed_total": Metric("counter", "stage", "Units that failed, for any reason."),
    "fadae_blocks_written_total": Metric(
        "counter", "stage", "Blocks written, not those that were there."
    ),
    "fadae_bytes_total": Metric("counter", "stage", "Bytes of source files ingested."),
    "fadae_retries_total": Metric(
        "counter", "of", "Requests of this process that were tried again."
    ),
    # Of a workspace, whoever worked on it.
    "fadae_stage_done": Metric("gauge", "stage", "Units done in the workspace."),
    "fadae_stage_expected": Metric("gauge", "stage", "Units there are, as far as is known."),
    "fadae_stage_failed": Metric("gauge", "stage", "Units failed in the workspace."),
    "fadae_stage_rate": Metric("gauge", "stage", "Units a second of late."),
    "fadae_stage_bytes": Metric("gauge", "stage", "Bytes that the stage's results take."),
    "fadae_stage_last_commit_seconds": Metric(
        "gauge", "stage", "When the stage last wrote a result, in seconds since 1970."
    ),
    "fadae_train_step": Metric("gauge", "run", "The last step that a run has told."),
    "fadae_train_loss": Metric("gauge", "run", "Its loss."),
    "fadae_train_samples_per_second": Metric("gauge", "run", "Frames learned a second of late."),
}

_values: dict[tuple[str, str], float] = {}
_lock = threading.Lock()


def count(name: str, label: str, amount: float = 1) -> None:
    """Add to a counter at one value of its label."""
    with _lock:
        _values[name, label] = _values.get((name, label), 0.0) + amount


def counted() -> list[Sample]:
    """Return all counters of this process."""
    with _lock:
        return [Sample(name, label, value) for (name, label), value in sorted(_values.items())]


def written(stage: str, results: Iterable[bool]) -> Iterator[bool]:
    """Yield whether each block had to be written, and count those that had.

    >>> sum(written("extract", [True, False, True]))
    2
    """
    for wrote in results:
        count("fadae_blocks_written_total", stage, wrote)
        yield wrote


def anything_done() -> bool:
    """Return whether the workspace has more than before: a recording's samples, a block."""
    names = ("fadae_bytes_total", "fadae_blocks_written_total")
    return any(sample.value for sample in counted() if sample.name in names)


def text(samples: Iterable[Sample]) -> bytes:
    """Return samples in Prometheus' text format; raises UsageError without prometheus-client.

    A name that METRICS does not declare is a KeyError.
    """
    registry = _registry(lambda: samples)
    from prometheus_client import generate_latest

    shown: bytes = generate_latest(registry)
    return shown


@contextlib.contextmanager
def serving(
    port: int | None, host: str, more: Callable[[], Iterable[Sample]] = tuple
) -> Iterator[str | None]:
    """Serve /metrics in the block, in a thread; give its address, None without a port.

    more: what is read for each answer, beside the counters. Port 0 takes a free one. Raises
    UsageError where the port cannot be had or prometheus-client is not installed.
    """
    if port is None:
        yield None
        return
    registry = _registry(lambda: [*counted(), *more()])
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"--metrics-port: cannot listen on {host} port {port}: {error.strerror or error}"
        ) from error
    try:
        at = f"[{host}]" if ":" in host else host
        yield f"http://{at}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """What prometheus-client asks for each answer."""

    def __init__(self, samples: Callable[[], Iterable[Sample]]) -> None:
        self._samples = samples

    def describe(self) -> list[Any]:
        """Say nothing beforehand: registering reads no workspace."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield a family for each metric that has a value."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        families: dict[str, Any] = {}
        for sample in self._samples():
            about = METRICS[sample.name]
            if sample.name not in families:
                families[sample.name] = kinds[about.kind](
                    sample.name, about.help, labels=[about.label]
                )
            families[sample.name].add_metric([sample.label], sample.value)
        yield from families.values()


def _registry(samples: Callable[[], Iterable[Sample]]) -> Any:
    """Return what prometheus-client shows samples by; raises UsageError without it."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise UsageError("metrics need prometheus-client: pip install 'fadae[metrics]'")
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(samples))
    return registry
