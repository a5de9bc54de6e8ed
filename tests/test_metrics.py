"""What Prometheus reads: declared names, true counts, an address that is given back."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fadae import metrics, progress
from fadae.errors import UsageError
from fadae.metrics import METRICS, Sample

ROOT = Path(__file__).resolve().parents[1]

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("prometheus_client") is None, reason="needs fadae[metrics]"
)


def scraped(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    told = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in told}


@needs_package
def test_progress_is_counted_and_served_while_the_block_lasts() -> None:
    name = 'fadae_units_done_total{stage="a test"}'
    more = [Sample("fadae_train_loss", 'run "x"\n', 0.5)]
    with metrics.serving(0, "127.0.0.1", lambda: more) as address:
        assert address is not None
        before = scraped(address).get(name, 0.0)
        with progress.track("a test", 7) as shown:
            shown.advance(2)
            shown.advance()
        after = scraped(address)
    assert after[name] - before == 3
    assert after['fadae_units_expected_total{stage="a test"}'] >= 7
    assert after[r'fadae_train_loss{run="run \"x\"\n"}'] == 0.5
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=30)


def test_without_a_port_nothing_is_served() -> None:
    with metrics.serving(None, "127.0.0.1") as address:
        assert address is None


@needs_package
def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"--metrics-port: cannot listen on .* {port}"),
            metrics.serving(port, "127.0.0.1"),
        ):
            pass


@needs_package
def test_the_text_names_kind_and_meaning() -> None:
    told = metrics.text(
        [Sample("fadae_stage_done", "ingest", 3), Sample("fadae_retries_total", "archive", 1)]
    )
    assert b"# TYPE fadae_stage_done gauge\n" in told
    assert b'fadae_stage_done{stage="ingest"} 3.0\n' in told
    assert b"# TYPE fadae_retries_total counter\n" in told
    with pytest.raises(KeyError):
        metrics.text([Sample("fadae_undeclared", "x", 1)])


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    board = json.loads((ROOT / "docs/examples/grafana-dashboard.json").read_text("utf-8"))
    asked = [target for panel in board["panels"] for target in panel["targets"]]
    shown = set()
    for target in asked:
        names = set(re.findall(r"fadae_\w+", target["expr"]))
        labels = {METRICS[name].label for name in names}  # KeyError: no such metric
        assert names and set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels
        shown |= names
    assert shown == METRICS.keys(), "every metric is on the board"
