"""Compact scores: how they are written and read, and a small synthesizer that plays them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fadae.arrays import Float32

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_PITCH = re.compile(r"([A-G])(#|b)?(\d)")
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_LENGTH = re.compile(r"/(\d+)(\.?)(t?)")


RATE_HZ = 44100
_PERIOD = 4096
_HIGHEST_HZ = 15000.0
_TAIL_SECONDS = 1.5
# A hint of a room: each channel hears the other a little later and softer.
_REFLECTIONS = ((0.0113, 0.18), (0.0237, 0.12), (0.0411, 0.08))
_LOUDEST = 0.8


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


@dataclass(frozen=True, slots=True)
class Timbre:
    """An instrument: the strengths of its partials at the attack and later, and its envelope."""

    bright: tuple[float, ...]
    dark: tuple[float, ...]
    attack_seconds: float
    release_seconds: float
    decay_seconds: float | None = None
    """Of a plucked string at A4, longer below; None for one that sustains."""
    vibrato_cents: float = 0.0


def _falling(count: int, power: float, odd: float = 1.0) -> tuple[float, ...]:
    """Return partials falling by a power of their number; the even ones times `odd`."""
    return tuple((1 if n % 2 else odd) / n**power for n in range(1, count + 1))


def render(piece: Piece) -> Float32:
    """Return a piece's sound, [n, 2] float32 at 44100 Hz, loudest sample 0.8; always the same."""
    seconds_a_whole = 240.0 / piece.beats_per_minute
    voices = [(voice, read_voice(voice.text, piece.bar)) for voice in piece.voices]
    length = max(note.onset + note.length for _, notes in voices for note in notes)
    size = round((float(length) * seconds_a_whole + _TAIL_SECONDS) * RATE_HZ)
    mix = np.zeros((2, size), np.float32)
    for voice, notes in voices:
        part = np.zeros(size, np.float32)
        for note in notes:
            start = round(float(note.onset) * seconds_a_whole * RATE_HZ)
            held = round(float(note.length) * seconds_a_whole * RATE_HZ)
            sound = _accent(note, piece.bar) * _sound(note.pitch, held, voice.timbre)
            part[start : start + len(sound)] += sound[: size - start]
        angle = (voice.pan + 1) * np.pi / 4
        mix[0] += np.float32(voice.gain * np.cos(angle)) * part
        mix[1] += np.float32(voice.gain * np.sin(angle)) * part
    return _finished(mix)


def _accent(note: Note, bar: Fraction) -> np.float32:
    """Return a note's loudness: a little more on the beats, most on the first of a bar."""
    if note.onset % bar == 0:
        return np.float32(1.0)
    return np.float32(0.9 if note.onset % Fraction(1, 4) == 0 else 0.82)


@functools.lru_cache(maxsize=2048)
def _sound(pitch: int, held: int, name: str) -> Float32:
    """Return one note held for so many samples, [n] float32, its release included."""
    timbre = TIMBRES[name]
    hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    time = np.arange(held + round(timbre.release_seconds * RATE_HZ), dtype=np.float32) / RATE_HZ
    phase = np.float32(hz) * time
    if timbre.vibrato_cents:
        swing = hz * timbre.vibrato_cents / 1200 * np.log(2) / (2 * np.pi * 5.2)
        phase += np.float32(swing) * np.sin(np.float32(2 * np.pi * 5.2) * time)
    place = (phase % 1 * _PERIOD).astype(np.int32) % _PERIOD
    # A low string rings longer, and every note is darker after its attack.
    lasting = (timbre.decay_seconds or 0.6) * (440.0 / hz) ** 0.5
    freshness = np.exp(time * np.float32(-3.0 / lasting))
    dark = np.take(_period(timbre.dark, hz), place)
    sound: Float32 = dark + freshness * (np.take(_period(timbre.bright, hz), place) - dark)
    if timbre.decay_seconds is not None:
        sound *= np.exp(time * np.float32(-1.0 / lasting))
    return sound * _edges(len(time), held, timbre)


