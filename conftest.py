"""What the examples in fadae's docstrings start from: a folder of music and a workspace of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `music`, two synthetic tones of 4 s, and `workspace`, a whole job's."""
    import numpy as np

    import fadae
    from fadae.audio.write import write
    from fadae.config import JobConfig

    home = tmp_path_factory.mktemp("examples")
    music = home / "music"
    music.mkdir()
    time = np.arange(4 * 11025) / 11025
    for name, hz in {"a4.flac": 440.0, "c5.flac": 523.25}.items():
        write(music / name, 0.3 * np.sin(2 * np.pi * hz * time), 11025)
    training = fadae.TrainConfig(widths=(32, 8), epochs=3, ranks=1)
    source = fadae.FolderSource(str(music))
    fadae.run(str(home / "workspace"), [source], JobConfig(train=training))
    return home


@pytest.fixture(autouse=True)
def names_of_an_example(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], tmp_path: Path
) -> None:
    """Give an example that names them `folder`, `workspace` and `new_workspace`, its own copy."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import fadae

    doctest_namespace["fadae"] = fadae
    source = "".join(example.source for example in request.node.dtest.examples)
    doctest_namespace["new_workspace"] = str(tmp_path / "new")
    if "folder" in source or "workspace" in source:
        home = request.getfixturevalue("examples")
        shutil.copytree(home / "workspace", tmp_path / "workspace")
        doctest_namespace["workspace"] = str(tmp_path / "workspace")
        doctest_namespace["folder"] = str(home / "music")
