"""Ten pieces from Bach's desk, or openings of them, and the embedded archive's item of them."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

from fadae.audio.write import encode
from fadae.embedded import music
from fadae.embedded.items import HeldFile, HeldItem, hold
from fadae.embedded.music import RATE_HZ, Piece, Voice, render, transposed

_COMMON = Fraction(1)
_TRIPLE = Fraction(3, 4)

# The Well-Tempered Clavier I: each bar of the first prelude is five notes, sounded as
# bass, tenor, then the upper three twice; and all of that twice.
_PRELUDE_IN_C = """
C4 E4 G4 C5 E5, C4 D4 A4 D5 F5, B3 D4 G4 D5 F5, C4 E4 G4 C5 E5, C4 E4 A4 E5 A5, C4 D4 F#4 A4 D5,
B3 D4 G4 D5 G5, B3 C4 E4 G4 C5, A3 C4 E4 G4 C5, D3 A3 D4 F#4 C5, G3 B3 D4 G4 B4, G3 Bb3 E4 G4 C#5,
F3 A3 D4 A4 D5, F3 Ab3 D4 F4 B4, E3 G3 C4 G4 C5, E3 F3 A3 C4 F4, D3 F3 A3 C4 F4, G2 D3 G3 B3 F4,
C3 E3 G3 C4 E4, C3 G3 Bb3 C4 E4, F2 F3 A3 C4 E4, F#2 C3 A3 C4 Eb4, Ab2 F3 B3 C4 D4, G2 F3 G3 B3 D4,
G2 E3 G3 C4 E4, G2 D3 G3 C4 F4, G2 D3 G3 B3 F4, G2 Eb3 A3 C4 F#4, G2 E3 G3 C4 G4, G2 D3 G3 C4 F4,
G2 D3 G3 B3 F4, C2 C3 G3 Bb3 E4
"""
_PRELUDE_IN_C_END = """
/8 r /16 F3 A3 C4 F4 C4 A3 C4 A3 F3 A3 F3 D3 F3 D3 |
/8 r /16 G4 B4 D5 F5 D5 B4 D5 B4 G4 B4 D4 F4 E4 D4 | /1 E4+G4+C5
"""


def _prelude_in_c() -> tuple[Voice, ...]:
    bars = [bar.split() for bar in _PRELUDE_IN_C.split(",")]
    bass = [f"/2 {bar[0]} {bar[0]}" for bar in bars]
    tenor = [" ".join([f"/16 r {bar[1]} - - - - - -"] * 2) for bar in bars]
    upper = [" ".join([f"/8 r /16 {' '.join(bar[2:] * 2)}"] * 2) for bar in bars]
    tenor += ["/16 r C3 /8 - - - - - - -", "/16 r B2 /8 - - - - - - -", "/1 C3"]
    return (
        Voice(" | ".join([*bass, "/1 C2 | C2 | C2"]), "lute", -0.35, 1.0),
        Voice(" | ".join(tenor), "lute", -0.1, 0.8),
        Voice(" | ".join([*upper, _PRELUDE_IN_C_END]), "lute", 0.3, 0.7),
    )


_MINUET_RIGHT = """
/4 D5 /8 G4 A4 B4 C5 | /4 D5 G4 G4 | E5 /8 C5 D5 E5 F#5 | /4 G5 G4 G4 |
C5 /8 D5 C5 B4 A4 | /4 B4 /8 C5 B4 A4 G4 | /4 F#4 /8 G4 A4 B4 G4 | /2. A4 |
/4 D5 /8 G4 A4 B4 C5 | /4 D5 G4 G4 | E5 /8 C5 D5 E5 F#5 | /4 G5 G4 G4 |
C5 /8 D5 C5 B4 A4 | /4 B4 /8 C5 B4 A4 G4 | /4 A4 /8 B4 A4 G4 F#4 | /2. G4 |
/4 B5 /8 G5 A5 B5 G5 | /4 A5 /8 D5 E5 F#5 D5 | /4 G5 /8 E5 F#5 G5 D5 | /4 C#5 /8 B4 C#5 /4 A4 |
/8 A4 B4 C#5 D5 E5 F#5 | /4 G5 F#5 E5 | F#5 A4 C#5 | /2. D5 |
/4 D5 /8 G4 F#4 /4 G4 | E5 /8 G4 F#4 /4 G4 | D5 C5 B4 | /8 A4 G4 F#4 G4 /4 A4 |
/8 D4 E4 F#4 G4 A4 B4 | /4 C5 B4 A4 | /8 B4 D5 /4 G4 F#4 | /2. G4
"""
_MINUET_LEFT = """
/2 G3+B3+D4 /4 A3 | /2. B3 | C4 | B3 | A3 | G3 | /4 D4 B3 G3 | D4 /8 D3 C4 B3 A3 |
/2 B3 /4 A3 | G3 B3 G3 | /2. C4 | /4 B3 /8 C4 B3 A3 G3 | /2 A3 /4 F#3 | /2 G3 /4 B3 |
C4 D4 D3 | /2 G3 /4 G2 |
/2. G3 | F#3 | /4 E3 G3 E3 | /2 A3 /4 A2 | /2. A3 | /4 B3 D4 C#4 | D4 F#3 A3 | D4 D3 C4 |
B3 D4 B3 | C4 E4 C4 | B3 A3 G3 | /2 D4 /4 r | /2. D3 | /4 E3 G3 F#3 | G3 B2 D3 | G3 D3 G2
"""

_INVENTION_1_RIGHT = """
/16 r C4 D4 E4 F4 D4 E4 C4 /8 G4 C5 B4 C5 | /16 D5 G4 A4 B4 C5 A4 B4 G4 /8 D5 G5 F5 G5 |
/16 E5 A5 G5 F5 E5 G5 F5 A5 G5 F5 E5 D5 C5 E5 D5 F5 |
E5 D5 C5 B4 A4 C5 B4 D5 C5 B4 A4 G4 F#4 A4 G4 B4 |
/8 A4 D4 /8. C5 /16 D5 B4 A4 G4 F#4 E4 G4 F#4 A4 |
G4 B4 A4 C5 B4 D5 C5 E5 D5 /32 B4 C5 /16 D5 G5 /8 B4 /16 A4 G4 |
/8 G4 r /4 r /16 r G4 A4 B4 C5 A4 B4 G4 | /8 F#4 r /4 r /16 r A4 B4 C5 D5 B4 C5 A4 |
/8 B4 r /4 r /16 r D5 C5 B4 A4 C5 B4 D5 | /8 C5 r /4 r /16 r E5 D5 C5 B4 D5 C#5 E5 |
/8 D5 C#5 D5 E5 F5 A4 B4 C#5 | D5 F#4 G#4 A4 B4 C5 /4 D5 |
/16 - E4 F#4 G#4 A4 F#4 G#4 E4 E5 D5 C5 E5 D5 C5 B4 D5 |
C5 A5 G#5 B5 A5 E5 F5 D5 G#4 F5 E5 D5 /8 C5 /16 B4 A4 |
A4 A5 G5 F5 E5 G5 F5 A5 /2 G5 | /16 - E5 F5 G5 A5 F5 G5 E5 /2 F5 |
/16 - G5 F5 E5 D5 F5 E5 G5 /2 F5 | /16 - D5 E5 F5 G5 E5 F5 D5 /2 E5 |
/16 - C5 D5 E5 F5 D5 E5 C5 D5 E5 F5 G5 A5 F5 G5 E5 |
F5 G5 A5 B5 C6 A5 B5 G5 /8 C6 G5 E5 /16 D5 C5 |
C5 Bb4 A4 G4 F4 A4 G4 Bb4 A4 B4 C5 E4 D4 C5 F4 B4 | /1 E4+G4+C5
"""
_INVENTION_1_LEFT = """
/2 r /16 r C3 D3 E3 F3 D3 E3 C3 | /8 G3 G2 /4 r /16 r G3 A3 B3 C4 A3 B3 G3 |
/8 C4 B3 C4 D4 E4 G3 A3 B3 | C4 E3 F#3 G3 A3 B3 /4 C4 |
/16 - D3 E3 F#3 G3 E3 F#3 D3 /8 G3 B2 C3 D3 | E3 F#3 G3 E3 /8. B2 /16 C3 /8 D3 D2 |
/16 r G2 A2 B2 C3 A2 B2 G2 /8 D3 G3 F#3 G3 | /16 A3 D3 E3 F#3 G3 E3 F#3 D3 /8 A3 D4 C4 D4 |
/16 B3 G4 F4 E4 D4 F4 E4 G4 /8 F4 E4 F4 D4 | /16 E4 A4 G4 F4 E4 G4 F4 A4 /8 G4 F4 G4 E4 |
/16 F4 Bb4 A4 G4 F4 A4 G4 Bb4 A4 G4 F4 E4 D4 F4 E4 G4 |
F4 E4 D4 C4 B3 D4 C4 E4 D4 C4 B3 A3 G#3 B3 A3 C4 |
/8 B3 E3 /4 D4 /16 C4 B3 A3 G3 F#3 A3 G#3 B3 |
A3 C4 B3 D4 C4 E4 D4 F4 /8 E4 A3 E4 E3 | A3 A2 /4 r /16 r E4 D4 C4 B3 D4 C#4 E4 |
/2 D4 /16 - A3 B3 C4 D4 B3 C4 A3 | /2 B3 /16 - D4 C4 B3 A3 C4 B3 D4 |
/2 C4 /16 - G3 A3 Bb3 C4 A3 Bb3 G3 | /8 A3 Bb3 A3 G3 F3 D4 C4 Bb3 |
A3 F4 E4 D4 /16 E4 D3 E3 F3 G3 E3 F3 D3 | /8 E3 C3 D3 E3 /16 F3 D3 E3 F3 /8 G3 G2 | /1 C2+C3
"""

_CELLO_PRELUDE = " | ".join(
    [
        "/16 " + "G2 D3 B3 A3 B3 D3 B3 D3 " * 2, "G2 E3 C4 B3 C4 E3 C4 E3 " * 2,
        "G2 F#3 C4 B3 C4 F#3 C4 F#3 " * 2, "G2 G3 B3 A3 B3 G3 B3 G3 G2 G3 B3 A3 B3 G3 B3 F#3",
        "G2 E3 B3 A3 B3 G3 F#3 G3 E3 G3 F#3 G3 B2 D3 C#3 B2", "C#3 G3 A3 G3 A3 G3 A3 G3 " * 2,
        "F#3 A3 D4 C#4 D4 A3 G3 A3 F#3 A3 G3 A3 D3 F#3 E3 D3", "E2 B2 G3 F#3 G3 B2 G3 B2 " * 2,
        "E2 C#3 D3 E3 D3 C#3 B2 A2 G3 F#3 E3 D4 C#4 B3 A3 G3",
        "F#3 E3 D3 D4 A3 D4 F#3 A3 D3 E3 F#3 A3 G3 F#3 E3 D3",
        "G#3 D3 F3 E3 F3 D3 G#3 D3 B3 D3 F3 E3 F3 D3 G#3 D3",
        "C3 E3 A3 B3 C4 A3 E3 D3 C3 E3 A3 B3 C4 A3 F#3 E3",
        "D#3 F#3 D#3 F#3 A3 F#3 A3 F#3 D#3 F#3 D#3 F#3 A3 F#3 A3 F#3",
        "G3 F#3 E3 G3 F#3 G3 A3 F#3 G3 F#3 E3 D3 C3 B2 A2 G2", "F#2 C3 D3 C3 D3 C3 D3 C3 " * 2,
        "G2 B2 F3 E3 F3 B2 F3 B2 " * 2, "G2 C3 E3 D3 E3 C3 E3 C3 " * 2,
        "G2 F#3 C4 B3 C4 F#3 C4 F#3 " * 2, "/1 G2+D3+B3",
    ]
)  # fmt: skip

_TOCCATA = """
/32 A5 G5 /16 A5 /4 - - /8 r r /32 G5 F5 E5 D5 | /16 C#5 /2 D5 /16 r /8 r r r |
/32 A4 G4 /16 A4 /4 - - /8 r r r | E4 F4 C#4 /2 D4 /8 r |
/32 A3 G3 /16 A3 /4 - - /8 r r /32 G3 F3 E3 D3 | /16 C#3 /2 D3 /16 r /8 r r r
"""
# The diminished chord over the pedal, a note at a time, and where each of its voices resolves to.
_TOCCATA_CHORD = (
    ("C#3", "D3"),
    ("E3", "D3"),
    ("G3", "F#3"),
    ("Bb3", "A3"),
    ("C#4", "D4"),
    ("E4", "F#4"),
)


def _toccata() -> tuple[Voice, ...]:
    silence = " | ".join(["/1 r"] * 6)
    hands = [Voice(transposed(_TOCCATA, down), "organ", 0.0, 0.6) for down in (0, -12)]
    chord = [
        Voice(
            f"{silence} | /8 {'r ' * late}{name} {'- ' * (7 - late)} | /1 - | {resolved} | -",
            "organ",
            (late - 3) / 8,
            0.3,
        )
        for late, (name, resolved) in enumerate(_TOCCATA_CHORD, start=1)
    ]
    return (*hands, *chord, Voice(f"{silence} | /1 D2 | - | - | -", "pedal", 0.0, 0.7))


_JESU_MELODY = """
/8 r G4 A4 B4 D5 C5 C5 E5 D5 | D5 G5 F#5 G5 D5 B4 G4 A4 B4 | C5 D5 E5 D5 C5 B4 A4 B4 G4 |
F#4 G4 A4 D4 F#4 A4 C5 B4 A4 | B4 G4 A4 B4 D5 C5 C5 E5 D5 | D5 G5 F#5 G5 D5 B4 G4 A4 B4 |
E4 D5 C5 B4 A4 G4 D4 G4 F#4 |
"""
_JESU_BASS = """
/4. G2 G3 A3 | B3 E3 E3 | C3 G3 C#3 | D3 D3 F#3 | G3 G3 A3 | B3 E3 E3 | C3 D3 D3 |
"""

_PASSACAGLIA = """
/2 r /4 C3 | /2 G3 /4 Eb3 | /2 F3 /4 G3 | /2 Ab3 /4 F3 | /2 G3 /4 D3 | /2 Eb3 /4 B2 |
/2 C3 /4 F2 | /2. G2 | C2
"""

# The ground of the Goldberg Variations against itself backwards, then its mirror likewise.
_GROUND = "/4 G3 F#3 E3 D3 | B2 C3 D3 G2 | "
_GROUND_BACKWARDS = "/4 G2 D3 C3 B2 | D3 E3 F#3 G3 | "
_MIRROR = "/4 G3 A3 B3 C4 | E4 D4 C4 G4 | "
_MIRROR_BACKWARDS = "/4 G4 C4 D4 E4 | C4 B3 A3 G3 | "

_FUGUE_SUBJECT = """
/4 G4 D5 /4. Bb4 /8 A4 | G4 Bb4 A4 G4 F#4 A4 /4 D4 | /8 G4 D4 A4 D4 Bb4 /16 A4 G4 /8 A4 D4 |
G4 /16 D4 G4 /8 A4 /16 D4 A4 /8 Bb4 /16 A4 G4 A4 D4 D5 C5 | Bb4 A4 G4 Bb4 A4 G4 F#4 A4 /2 G4 |
"""


def _fugue_entries() -> tuple[Voice, ...]:
    entries = ((0, "stopped", 0.4), (-5, "organ", -0.4), (-12, "stopped", 0.1), (-17, "pedal", 0.0))
    wait = "/1 r | r | r | r | r | "
    return tuple(
        Voice(wait * number + transposed(_FUGUE_SUBJECT, down), timbre, pan)
        for number, (down, timbre, pan) in enumerate(entries)
    )


_PRELUDE_C_MINOR_RIGHT = " | ".join(
    "/16 " + f"{top} {low} {turn} {low} {base} {low} {turn} {low} " * 2
    for top, low, turn, base in map(str.split, (
        "C5 Eb4 D4 C4", "Ab4 F4 E4 C4", "B4 F4 Eb4 D4", "C5 G4 F4 Eb4", "Eb5 Ab4 G4 Eb4",
        "D5 F#4 E4 D4", "D5 G4 F#4 D4", "C5 E4 D4 C4", "C5 F4 E4 C4", "Bb4 D4 C4 Bb3",
        "Bb4 Eb4 D4 Bb3",
    ))
)  # fmt: skip
_PRELUDE_C_MINOR_LEFT = " | ".join(
    "/16 " + f"{base} {high} {turn} {high} {low} {high} {turn} {high} " * 2
    for base, high, turn, low in map(str.split, (
        "C3 G3 F3 Eb3", "C3 Ab3 G3 F3", "C3 Ab3 G3 F3", "C3 G3 F3 Eb3", "C3 Ab3 G3 Eb3",
        "C3 A3 G3 F#3", "Bb2 Bb3 A3 G3", "Bb2 G3 F3 E3", "Ab2 Ab3 G3 F3", "Ab2 F3 Eb3 D3",
        "G2 G3 F3 Eb3",
    ))
)  # fmt: skip

_PETZOLD = "Christian Petzold (in the Notebook for Anna Magdalena Bach)"

PIECES = (
    Piece("BWV 846", "Prelude in C major", _COMMON, 84, _prelude_in_c()),
    Piece("BWV Anh. 114", "Minuet in G major", _TRIPLE, 126, (
        Voice(_MINUET_RIGHT, "flute", 0.3, 0.8), Voice(_MINUET_LEFT, "lute", -0.3, 1.2),
    ), _PETZOLD),
    Piece("BWV 772", "Invention 1 in C major", _COMMON, 88, (
        Voice(_INVENTION_1_RIGHT, "harpsichord", 0.3),
        Voice(_INVENTION_1_LEFT, "harpsichord", -0.3),
    )),
    Piece("BWV 1007", "Suite 1 for violoncello, opening of the prelude", _COMMON, 72, (
        Voice(_CELLO_PRELUDE, "cello"),
    )),
    Piece("BWV 565", "Toccata in D minor, opening", _COMMON, 66, _toccata()),
    Piece("BWV 147", "Jesus bleibet meine Freude, ritornello", Fraction(9, 8), 108, (
        Voice(_JESU_MELODY + "/8 G4 B4 D5 G5 D5 B4 /4. G4 |" + _JESU_MELODY + "/1 G4",
              "oboe", 0.25),
        Voice(_JESU_BASS + "/4. G2 B2 D3 |" + _JESU_BASS + "/1 G2", "strings", -0.25),
    )),
    Piece("BWV 582", "Passacaglia in C minor, the ground", _TRIPLE, 66, (
        Voice(_PASSACAGLIA, "pedal", -0.1), Voice(transposed(_PASSACAGLIA, -12), "pedal", 0.1, 0.5),
    )),
    Piece("BWV 1087", "Canons on the Goldberg ground, 1 and 2", _COMMON, 76, (
        Voice((_GROUND + _MIRROR) * 2 + "/1 G3", "strings", -0.4),
        Voice((_GROUND_BACKWARDS + _MIRROR_BACKWARDS) * 2 + "/1 G3", "bell", 0.4, 1.2),
    )),
    Piece("BWV 578", "Fugue in G minor, the subject's four entries", _COMMON, 88, _fugue_entries()),
    Piece("BWV 847", "Prelude in C minor, opening", _COMMON, 108, (
        Voice(_PRELUDE_C_MINOR_RIGHT + "| /1 Eb4+G4+Bb4", "harpsichord", 0.3),
        Voice(_PRELUDE_C_MINOR_LEFT + "| /1 Eb2+Eb3", "harpsichord", -0.3),
    )),
)  # fmt: skip

IDENTIFIER = "AOC11B"
LICENCE = "https://creativecommons.org/publicdomain/zero/1.0/"
DERIVATIVES = {"flac": "Flac", "mp3": "VBR MP3"}
"""Suffix and the archive's name of each encoding besides the OGG original."""
METADATA = {
    "title": "Bach, rendered by fadae",
    "creator": ["Johann Sebastian Bach", "Christian Petzold"],
    "licenseurl": LICENCE,
    "collection": ["fadae", "opensource_audio"],
    "description": "Public-domain scores, played by a small synthesizer.",
    "date": "1750",
}


