"""What ingest leaves out: what is forgotten, what a call excludes, what a policy keeps out."""

from __future__ import annotations

from pathlib import Path

import pytest

from fadae.archive.folder import FolderSource
from fadae.archive.items import ArchiveSource
from fadae.config.job import IngestConfig, Settings
from fadae.embedded.faults import Where
from fadae.embedded.items import HeldItem, hold
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import NoInputError, UsageError
from fadae.forget import forget
from fadae.licences import LicencePolicy
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from fadae.store.paths import commit_path, pcm_path
from fadae.store.staging import read_commit
from tests.audio.sounds import music, save
from tests.stages.ingest.conftest import NAMES, QUICK, committed
from tests.stages.ingest.test_tags import save as save_tagged

BY = "https://creativecommons.org/licenses/by/4.0/"
BY_NC = "http://creativecommons.org/licenses/by-nc/3.0/us/"


def downloads(archive: EmbeddedArchive) -> list[str]:
    return [one.target for one in archive.requests if one.where == Where.FRONT]


def test_what_is_forgotten_is_never_downloaded(
    archive: EmbeddedArchive, source: ArchiveSource, location: Location
) -> None:
    location.write_bytes("x", b"")
    forget(location, [f"little-item/{NAMES[0]}", "*/disc 1/*"], "asked")
    done = ingest(location, [source])
    assert (done.recordings, done.ok, done.forgotten) == (5, 5, 3)
    asked = downloads(archive)
    assert len(asked) == 5 and not any("prelude" in path or "disc" in path for path in asked)
    assert ingest(location, [source]) == done and len(downloads(archive)) == 5


@pytest.mark.parametrize("erase_bytes", [False, True])
def test_a_finished_selection_counts_what_is_forgotten_since(
    erase_bytes: bool, archive: EmbeddedArchive, source: ArchiveSource, location: Location
) -> None:
    assert ingest(location, [source]).ok == 8
    asked = len(downloads(archive))
    forget(location, [f"little-item/{NAMES[6]}"], "asked", erase_bytes=erase_bytes)
    gone = f"little-item/{NAMES[6]}"
    assert location.exists(pcm_path(gone)) is location.exists(commit_path(gone)) is not erase_bytes
    again = ingest(location, [source])
    assert (again.ok, again.forgotten) == (7, 1) and len(downloads(archive)) == asked
    forget(location, ["little-item"], "asked", erase_bytes=erase_bytes)
    with pytest.raises(NoInputError, match="8 forgotten or excluded"):
        ingest(location, [source])


def test_an_erased_title_is_not_listed_again(tmp_path: Path, location: Location) -> None:
    path = save(tmp_path / "01.ogg", music(2, seed=1))
    item = HeldItem("item", {}, (hold(path, "01.ogg", title="A Secret"), hold(path, "02.ogg")))
    with EmbeddedArchive([item]) as archive:
        source = ArchiveSource(items=("item",), url=archive.url, request_policy=QUICK)
        ingest(location, [source])
        forget(location, ["item/01.ogg"], "asked", erase_bytes=True)
        for settings in (Settings(), Settings(refresh=True)):
            assert ingest(location, [source], settings).forgotten == 1
            every = (location.read_bytes(path) for path in location.found_below(""))
            assert not any(b"A Secret" in data for data in every)


def test_a_limit_counts_none_of_them(source: ArchiveSource, location: Location) -> None:
    settings = Settings(limit=3, exclude=f"# these\n*/{NAMES[0]}\nlittle-item/{NAMES[1]}\n")
    done = ingest(location, [source], settings)
    assert (done.ok, done.excluded, done.forgotten) == (3, 2, 0)
    assert ingest(location, [source], Settings(limit=3)).excluded == 0


def test_a_policy_keeps_others_out_before_they_are_fetched(
    tmp_path: Path, location: Location
) -> None:
    path = save(tmp_path / "01.ogg", music(2, seed=1))
    about = {"by": BY, "nc": BY_NC, "none": ""}
    items = [
        HeldItem(name, {"licenseurl": url}, (hold(path, "1.ogg"),)) for name, url in about.items()
    ]
    with EmbeddedArchive(items) as archive:
        source = ArchiveSource(items=tuple(about), url=archive.url, request_policy=QUICK)
        narrow = Settings(licence=LicencePolicy.of("cc0,by"), fail_over=0.0)
        done = ingest(location, [source], narrow)
        assert (done.ok, done.quarantined) == (1, 2) and len(downloads(archive)) == 1
        reasons = {one["id"]: one["reason"] for one in done.failures}
        assert "LicenseRef-CC-BY-NC-3.0-US is none of by,cc0" in reasons["nc/1.ogg"]
        assert "unknown is none of by,cc0" in reasons["none/1.ogg"]
        assert ingest(location, [source], narrow) == done
        wider = Settings(licence=LicencePolicy.of("cc0,by,by-nc"))
        assert ingest(location, [source], wider).ok == 2 and len(downloads(archive)) == 2
        assert ingest(location, [source]).ok == 3 and len(downloads(archive)) == 3
        assert ingest(location, [source], narrow).ok == 3  # what is there stays


def test_the_tags_of_a_folders_files_tell(tmp_path: Path, location: Location) -> None:
    for name, tags in {"a": {"license": BY}, "b": {"license": BY_NC}, "c": {}}.items():
        save_tagged(tmp_path / f"music/{name}.flac", "flac", **tags)
    source = FolderSource(str(tmp_path / "music"))
    done = ingest(location, [source], Settings(licence=LicencePolicy.of("by"), keep_source=True))
    assert (done.ok, done.quarantined) == (1, 2)
    commit = read_commit(location, "music/b.flac")
    assert commit is not None and commit.track.licence == BY_NC and commit.failure is not None
    assert not location.exists(pcm_path("music/b.flac"))
    assert len(location.found_below("sources")) == 1
    with_unknown = Settings(licence=LicencePolicy.of("by,unknown"))
    assert ingest(location, [source], with_unknown).ok == 2
    assert ingest(location, [source]).ok == 3
    assert committed(location, "music/b.flac").decoded is not None


@pytest.mark.parametrize("text", ["", "free", "by;cc0", "CC-BY-9.9", "by,any"])
def test_a_policy_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--licence"):
        IngestConfig(licence=text)


def test_a_file_that_excludes_is_read_or_told_of(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("item/1.ogg\n")
    assert IngestConfig(exclude=str(tmp_path / "list")).settings(11025).exclude == "item/1.ogg\n"
    with pytest.raises(UsageError, match="--exclude"):
        IngestConfig(exclude=str(tmp_path / "none")).settings(11025)
