"""The table of mutants fits the code; what runs it tells the living from the dead."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.__main__ import SuiteError, judge
from tests.mutants.table import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]


def test_every_line_is_there_once_and_what_replaces_it_is_another_that_python_reads() -> None:
    for one in mutants():
        assert one.new != one.old, one.at
        ast.parse(one.applied((ROOT / one.file).read_text("utf-8")), one.at)
    assert len({(one.at, one.old, one.new) for one in mutants()}) == len(mutants()) >= 40


def test_the_nearest_tests_are_there() -> None:
    for argument in {argument for one in mutants() for argument in one.arguments}:
        path, _, name = argument.partition("::")
        names = {
            n.name
            for n in ast.parse((ROOT / path).read_text("utf-8")).body
            if isinstance(n, ast.FunctionDef)
        }
        assert not name or name in names, argument


def test_a_line_that_is_not_there_once_is_an_error() -> None:
    source = "def f():\n    x = 1\n    x = 1\n\n\ndef g():\n    x = 1\n"
    assert Mutant("a.py g", "x = 1", "x = 2", "", "").applied(source) == f"{source[:-6]}x = 2\n"
    for at, old in (("a.py f", "x = 1"), ("a.py g", "x = 3"), ("a.py h", "x = 1")):
        with pytest.raises(LookupError):
            Mutant(at, old, "pass", "", "").applied(source)


def test_the_living_are_told_from_the_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # half of what a start takes
    for folder in ("fadae", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    sum_of = "def add(a: int, b: int) -> int:\n    b += 0\n    return a + b\n"
    (tmp_path / "fadae" / "sums.py").write_text(sum_of)
    test = (
        "from fadae.sums import add\n\n\ndef test_a_sum() -> None:\n    assert add(2, {}) == {}\n"
    )
    (tmp_path / "tests" / "test_sums.py").write_text(test.format(2, 4))
    made = [
        Mutant("sums.py add", "return a + b", "return a - b", "tests/test_sums.py", "sums"),
        Mutant("sums.py add", "return a + b", "return a * b", "tests/test_sums.py", "sums"),
        Mutant("sums.py add", "b += 0", "b -= 0", "tests/test_sums.py", "nothing", "0 is 0"),
        Mutant("sums.py add", "b += 0", "b += 1", "tests/test_sums.py", "sums", "said in vain"),
    ]
    fates = ["killed", "survived", "equivalent", "not equivalent"]
    assert judge(tmp_path, made, jobs=2) == fates
    assert "tests/test_sums.py::test_a_sum" in capsys.readouterr().out
    (tmp_path / "tests" / "test_sums.py").write_text(test.format(3, 6))
    with pytest.raises(SuiteError, match="fail without a mutant"):
        judge(tmp_path, made[:1], jobs=1)
