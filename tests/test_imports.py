"""What `import fadae` costs: no torch before something trains or runs a model."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "import fadae",
        "import fadae; fadae.FrequencyAdaptiveTransform",
        "import fadae.cli.app",
        "import fadae.stages.ingest, fadae.stages.extract, fadae.cluster",
        "import fadae.query.workspace; fadae.query.workspace.open",
    ],
)
def test_loads_no_torch(statement: str) -> None:
    code = f"{statement}; import sys; print('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stdout) == (0, "False\n"), child.stderr


def test_help_names_every_stage() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "fadae", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in ("run", "ingest", "extract", "train", "reconstruct", "info", "demo", "serve"):
        assert f"\n  {command} " in shown


def test_the_command_line_starts_without_the_libraries() -> None:
    code = "import fadae.cli.app, sys; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    loaded = set(child.stdout.split())
    assert "fadae.cli.app" in loaded
    assert not loaded & {"dask", "distributed", "zarr", "numpy", "scipy", "torch"}
