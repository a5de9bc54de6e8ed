"""What every audio source keeps to. A new source is one line in SOURCES."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fadae.archive.folder import FolderSource
from fadae.archive.source import Page, Source
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import PermanentFailure
from fadae.records import Failure, Track
from tests.archive.small import AWKWARD, FAST, bytes_of, small_item, source_of, write

# Each makes a source of two tracks, AWKWARD and one more, whose bytes are those of their names.
SOURCES: dict[str, Callable[[EmbeddedArchive, Path], Source]] = {
    "items": lambda archive, _: source_of(archive),
    "search": lambda archive, _: source_of(archive, queries=("collection:all",)),
    "folder": lambda _, path: FolderSource(str(write(path / "x ü#?%41", AWKWARD, "b.ogg")), FAST),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    with EmbeddedArchive([small_item(tmp_path / "held")]) as archive:
        yield SOURCES[request.param](archive, tmp_path)


def listed(source: Source) -> list[Track]:
    found = [track for page in source.pages() for track in source.tracks(page)]
    return [track for track in found if isinstance(track, Track)]


def test_it_is_a_small_value(source: Source) -> None:
    assert len(pickle.dumps(source)) < 4096
    assert pickle.loads(pickle.dumps(source)) == source
    assert hash(source) == hash(pickle.loads(pickle.dumps(source)))
    list(source.pages())  # used ones too: handles never travel
    assert len(pickle.dumps(source)) < 4096


def test_its_selection_is_json(source: Source) -> None:
    assert json.loads(json.dumps(source.selection())) == json.loads(json.dumps(source.selection()))


def test_pages_travel_as_json(source: Source) -> None:
    for page in source.pages():
        assert Page.from_json(page.to_json()) == page


def test_a_listing_goes_on_after_any_page(source: Source) -> None:
    pages = list(source.pages())
    assert [page.number for page in pages] == list(range(len(pages)))
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    for index, page in enumerate(pages):
        assert list(source.pages(after=page)) == pages[index + 1 :]


def test_it_lists_one_file_a_track_with_harmless_texts(source: Source) -> None:
    tracks = listed(source)
    assert [track.file for track in tracks] == ["b.ogg", AWKWARD]
    assert len({track.id for track in tracks}) == 2
    for track in tracks:
        assert "/" not in track.item
        assert track.title
        assert (track.title + track.creator).isprintable()


def test_listing_again_lists_the_same(source: Source) -> None:
    assert listed(source) == listed(source)


def test_fetch_writes_the_tracks_bytes(source: Source, tmp_path: Path) -> None:
    for track in listed(source):
        target = tmp_path / "fetched"
        target.write_bytes(b"something longer that was there before" * 10_000)
        source.fetch(track, target)
        assert target.read_bytes() == bytes_of(track.file)


def test_a_file_that_is_not_there_is_a_permanent_failure(source: Source, tmp_path: Path) -> None:
    item = listed(source)[0].item
    for name in ("missing.ogg", "../outside.ogg", "/etc/passwd", "disc 1"):
        with pytest.raises(PermanentFailure):
            source.fetch(Track(item, name), tmp_path / "fetched")


def test_a_bad_entry_is_a_value(source: Source) -> None:
    page = Page(0, ("not \ud800 text.ogg",))
    (failure,) = source.tracks(page)
    assert isinstance(failure, Failure)
    assert failure.reason.isprintable()
    failure.id.encode()