def bach_item(cache: Path, pieces: tuple[Piece, ...] = PIECES) -> HeldItem:
    """Return the item AOC11B, each piece as OGG original with FLAC and MP3 derivatives.

    cache: a folder that keeps the files, rendered on first use and again when scores or
    synthesizer have changed; several processes may fill it at the same time.
    """
    folder = cache / f"bach-{_version()}"
    folder.mkdir(parents=True, exist_ok=True)
    tracks = [f"{number}/{len(pieces)}" for number in range(1, len(pieces) + 1)]
    # Encoders are C code that leaves Python's lock alone.
    with ThreadPoolExecutor(max_workers=2) as pool:
        files = pool.map(_files, [folder] * len(pieces), pieces, tracks)
        return HeldItem(IDENTIFIER, METADATA, tuple(file for three in files for file in three))


def _files(folder: Path, piece: Piece, track: str) -> list[HeldFile]:
    """Return a piece's three files, rendered unless they are there."""
    stem = f"{piece.number} {piece.title}"
    names = {suffix: f"{stem}.{suffix}" for suffix in ("ogg", *DERIVATIVES)}
    if not all((folder / name).exists() for name in names.values()):
        sound = render(piece)
        for suffix, name in names.items():
            # MP3 costs as much as all else together: it is mono.
            channels = sound.mean(axis=1) if suffix == "mp3" else sound
            _keep(folder / name, encode(channels, RATE_HZ, suffix))
    about = {"title": f"{piece.title}, {piece.number}", "creator": piece.creator, "track": track}
    files = [hold(folder / names["ogg"], names["ogg"], **about)]
    for suffix, format_name in DERIVATIVES.items():
        entry = {"source": "derivative", "original": names["ogg"], "format": format_name}
        files.append(hold(folder / names[suffix], names[suffix], **about, **entry))
    return files


def _keep(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{hashlib.sha256(data).hexdigest()[:8]}")
    partial.write_bytes(data)
    partial.replace(path)


def _version() -> str:
    """Return what changes with the scores or the sound."""
    sources = [Path(str(file)).read_bytes() for file in (__file__, music.__file__)]
    return hashlib.sha256(b"".join(sources) + json.dumps(METADATA).encode()).hexdigest()[:12]
