"""A source of another package is found by its entry point and ingested like fadae's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fadae.archive.source import plugged_in
from fadae.errors import UsageError
from tests.archive import shelf
from tests.command import fadae, summary


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as `pip install --target` leaves it, importable here and in processes."""
    folder = tmp_path / "site-packages"
    metadata = folder / "fadae_shelf-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(shelf.__file__, folder / "fadae_shelf.py")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fadae-shelf\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[fadae.sources]\nshelf = fadae_shelf:Shelf\nbroken = fadae_shelf:Nothing\n"
        "odd = builtins:str\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.usefixtures("installed")
def test_a_source_of_another_package_is_ingested(tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    soundfile.write(sounds / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 11025), 11025)
    there = ("-w", str(tmp_path / "w"), "--workers", "1", "--json")
    result = fadae("ingest", "--source", f"shelf:{sounds}", *there)
    assert result.returncode == 0, result.stderr
    told = summary(result)
    assert (told["recordings"], told["ok"]) == (1, 1)


@pytest.mark.usefixtures("installed")
def test_what_is_no_source_is_said() -> None:
    assert plugged_in("shelf:/music").selection() == {"shelf": "/music"}
    with pytest.raises(UsageError, match="no installed source 'shelves'; nearest: 'shelf'"):
        plugged_in("shelves:/music")
    with pytest.raises(UsageError, match="source 'broken' cannot be loaded"):
        plugged_in("broken:")
    with pytest.raises(UsageError, match="builtins:str does not make a source: it lacks selection"):
        plugged_in("odd:x")


@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_command_told_an_unknown_source_says_so(command: str, tmp_path: Path) -> None:
    result = fadae(command, "--source", "nobody:x", "-w", str(tmp_path))
    assert result.returncode == 2
    assert "no installed source 'nobody'" in result.stderr