def _edges(size: int, held: int, timbre: Timbre) -> Float32:
    """Return the attack's rise and the release's fall, [size]."""
    envelope = np.ones(size, np.float32)
    attack = min(held, round(timbre.attack_seconds * RATE_HZ))
    rise = np.linspace(0, np.pi / 2, attack, endpoint=False, dtype=np.float32)
    envelope[:attack] = np.sin(rise)
    fall = np.linspace(1, 0, size - held, dtype=np.float32)
    envelope[held:] = fall * fall
    return envelope


@functools.lru_cache(maxsize=512)
def _period(partials: tuple[float, ...], hz: float) -> Float32:
    """Return one period of a spectrum without what lies above hearing, [4096], of unit power."""
    strengths = np.asarray(partials) * (np.arange(1, len(partials) + 1) * hz < _HIGHEST_HZ)
    spectrum = np.zeros(_PERIOD // 2 + 1, np.complex128)
    # Phases spread out quadratically keep the peaks low.
    turns = np.arange(1, len(partials) + 1) ** 2 * (np.pi / len(partials))
    spectrum[1 : len(partials) + 1] = strengths * np.exp(1j * turns)
    period = np.fft.irfft(spectrum)
    unit: Float32 = (period / np.sqrt(np.mean(period**2))).astype(np.float32)
    return unit


def _finished(mix: Float32) -> Float32:
    """Return [n, 2] with a hint of a room, faded out and brought to its loudness."""
    room = mix.copy()
    for seconds, gain in _REFLECTIONS:
        late = round(seconds * RATE_HZ)
        room[:, late:] += np.float32(gain) * mix[::-1, :-late]
    fade = round(_TAIL_SECONDS / 2 * RATE_HZ)
    room[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.ascontiguousarray(room.T * np.float32(_LOUDEST / np.abs(room).max()))


TIMBRES = {
    "harpsichord": Timbre(_falling(28, 0.7), _falling(10, 1.5), 0.002, 0.08, 0.5),
    "lute": Timbre(_falling(14, 1.1), _falling(5, 1.8), 0.004, 0.25, 0.8),
    "bell": Timbre((1, 0.1, 0.5, 0.1, 0.35, 0.05, 0.2), (1, 0, 0.15), 0.002, 0.6, 1.4),
    "flute": Timbre((1, 0.35, 0.2, 0.06, 0.03), (1, 0.3, 0.12, 0.03), 0.05, 0.08, None, 9),
    "oboe": Timbre((0.5, 0.7, 1, 0.8, 0.5, 0.4, 0.25, 0.2, 0.1, 0.1),
                   (0.7, 0.8, 1, 0.6, 0.4, 0.25, 0.15, 0.1), 0.03, 0.06, None, 7),
    "cello": Timbre(_falling(20, 1.0), _falling(14, 1.3), 0.04, 0.12, None, 6),
    "strings": Timbre(_falling(16, 1.2), _falling(12, 1.5), 0.09, 0.2, None, 8),
    # Ranks at 8', 4', 2 2/3', 2' and 1': the principal chorus of a small organ.
    "organ": Timbre((1, 0.8, 0.35, 0.6, 0.1, 0.25, 0.05, 0.4, 0, 0.1, 0, 0.1, 0, 0, 0, 0.2),
                    (1, 0.7, 0.3, 0.5, 0.1, 0.2, 0.05, 0.3), 0.015, 0.1),
    "pedal": Timbre((1, 1, 0.4, 0.6, 0.2, 0.2, 0.1, 0.3), (1, 0.9, 0.3, 0.4, 0.1, 0.1),
                    0.03, 0.15),
    "stopped": Timbre(_falling(9, 1.4, odd=0.1), _falling(7, 1.7, odd=0.05), 0.02, 0.08),
}  # fmt: skip
