"""The runner of benchmarks and the comparison of two runs; no time is asserted."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from tests.benchmarks import figures
from tests.benchmarks.__main__ import PARTS, QUICK, commit, machine, main, run
from tests.benchmarks.weigh import cost_of

# A process that starts another, which outlives it and works on.
_ORPHAN = """
import subprocess, sys
work = "import time; held = bytearray(60_000_000)\\nwhile time.process_time() < 0.2: pass"
subprocess.Popen([sys.executable, "-S", "-c", work])
print("gone")
"""


def results(*measured: figures.Figure) -> figures.Results:
    return {
        "commit": "abc",
        "machine": machine(),
        "versions": {},
        "started": "now",
        "seconds": 1.0,
        "load_before": 0.5,
        "failed": [],
        "figures": list(measured),
    }


def test_processes_that_outlive_their_parents_count() -> None:
    cost = cost_of(sys.executable, "-S", "-c", _ORPHAN)
    assert cost.printed == "gone"
    assert cost.cpu >= 0.2
    assert cost.mb >= 60
    assert cost.mb_by_role["command"] >= 60


def test_two_runs_are_compared_with_the_noise_beside_the_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wait = figures.Figure("wait", (1.0, 1.2, 1.1), "s")
    speed = figures.Figure("speed", (10.0, 11.0), better="higher")
    runs = {
        "a": results(wait, speed, figures.Figure("old", (1.0,))),
        "b": results(
            dataclasses.replace(wait, values=(0.5, 0.6, 0.55)),
            dataclasses.replace(speed, values=(9.0, 10.5)),
        ),
    }
    for name, measured in runs.items():
        figures.write(tmp_path / name, measured)
        assert figures.read(tmp_path / name) == measured
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split() for line in printed] == [
        ["wait", "1.1", "0.55", "-50.0%", "9.1%", "better"],
        ["speed", "10.5", "9.75", "-7.1%", "7.1%"],
        ["old", "only", "in", "A"],
    ]


def test_what_is_no_run_of_benchmarks_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"figures": [1]}')
    with pytest.raises(SystemExit, match="no run of benchmarks: not a figure"):
        main(["compare", str(tmp_path / "x"), str(tmp_path / "x")])


def test_a_figure_reaches_the_file_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "figures.jsonl"
    monkeypatch.setenv(figures.TO, str(told))
    missed = figures.report("ratio", [2.0, 1.0, 3.0], "x", limit=1.5)
    assert figures.read_lines(told) == [missed]
    assert not missed.kept
    assert (missed.median, missed.spread) == (2.0, 1.0)
    assert "MISSED" in str(missed)


def test_a_run_names_its_parts_its_commit_and_no_path(tmp_path: Path) -> None:
    assert set(QUICK) <= set(PARTS)
    assert run([], tmp_path / "new" / "run.json") == 0
    assert figures.read(tmp_path / "new" / "run.json")["commit"] == commit()
    assert "/" not in (tmp_path / "new" / "run.json").read_text()
    with pytest.raises(SystemExit, match="2"):
        main(["run", "nothing-like-it"])
    with pytest.raises(SystemExit, match="2"):
        main(["run", "transform", "training", "--rounds", "1"])
