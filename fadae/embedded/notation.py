"""Compact scores as text, read into notes: pitches, onsets and lengths in whole notes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_PITCH = re.compile(r"([A-G])(#|b)?(\d)")
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LENGTH = re.compile(r"/(\d+)(\.?)(t?)")


@dataclass(frozen=True, slots=True)
class Note:
    """One sounding note; onset and length in whole notes, pitch as a MIDI number (A4 = 69)."""

    pitch: int
    onset: Fraction
    length: Fraction


@dataclass(frozen=True, slots=True)
class Voice:
    """One part of a piece: what it plays, on which instrument, and where it stands."""

    text: str
    timbre: str
    pan: float = 0.0
    """From -1, left, to 1, right."""
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of music as it is written down."""

    number: str
    title: str
    bar: Fraction
    """Length of a bar in whole notes."""
    beats_per_minute: float
    """Quarter notes a minute."""
    voices: tuple[Voice, ...]
    creator: str = "Johann Sebastian Bach"


def pitch_of(name: str) -> int:
    """Return a note name's MIDI number.

    >>> pitch_of("A4"), pitch_of("Bb3"), pitch_of("F#2")
    (69, 58, 42)
    """
    found = _PITCH.fullmatch(name)
    if found is None:
        raise ValueError(f"not a note: {name!r}")
    sharp = {"#": 1, "b": -1, None: 0}[found[2]]
    return 12 * (int(found[3]) + 1) + _STEPS[found[1]] + sharp


def read_voice(text: str, bar: Fraction) -> list[Note]:
    """Return the notes of a voice.

    Words: `/8` sets the length (`/4.` dotted, `/8t` of a triplet), `C5` plays, `C4+E4+G4` plays
    together, `-` prolongs what sounds, `r` rests, `|` ends a bar. Every bar but the first (an
    upbeat) and the last must be full: a ValueError tells which is not.

    >>> [str(note.onset) for note in read_voice("/4 C4 D4 | /2 E4", Fraction(1, 2))]
    ['0', '1/4', '1/2']
    """
    notes: list[Note] = []
    sounding = 0  # how many of the last notes `-` prolongs
    now = length = Fraction(0)
    bars = text.split("|")
    for number, words in enumerate(bars, start=1):
        began = now
        for word in words.split():
            if word.startswith("/"):
                length = _length(word)
                continue
            if word == "-":
                notes[-sounding:] = [_prolonged(note, length) for note in notes[-sounding:]]
            elif word != "r":
                names = word.split("+")
                notes += [Note(pitch_of(name), now, length) for name in names]
                sounding = len(names)
            now += length
        if 1 < number < len(bars) and now - began != bar:
            raise ValueError(f"bar {number} lasts {now - began}, not {bar}: {words.strip()}")
    return notes


def transposed(text: str, semitones: int) -> str:
    """Return a voice's text so many semitones higher.

    >>> transposed("/4 A4 Bb4 r", -12)
    '/4 A3 A#3 r'
    """
    return _PITCH.sub(lambda found: _name(pitch_of(found[0]) + semitones), text)


def _name(pitch: int) -> str:
    octave, step = divmod(pitch, 12)
    return f"{_NAMES[step]}{octave - 1}"


def _length(word: str) -> Fraction:
    found = _LENGTH.fullmatch(word)
    if found is None:
        raise ValueError(f"not a length: {word!r}")
    length = Fraction(1, int(found[1]))
    return length * (Fraction(3, 2) if found[2] else 1) * (Fraction(2, 3) if found[3] else 1)


def _prolonged(note: Note, length: Fraction) -> Note:
    return Note(note.pitch, note.onset, note.length + length)
