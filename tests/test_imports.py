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
    code = f"{statement}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_stage() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "fadae", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in ("run", "ingest", "extract", "train", "reconstruct", "info", "demo", "serve"):
        assert f"\n  {command} " in shown


def test_the_command_line_starts_without_the_libraries() -> None:
    code = (
        "import fadae.cli.app, sys; print(*{'dask', 'zarr', 'numpy', 'torch'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert loaded.split() == []
