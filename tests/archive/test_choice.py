"""One encoding a track, whatever an item's file list looks like."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.archive.choice import choose
from fadae.records import Track


def original(name: str, **about: str) -> dict[str, str]:
    formats = {"flac": "Flac", "ogg": "Ogg Vorbis", "mp3": "VBR MP3", "wav": "WAVE"}
    suffix = name.rpartition(".")[2]
    return {"name": name, "source": "original", "format": formats.get(suffix, "Text"), **about}


def derived(name: str, parent: str, **about: str) -> dict[str, str]:
    return {**original(name), "source": "derivative", "original": parent, **about}


def chosen(*files: dict[str, str], formats: tuple[str, ...] = (), **about: Any) -> list[str]:
    found = choose("item", {"metadata": about, "files": list(files)}, formats)
    return [track.file for track in found]


def test_the_default_prefers_vorbis_then_mp3_then_lossless() -> None:
    files = original("a.flac"), derived("a.mp3", "a.flac"), derived("x.ogg", "a.flac")
    assert chosen(*files) == ["x.ogg"]
    assert chosen(*files[:2]) == ["a.mp3"]
    assert chosen(*files[:1]) == ["a.flac"]


def test_formats_asked_for_are_the_only_ones_in_their_order() -> None:
    files = original("a.flac"), derived("a.mp3", "a.flac"), derived("a.ogg", "a.flac")
    assert chosen(*files, formats=("flac", "Ogg Vorbis")) == ["a.flac"]
    assert chosen(*files, formats=("WAVE",)) == []


def test_groups_are_by_original_not_by_stem_or_track() -> None:
    files = [
        original("disc1/01.flac", track="1"),
        derived("disc1/01.ogg", "disc1/01.flac", track="1"),
        original("disc2/01.flac", track="1"),
        derived("other.ogg", "disc2/01.flac", track="1/3"),
        original("disc1/01.mp3", track="1"),
    ]
    assert chosen(*files) == ["disc1/01.mp3", "disc1/01.ogg", "other.ogg"]


def test_derivatives_of_derivatives_belong_to_the_first_original() -> None:
    chain = original("a.flac"), derived("a.wav", "a.flac"), derived("a.ogg", "a.wav")
    assert chosen(*chain) == ["a.ogg"]


def test_circles_and_missing_originals_do_not_hang() -> None:
    circle = derived("a.ogg", "b.ogg"), derived("b.ogg", "a.ogg")
    assert len(chosen(*circle)) == 2
    assert chosen(derived("c.ogg", "gone.flac"), derived("c.mp3", "gone.flac")) == ["c.ogg"]


def test_a_private_original_falls_back_to_its_public_derivative() -> None:
    files = original("a.ogg", private="true"), derived("a.mp3", "a.ogg")
    assert chosen(*files) == ["a.mp3"]
    assert chosen(original("a.ogg", private=True)) == []  # type: ignore[arg-type]


def test_the_archives_own_files_are_passed_over() -> None:
    files = [
        original("item_files.xml", format="Flac"),
        original("history/a.ogg"),
        {**original("m.ogg"), "source": "metadata"},
        original("readme.txt"),
        original("a.ogg"),
    ]
    assert chosen(*files) == ["a.ogg"]


def test_what_is_said_about_a_track_is_harmless_and_inherited() -> None:
    files = [
        original("a.flac", title="Tit\x1b[1mle\n" + "x" * 1000, artist="[red]A[/]"),
        derived("a.ogg", "a.flac", size="12", sha1="A" * 40, md5="no"),
    ]
    (track,) = choose("item", {"metadata": {"licenseurl": "javascript:x"}, "files": files})
    assert track.title.startswith("Tit [1mle x")
    assert len(track.title) == 300
    assert (track.creator, track.licence) == ("[red]A[/]", "")
    assert (track.size_bytes, track.sha1, track.md5) == (12, "a" * 40, None)


def test_creators_are_a_text_or_a_list() -> None:
    for creator, expected in (("Bach", "Bach"), (["Bach", "Vivaldi"], "Bach; Vivaldi"), (None, "")):
        about = {"creator": creator}
        (track,) = choose("item", {"metadata": about, "files": [original("a.ogg")]})
        assert track.creator == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
FILE = st.fixed_dictionaries(
    {"name": JSON},
    optional={
        "source": st.sampled_from(["original", "derivative"]),
        "original": JSON,
        "size": JSON,
        "format": st.sampled_from(["Ogg Vorbis", "Flac"]),
        "title": JSON,
        "sha1": JSON,
    },
)


@settings(deadline=None, max_examples=50)
@given(st.lists(FILE | JSON, max_size=6), JSON)
def test_any_answer_gives_sound_tracks(files: list[Any], about: Any) -> None:
    for track in choose("item", {"metadata": about, "files": files}):
        assert isinstance(track, Track)
        assert track.file.encode()
        for text in (track.title, track.creator):
            kinds = {unicodedata.category(letter) for letter in text} - {"Cn"}
            assert not kinds & {"Cc", "Cs", "Zl", "Zp"}, text
            assert not set(text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068"), text
