"""Small music, an archive that serves it, and settings that do not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fadae.archive.items import ArchiveSource
from fadae.archive.rate_limit import RequestPolicy
from fadae.embedded.server import EmbeddedArchive
from fadae.records import Commit
from fadae.store.location import Location
from fadae.store.staging import read_commit
from tests.audio.sounds import music, save

Staged = Callable[[Location], dict[str, bytes]]

QUICK = RequestPolicy(
    metadata_pause_seconds=0.0,
    attempts=3,
    backoff_seconds=0.01,
    backoff_cap_seconds=0.05,
    block_seconds=0.1,
    connect_seconds=20.0,
    read_seconds=20.0,
    deadline_seconds=500.0,
)

NAMES = [
    "01 prelude.ogg",
    "02 #fugue?.ogg",
    "disc 1/03 menü.flac",
    "disc 1/04 %41 gigue.mp3",
    "05 .. air.ogg",
    "06 aria.wav",
    "07.ogg",
    "08.ogg",
]


@pytest.fixture(scope="session")
def item(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight short recordings with inconvenient names."""
    folder = tmp_path_factory.mktemp("items") / "little-item"
    for seed, name in enumerate(NAMES):
        save(folder / name, music(2 + seed / 4, seed=seed))
    (folder / "cover.txt").write_text("no audio")
    return folder


@pytest.fixture
def archive(item: Path) -> Iterator[EmbeddedArchive]:
    with EmbeddedArchive(item) as archive:
        yield archive


@pytest.fixture
def source(archive: EmbeddedArchive) -> ArchiveSource:
    return ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "workspace"))


@pytest.fixture
def bytes_of() -> Staged:
    """All that a workspace's staging area holds."""

    def read(location: Location) -> dict[str, bytes]:
        root = Path(location.url)
        found = [path for path in root.rglob("*") if path.is_file() and "staging" in path.parts]
        return {str(path.relative_to(root)): path.read_bytes() for path in found}

    return read


def committed(location: Location, recording_id: str) -> Commit:
    """The commit of a recording, which must be there."""
    commit = read_commit(location, recording_id)
    assert commit is not None, recording_id
    return commit
