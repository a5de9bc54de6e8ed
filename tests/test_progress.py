"""Progress outside a terminal is log lines that a batch log's reader can follow."""

import json
import logging

import pytest

from fadae import logs, progress


def test_elsewhere_than_on_a_terminal_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fadae")
    with progress.track("extract", total=3, unit="shards") as shown:
        shown.advance(2, loss=0.123456)
    assert "extract: 2/3 shards in" in caplog.text
    assert "loss 0.1235" in caplog.text


def test_a_line_appears_every_few_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "fadae")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress.track("ingest") as shown:
        shown.advance()
        shown.advance()
    assert [record.getMessage().split(" in ")[0] for record in caplog.records] == [
        "ingest: 1 items",
        "ingest: 2 items",
        "ingest: 2 items",
    ]


def test_json_lines_carry_the_figures() -> None:
    record = logging.LogRecord("fadae.progress", logging.INFO, __file__, 1, "half", None, None)
    record.__dict__[logs.FIELDS_KEY] = {"stage": "train", "done": 5}
    entry = json.loads(logs.JsonFormatter().format(record))
    assert (entry["message"], entry["stage"], entry["done"]) == ("half", "train", 5)


def test_many_warnings_are_the_first_ones_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    few = logs.FewWarnings(logging.getLogger("fadae.few"), "recordings failed", lambda: now)
    for number in range(10_000):
        now += 0.01
        few.warn("failed %d", number, recording=f"a/{number}")
    few.tell()
    few.tell()
    told = [record.getMessage() for record in caplog.records]
    assert told[:10] == [f"failed {number}" for number in range(10)]
    assert len(told) == 12
    assert told[-1].endswith("more recordings failed, 10000 so far")
    entries = [json.loads(logs.JsonFormatter().format(record)) for record in caplog.records]
    assert entries[0]["recording"] == "a/0"
    assert sum(entry.get("more", 1) for entry in entries) == entries[-1]["so_far"] == 10_000
