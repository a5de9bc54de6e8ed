"""The soak's judge: it knows a workspace that was built in other steps from one that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from fadae.archive import FolderSource
from fadae.config.job import Settings
from fadae.stages.extract import extract
from fadae.stages.ingest import ingest
from fadae.store.location import Location
from tests.soak import commands
from tests.soak.quiet import differing, hashes, plans_of, run_quietly


def test_a_quiet_run_repeats_the_publications_and_tells_a_changed_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "FILES_A_STEP", 4)
    music, location = tmp_path / "music", Location(str(tmp_path / "disturbed"))
    for step in range(2):
        commands.add_music(music, step, seed=1)
        ingest(location, [FolderSource(str(music))], Settings(refresh=True))
        extract(location, preset=commands.PRESET)
    assert [plan.header.recordings for plan in plans_of(location)] == [3, 3]  # and one is broken
    quiet = run_quietly(location, music, tmp_path / "quiet", [])
    there = hashes(location, [])
    assert len(there) > 20 and differing(there, hashes(quiet, [])) == []
    location.write_bytes("features.zarr/audio/c/1/0", b"damage")
    location.delete("features.zarr/frame_time/c/0")
    assert differing(hashes(location, []), there) == [
        "features.zarr/audio/c/1/0",
        "features.zarr/frame_time/c/0",
    ]
