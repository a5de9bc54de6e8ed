"""What `import fadae` costs: no torch before something trains or runs a model."""

import inspect
import pydoc
import re
import subprocess
import sys

import pytest

import fadae


@pytest.mark.parametrize(
    "statement",
    [
        "import fadae",
        "import fadae; fadae.FrequencyAdaptiveTransform",
        "import fadae; fadae.ingest, fadae.extract, fadae.reconstruct, fadae.train, fadae.run",
        "import fadae.cli.app",
        "import fadae.stages.ingest, fadae.stages.extract, fadae.cluster",
        "import fadae.training.launch_dask",  # Dask's workers only start processes that do
        "import fadae.web.app; fadae.query.workspace.open",  # the page shows what is there
    ],
)
def test_loads_no_torch(statement: str) -> None:
    code = f"{statement}; import sys; print('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stdout) == (0, "False\n"), child.stderr


def test_the_package_alone_loads_no_library() -> None:
    libraries = {"dask", "distributed", "numpy", "scipy", "torch", "xarray", "zarr"}
    libraries |= {"adlfs", "botocore", "gcsfs", "s3fs"}  # a bucket's, where it is in use
    code = f"import fadae, sys; dir(fadae); print(*{libraries} & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


def test_help_reads_as_a_front_page() -> None:
    page = pydoc.plain(pydoc.render_doc(fadae))
    assert page.index("fadae learns a compressed code") < 200
    assert set(fadae.__all__) <= set(dir(fadae))
    for name in set(fadae.__all__) - {"__version__"}:
        assert re.search(rf"^    (class )?{name}\(", page, re.MULTILINE), name
        assert inspect.getdoc(getattr(fadae, name)), name
    for name in ("ingest", "extract", "train", "reconstruct", "run"):
        assert ">>> " in str(inspect.getdoc(getattr(fadae, name))), name


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


def test_what_info_needs_loads_no_xarray_nor_scipy() -> None:
    """`fadae info` answers in half a second: each of these costs a fifth of one, or more."""
    code = (
        "from fadae.query.workspace import Workspace; import fadae.figures, fadae.scores, sys; "
        "from fadae.training import chosen_run, pca_remark, run_summary; print(*sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    loaded = set(child.stdout.split())
    assert "fadae.query.workspace" in loaded
    assert not loaded & {"matplotlib", "pandas", "scipy", "torch", "xarray"}
    assert not loaded & {"adlfs", "aiohttp", "botocore", "gcsfs", "s3fs"}
