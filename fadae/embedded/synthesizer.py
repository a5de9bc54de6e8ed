"""A small synthesizer: notes to stereo sound, by periods of a bright and a dark spectrum."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fadae.embedded.notation import Note, Piece, read_voice

RATE_HZ = 44100
_PERIOD = 4096
_HIGHEST_HZ = 15000.0
_TAIL_SECONDS = 1.5
# A hint of a room: each channel hears the other a little later and softer.
_REFLECTIONS = ((0.0113, 0.18), (0.0237, 0.12), (0.0411, 0.08))
_LOUDEST = 0.8

Samples = NDArray[np.float32]


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


def render(piece: Piece) -> Samples:
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
def _sound(pitch: int, held: int, name: str) -> Samples:
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
    sound: Samples = dark + freshness * (np.take(_period(timbre.bright, hz), place) - dark)
    if timbre.decay_seconds is not None:
        sound *= np.exp(time * np.float32(-1.0 / lasting))
    return sound * _edges(len(time), held, timbre)


def _edges(size: int, held: int, timbre: Timbre) -> Samples:
    """Return the attack's rise and the release's fall, [size]."""
    envelope = np.ones(size, np.float32)
    attack = min(held, round(timbre.attack_seconds * RATE_HZ))
    rise = np.linspace(0, np.pi / 2, attack, endpoint=False, dtype=np.float32)
    envelope[:attack] = np.sin(rise)
    fall = np.linspace(1, 0, size - held, dtype=np.float32)
    envelope[held:] = fall * fall
    return envelope


@functools.lru_cache(maxsize=512)
def _period(partials: tuple[float, ...], hz: float) -> Samples:
    """Return one period of a spectrum without what lies above hearing, [4096], of unit power."""
    strengths = np.asarray(partials) * (np.arange(1, len(partials) + 1) * hz < _HIGHEST_HZ)
    spectrum = np.zeros(_PERIOD // 2 + 1, np.complex128)
    # Phases spread out quadratically keep the peaks low.
    turns = np.arange(1, len(partials) + 1) ** 2 * (np.pi / len(partials))
    spectrum[1 : len(partials) + 1] = strengths * np.exp(1j * turns)
    period = np.fft.irfft(spectrum)
    unit: Samples = (period / np.sqrt(np.mean(period**2))).astype(np.float32)
    return unit


def _finished(mix: Samples) -> Samples:
    """Return [n, 2] with a hint of a room, faded out and brought to its loudness."""
    room = mix.copy()
    for seconds, gain in _REFLECTIONS:
        late = round(seconds * RATE_HZ)
        room[:, late:] += np.float32(gain) * mix[::-1, :-late]
    fade = round(_TAIL_SECONDS / 2 * RATE_HZ)
    room[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.ascontiguousarray(room.T * np.float32(_LOUDEST / np.abs(room).max()))
