"""The pieces: well-formed scores, sound that is always the same, an item like a real one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fadae.archive.choice import choose
from fadae.embedded.bach import PIECES, bach_item
from fadae.embedded.music import (
    RATE_HZ,
    TIMBRES,
    Note,
    Piece,
    Voice,
    pitch_of,
    read_voice,
    render,
    transposed,
)

SHORT = Piece(
    "BWV 0", "Test: a/scale?", Fraction(1), 240, (Voice("/4 C4 D4 E4 F4 | /1 G4", "lute"),)
)


def seconds(piece: Piece) -> float:
    notes = [note for voice in piece.voices for note in read_voice(voice.text, piece.bar)]
    return float(max(note.onset + note.length for note in notes)) * 240 / piece.beats_per_minute


def test_there_is_enough_of_it() -> None:
    assert len(PIECES) >= 8
    assert sum(map(seconds, PIECES)) >= 6 * 60
    assert {voice.timbre for piece in PIECES for voice in piece.voices} == set(TIMBRES)


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.number)
def test_scores_are_well_formed(piece: Piece) -> None:
    ends = set()
    for voice in piece.voices:
        notes = read_voice(voice.text, piece.bar)  # full bars, or a ValueError
        assert all(20 < note.pitch < 90 for note in notes)
        assert all(note.length > 0 for note in notes)
        ends.add(max(note.onset + note.length for note in notes))
    if piece.number not in ("BWV 578", "BWV 565"):  # whose voices enter one after the other
        assert len(ends) == 1


def test_words_of_a_score() -> None:
    notes = read_voice("/4. C4 /8 - r C5+E5 /8t F#4 Bb3 C4", Fraction(1))
    eighth, triplet = Fraction(1, 8), Fraction(1, 12)
    assert notes == [
        Note(60, 0 * eighth, 4 * eighth),
        Note(72, 5 * eighth, eighth),
        Note(76, 5 * eighth, eighth),
        Note(66, 6 * eighth, triplet),
        Note(58, 6 * eighth + triplet, triplet),
        Note(60, 6 * eighth + 2 * triplet, triplet),
    ]


@pytest.mark.parametrize("text", ["/4 H4", "/x C4", "/4 C4 | D4 | E4 F4 G4 A4", "/4 C#"])
def test_typing_errors_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a|bar 2 lasts 1/4, not 1"):
        read_voice(text, Fraction(1))


def test_transposing_back_is_no_change() -> None:
    names = [f"{step}{octave}" for octave in range(2, 6) for step in ("C", "F#", "A")]
    there = transposed(" ".join(names), 7)
    assert [pitch_of(name) + 7 for name in names] == [pitch_of(name) for name in there.split()]


@pytest.mark.parametrize("timbre", TIMBRES)
def test_every_timbre_sounds_at_its_pitch(timbre: str) -> None:
    sound = render(Piece("", "", Fraction(1), 120, (Voice("/2 A4", timbre),)))
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == pytest.approx(0.8, abs=1e-6)
    spectrum = np.abs(np.fft.rfft(sound[: RATE_HZ // 2].mean(axis=1)))
    peaks = np.fft.rfftfreq(RATE_HZ // 2, 1 / RATE_HZ)[spectrum > 0.25 * spectrum.max()]
    assert np.all(np.abs(peaks / 440 - np.round(peaks / 440)) < 0.02)


def test_an_item_like_a_real_one_rendered_once(tmp_path: Path) -> None:
    piece = Piece("BWV 0", "Test", Fraction(1), 240, SHORT.voices)
    item = bach_item(tmp_path, (piece,))
    written = {file.path: file.path.stat().st_mtime_ns for file in item.files}
    assert bach_item(tmp_path, (piece,)) == item
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert [file.name for file in item.files] == [f"BWV 0 Test.{s}" for s in ("ogg", "flac", "mp3")]
    for file in item.files:
        assert soundfile.info(file.path).duration > 2
    (track,) = choose(item.identifier, item.answer())
    assert (track.id, track.title) == ("AOC11B/BWV 0 Test.ogg", "Test, BWV 0")
    assert track.creator == "Johann Sebastian Bach"
    assert track.licence.startswith("https://creativecommons.org/publicdomain/")


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    piece = Piece("BWV 0", "Test", Fraction(1), 240, SHORT.voices)
    first, second = (bach_item(tmp_path / name, (piece,)) for name in ("one", "two"))
    for one, two in zip(first.files, second.files, strict=True):
        assert one.path.read_bytes() == two.path.read_bytes()
