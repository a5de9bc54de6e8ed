"""Intervals, the document and the table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fadae.compare import result, table
from fadae.compare.result import CodeResult, Comparison, Interval, interval, rounded
from fadae.errors import NoInputError
from fadae.store import Location

HOSTILE = "a|b <script>\n\x1b[31m"


def code(name: str, kbps: float, trained_on: int = 0, **means: float | None) -> CodeResult:
    scores: dict[str, Interval] = {
        key: {"mean": mean, "low": mean, "high": mean} for key, mean in means.items()
    }
    return {
        "name": name,
        "kind": "codec" if name == "Opus" else "run",
        "model": "" if name == "Opus" else "bytes",
        "setting": f"{kbps} kbps",
        "about": "as told",
        "kbps": kbps,
        "payload_kbps": kbps,
        "trained_on": trained_on,
        "scores": scores,
        "recordings": [],
    }


def comparison(*codes: CodeResult, name: str = "default") -> Comparison:
    return {
        "fadae_version": "0",
        "command": "fadae compare",
        "name": name,
        "sample_rate_hz": 11025,
        "seconds": 30.0,
        "seed": 0,
        "resamples": result.RESAMPLES,
        "confidence": result.CONFIDENCE,
        "measures": result.MEASURES,
        "recordings": [
            {
                "id": "a",
                "title": HOSTILE,
                "start_seconds": 1.0,
                "seconds": 2.0,
                "held_out_by": ["default"],
                "trained_on_by": [],
            }
        ],
        "left_out": [{"id": HOSTILE, "reason": "silent"}],
        "remarks": ["A remark."],
        "codes": list(codes),
    }


def test_an_interval_is_a_function_of_values_and_seed() -> None:
    values = np.random.default_rng(0).normal(10, 2, 40).tolist()
    first = interval(values, seed=0)
    assert interval(values, seed=0) == first != interval(values, seed=1)
    assert first["low"] is not None and first["high"] is not None
    # As wide as the normal approximation, near enough: 1.96 standard errors on either side.
    error = float(np.std(values)) / math.sqrt(40)
    assert (first["high"] - first["low"]) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert first["mean"] == pytest.approx(np.mean(values), abs=1e-4)


def test_an_interval_keeps_to_what_is_defined() -> None:
    assert interval([3.0, None, 5.0], seed=0)["mean"] == 4.0
    assert interval([], seed=0) == interval([None], seed=0)
    assert interval([None], seed=0) == {"mean": None, "low": None, "high": None}
    assert interval([2.5], seed=0) == {"mean": 2.5, "low": 2.5, "high": 2.5}


def test_no_error_at_all_is_a_number() -> None:
    assert rounded(math.inf) == 120 and rounded(-math.inf) == -120
    assert rounded(math.nan) is None


def test_a_document_comes_back(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    made = comparison(code("default", 6, snr_db=18.0))
    assert result.write(location, made) == "comparisons/default.json"
    assert result.names(location) == ["default"]
    assert result.read(location, "default") == made
    location.write_bytes("comparisons/broken.json", b'{"codes": []}')
    for missing in ("other", "broken"):
        with pytest.raises(NoInputError, match="fadae compare"):
            result.read(location, missing)


def test_tables_show_what_was_measured_and_trained_on() -> None:
    made = comparison(
        code("default", 6, trained_on=1, snr_db=18.0, visqol_mos=None),
        code("Opus", 8, snr_db=7.0, visqol_mos=None),
    )
    heads, rows = table.cells(made)
    assert heads == ["code", "setting", "kbps", "payload", "SNR dB"]
    assert rows[0][0] == "default (bytes)*" and rows[1][0] == "Opus"
    assert rows[0][4] == "18.00 [18.00, 18.00]"
    told = table.text(made)
    assert "was trained on some" in told and "A remark." in told


def test_texts_from_outside_break_no_table() -> None:
    made = comparison(code("default", 6, snr_db=18.0))
    assert "\x1b" not in table.text(made)
    markdown = table.markdown(made)
    assert "<script>" not in markdown and "\x1b" not in markdown and "a|b" not in markdown
