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
