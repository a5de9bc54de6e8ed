"""Folders and buckets as sources: what counts as audio, what a name may be, what cannot be read."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import fsspec
import pytest

from fadae.archive import folder as folder_module
from fadae.archive.folder import FolderSource
from fadae.errors import NoInputError, PermanentFailure, UsageError
from fadae.records import Failure, Track
from tests.archive.small import AWKWARD, FAST, bytes_of, tracks_of, write
from tests.s3 import S3Server


def files_of(source: FolderSource) -> list[str]:
    return [track.file for track in tracks_of(source)]  # type: ignore[arg-type]


def test_audio_files_at_any_depth_hidden_ones_not(tmp_path: Path) -> None:
    write(tmp_path, "b.OGG", "a/deep/er/c.flac", "._b.ogg", "cover.jpg", "notes.txt", AWKWARD)
    assert files_of(FolderSource(str(tmp_path), FAST)) == ["a/deep/er/c.flac", "b.OGG", AWKWARD]


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "music", "a.ogg")
    monkeypatch.chdir(tmp_path / "music")
    source = FolderSource(".", FAST)
    assert source == FolderSource(f"file://{tmp_path}/music", FAST)
    assert [track.id for track in tracks_of(source)] == ["music/a.ogg"]  # type: ignore[arg-type]


def test_long_listings_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "PAGE_FILES", 3)
    write(tmp_path, *(f"{number}.ogg" for number in range(7)))
    source = FolderSource(str(tmp_path), FAST)
    pages = list(source.pages())
    assert [len(page.entries) for page in pages] == [3, 3, 1]
    for index, page in enumerate(pages):
        assert list(source.pages(after=page)) == pages[index + 1 :]


def test_a_name_that_is_no_text_is_a_failure_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "a.ogg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.ogg")).write_bytes(b"x")
    source = FolderSource(str(tmp_path), FAST)
    (page,) = source.pages()
    track, failure = source.tracks(page)
    assert isinstance(track, Track)
    assert isinstance(failure, Failure)
    assert "UTF-8" in failure.reason


def test_no_folder_and_no_audio_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        list(FolderSource(str(tmp_path / "missing"), FAST).pages())
    with pytest.raises(NoInputError, match="no audio files"):
        list(FolderSource(str(write(tmp_path, "a.txt")), FAST).pages())
    with pytest.raises(UsageError, match="nonsense"):
        list(FolderSource("nonsense://bucket", FAST).pages())


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.ogg")
    with pytest.raises(PermanentFailure, match="not a regular file"):
        FolderSource(str(tmp_path), FAST).fetch(Track("x", "a.ogg"), tmp_path / "copy")


def test_the_size_limit_holds(tmp_path: Path) -> None:
    source = FolderSource(str(write(tmp_path, "a.ogg")), dataclasses.replace(FAST, file_bytes=10))
    with pytest.raises(PermanentFailure, match="limit"):
        source.fetch(Track("x", "a.ogg"), tmp_path / "copy")


def test_any_filesystem_of_fsspec_will_do(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/{tmp_path.name}/bach/{AWKWARD}", bytes_of(AWKWARD))
    source = FolderSource(f"memory://{tmp_path.name}/bach", FAST)
    (track,) = tracks_of(source)  # type: ignore[arg-type]
    source.fetch(track, tmp_path / "copy")
    assert track.id == f"bach/{AWKWARD}"
    assert (tmp_path / "copy").read_bytes() == bytes_of(AWKWARD)


def test_a_bucket_is_a_folder(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    bucket = fsspec.filesystem("s3", **s3.storage_options)
    for name in (AWKWARD, "b.ogg"):
        bucket.pipe(f"{s3.url.removeprefix('s3://')}/archive-folder/bach/{name}", bytes_of(name))
    source = FolderSource(f"{s3.url}/archive-folder/bach", FAST)
    assert files_of(source) == ["b.ogg", AWKWARD]
    for track in tracks_of(source):  # type: ignore[arg-type]
        source.fetch(track, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == bytes_of(track.file)
    with pytest.raises(PermanentFailure):
        source.fetch(Track("bach", "missing.ogg"), tmp_path / "copy")
    with pytest.raises(UsageError, match="no folder"):
        list(FolderSource(f"{s3.url}/nothing/here", FAST).pages())


def test_links_that_lead_out_are_refused_unless_followed(tmp_path: Path) -> None:
    write(tmp_path, "private/secret.ogg", "music/a.ogg")
    music = tmp_path / "music"
    (music / "inside.ogg").symlink_to(music / "a.ogg")
    (music / "out.ogg").symlink_to(tmp_path / "private/secret.ogg")
    (music / "folder").symlink_to(tmp_path / "private")
    source = FolderSource(str(music), FAST)
    found = [one for page in source.pages() for one in source.tracks(page)]
    tracks = [one.file for one in found if isinstance(one, Track)]
    assert tracks == ["a.ogg", "inside.ogg"]
    refused = {one.id: one.reason for one in found if isinstance(one, Failure)}
    assert "music/out.ogg" in refused
    assert all("--follow-links" in reason for reason in refused.values())
    with pytest.raises(PermanentFailure, match="leads out of the folder; --follow-links"):
        source.fetch(Track("music", "out.ogg"), tmp_path / "to")
    following = FolderSource(str(music), FAST, follow_links=True)
    assert "out.ogg" in files_of(following)
    following.fetch(Track("music", "out.ogg"), tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == bytes_of("private/secret.ogg")
    assert following.selection() != source.selection()
    linked = tmp_path / "linked"
    linked.symlink_to(music)
    assert files_of(FolderSource(str(music / "..") + "/linked", FAST, follow_links=True))
