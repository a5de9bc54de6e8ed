"""The documentation builds without a warning, its links lead somewhere, and its example runs."""

from __future__ import annotations

import base64
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "results").glob("*.md")),
    *(ROOT / n for n in ("README.md", "CONTRIBUTING.md")),
]
_DATA = re.compile(r"(?:base64,|\"image/png\": \")([A-Za-z0-9+/=\\n]{100,})")
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def test_sphinx_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the documentation's theme is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "--keep-going", "-b", "html"]
    command += ["-d", str(tmp_path / "doctrees"), str(ROOT / "docs"), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Codec" in (tmp_path / "html" / "library.html").read_text()


def links(page: Path) -> Iterator[str]:
    for match in _LINK.finditer(page.read_text()):
        yield match[1] or match[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    inner = [link for link in links(page) if "://" not in link and not link.startswith("#")]
    for link in inner:
        path = link.partition("#")[0]
        assert (page.parent / path).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    from fadae.cli.app import COMMANDS

    known = {command.__name__ for command in COMMANDS}
    used = set(re.findall(r"^    (?:.*[|;&] *)?fadae ([a-z]+)", page.read_text(), re.MULTILINE))
    used |= set(re.findall(r"`fadae ([a-z]+)", page.read_text()))
    assert used <= known, f"{page.name} names {used - known}"


def test_the_format_of_a_code_is_what_the_module_says() -> None:
    from fadae.coding import container

    page = (ROOT / "docs" / "formats.md").read_text()
    rows = [line for line in str(container.__doc__).splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    assert [row for row in rows if row not in page] == []


def test_the_example_runs(
    examples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "examples" / "first_steps.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(examples / "workspace")])
    runpy.run_path(str(script), run_name="__main__")
    shown = capsys.readouterr().out
    decibels = re.search(r"error: (-?\d+) dB", shown)
    assert decibels is not None and int(decibels[1]) < -60, shown
    for said in (
        "coefficients: (4, 8192)",
        "loudest bands: [",
        "a4.flac",
        "codes: (",
        "features again: (",
    ):
        assert said in shown


NOTEBOOKS = ("audio_researcher", "data_engineer", "listener", "collection_keeper")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("audio_researcher", "12 rows, error of the coefficients: "),
        ("data_engineer", "10 rows, 0 blocks written"),
        ("listener", "run default: 32 bytes a row, 0.8 kbps"),
        ("collection_keeper", "0 of 2 recordings have the samples of another one"),
    ],
)
def test_a_notebook_runs(
    name: str,
    said: str,
    examples: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FADAE_WORKSPACE", str(examples / "workspace"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert said in shown, shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_committed_notebook_is_its_script_with_small_outputs(name: str) -> None:
    cells_of = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))["cells_of"]
    script = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    file = ROOT / "docs" / "notebooks" / f"{name}.ipynb"
    notebook = json.loads(file.read_text("utf-8"))
    cells = [
        (cell["cell_type"] == "markdown", "".join(cell["source"])) for cell in notebook["cells"]
    ]
    assert cells == cells_of(script), "run `make notebooks`"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in code), "its outputs are committed"
    data = [base64.b64decode(one) for one in _DATA.findall(file.read_text("utf-8"))]
    assert max(map(len, data), default=0) < 100_000
    assert not re.search(r"/(home|root|tmp|work|Users)/", file.read_text("utf-8"))


def test_a_notebook_runs_in_jupyter(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="Jupyter: pip install 'fadae[notebooks]'")
    monkeypatch.setenv("FADAE_WORKSPACE", str(examples / "workspace"))
    run = runpy.run_path(str(ROOT / "docs" / "notebooks.py"))["run"]
    run("listener", tmp_path)
    notebook = json.loads((tmp_path / "listener.ipynb").read_text("utf-8"))
    shown = [
        out["data"]
        for cell in notebook["cells"]
        for out in cell.get("outputs", ())
        if "data" in out
    ]
    assert sum("<audio controls" in "".join(data.get("text/html", "")) for data in shown) == 5
