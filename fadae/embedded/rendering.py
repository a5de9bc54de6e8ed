"""The embedded archive's own item: the pieces rendered, encoded and kept in a folder."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fadae.audio.write import encode
from fadae.embedded import bach, notation, synthesizer
from fadae.embedded.bach import PIECES
from fadae.embedded.holdings import HeldFile, HeldItem, hold
from fadae.embedded.notation import Piece
from fadae.embedded.synthesizer import RATE_HZ, render

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
    sources = [Path(str(module.__file__)).read_bytes() for module in (bach, notation, synthesizer)]
    return hashlib.sha256(b"".join(sources) + json.dumps(METADATA).encode()).hexdigest()[:12]
