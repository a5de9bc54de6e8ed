"""Spans of a stage and its tasks, seen by OpenTelemetry's SDK; nothing where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae import tracing
from fadae.archive.folder import FolderSource
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from tests.audio.sounds import music, save


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An exporter that keeps spans in memory, for one test."""
    pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The API takes one provider a process, for good: here it is asked for instead.
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def test_tasks_are_spans_of_their_stage_with_the_recording(spans: Any, tmp_path: Path) -> None:
    save(tmp_path / "music" / "a.ogg", music(1))
    save(tmp_path / "music" / "b.ogg", music(1, seed=2))
    ingest(Location(str(tmp_path / "w")), [FolderSource(str(tmp_path / "music"))])
    *tasks, stage = spans.get_finished_spans()
    assert (stage.name, {task.name for task in tasks}) == ("fadae ingest", {"fadae ingest task"})
    assert {task.parent.span_id for task in tasks} == {stage.context.span_id}
    assert {task.attributes[tracing.RECORDING] for task in tasks} == {"music/a.ogg", "music/b.ogg"}


def test_a_failed_task_and_its_stage_say_so(spans: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_serially(lambda value: 1 // value, [1, 0], label="divide"))
    good, bad, stage = spans.get_finished_spans()
    assert [span.status.is_ok for span in (good, bad, stage)] == [True, False, False]
    assert bad.events[0].attributes["exception.type"] == "ZeroDivisionError"


def test_a_stage_left_in_the_middle_ends_its_span(spans: Any) -> None:
    results = map_serially(abs, [-1, -2], label="left")
    next(results)
    assert [span.name for span in spans.get_finished_spans()] == ["fadae left task"]
    results.close()  # type: ignore[attr-defined]
    assert [span.name for span in spans.get_finished_spans()] == ["fadae left task", "fadae left"]


def test_without_an_sdk_nothing_travels() -> None:
    with tracing.stage("bare") as parent:
        assert parent == {}
    assert list(map_serially(abs, [-1], label="bare")) == [1]
