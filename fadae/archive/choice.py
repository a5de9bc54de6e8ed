"""Which file of an item stands for each of its tracks: one encoding per track."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fadae.archive.text import clean_list, clean_text, clean_url, is_valid_name
from fadae.records import Track

DEFAULT_FORMATS = (
    "Ogg Vorbis",
    "VBR MP3",
    "Flac",
    "WAVE",
    "AIFF",
    "Apple Lossless Audio",
    "24bit Flac",
    "MP3",
    "320Kbps MP3",
    "256Kbps MP3",
    "192Kbps MP3",
    "160Kbps MP3",
    "128Kbps MP3",
    "64Kbps MP3",
    "96Kbps MP3",
    "56Kbps MP3",
    "48Kbps MP3",
    "32Kbps MP3",
    "Opus",
    "AAC",
    "M4A",
    "MPEG-4 Audio",
    "Shorten",
    "Monkey's Audio",
    "Windows Media Audio",
    "AU",
    "CAF",
)
"""The archive's names of its audio encodings: small and good, then lossless, then the rest."""

File = Mapping[str, Any]


def choose(item: str, metadata: Mapping[str, Any], formats: Sequence[str] = ()) -> list[Track]:
    """Return an item's tracks in the order of their names, one file for each.

    metadata: the archive's answer about the item. formats: the archive's format names in order of
    preference, case ignored; empty for DEFAULT_FORMATS. Files are grouped by the original they
    derive from, never by name or track number; private files are passed over, so that a private
    original falls back to its public derivative.

    >>> files = [
    ...     {"name": "a.flac", "format": "Flac", "source": "original", "private": "true"},
    ...     {"name": "a.mp3", "format": "VBR MP3", "source": "derivative", "original": "a.flac"}]
    >>> [track.id for track in choose("item", {"files": files})]
    ['item/a.mp3']
    """
    about = metadata.get("metadata")
    about = about if isinstance(about, dict) else {}
    files = {str(file["name"]): file for file in _files(metadata) if _is_content(item, file)}
    rank = {name.casefold(): place for place, name in enumerate(formats or DEFAULT_FORMATS)}
    groups: dict[str, list[File]] = defaultdict(list)
    for file in files.values():
        if _format(file) in rank and not _is_true(file.get("private")):
            groups[_original(file, files)].append(file)
    tracks = []
    for original, candidates in groups.items():
        best = min(candidates, key=lambda file: _preference(file, rank))
        tracks.append(_track(item, about, best, files.get(original, best)))
    return sorted(tracks, key=lambda track: track.file)


def formats_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of all formats an item holds, for a message."""
    return sorted({clean_text(file.get("format", ""), 60) for file in _files(metadata)} - {""})


def _files(metadata: Mapping[str, Any]) -> list[File]:
    files = metadata.get("files")
    return [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _is_content(item: str, file: File) -> bool:
    """Whether a file is the item's own, not the archive's bookkeeping about it.

    {id}_files.xml has no size and a checksum that can never match.
    """
    name = file.get("name")
    return (
        isinstance(name, str)
        and is_valid_name(name)
        and file.get("source") != "metadata"
        and name != f"{item}_files.xml"
        and not name.startswith("history/")
    )


def _original(file: File, files: Mapping[str, File]) -> str:
    """Return the name of the file that a file goes back to, derivatives of derivatives included."""
    seen: set[str] = set()
    while True:
        name, parent = str(file["name"]), file.get("original")
        seen.add(name)
        if file.get("source") != "derivative" or not isinstance(parent, str) or parent in seen:
            return name
        if parent not in files:
            return parent
        file = files[parent]


def _preference(file: File, rank: Mapping[str, int]) -> tuple[int, bool, str]:
    return rank[_format(file)], file.get("source") != "original", str(file["name"])


def _track(item: str, about: Mapping[str, Any], file: File, original: File) -> Track:
    name = str(file["name"])
    title = clean_text(file.get("title")) or clean_text(original.get("title"))
    creators = (
        file.get("creator"),
        file.get("artist"),
        original.get("creator"),
        original.get("artist"),
        about.get("creator"),
    )
    return Track(
        item=item,
        file=name,
        title=title or clean_text(PurePosixPath(name).stem),
        creator=next(filter(None, map(clean_list, creators)), ""),
        licence=clean_url(about.get("licenseurl")) or clean_text(about.get("rights")),
        size_bytes=_size(file.get("size")),
        sha1=_digest(file.get("sha1"), 40),
        md5=_digest(file.get("md5"), 32),
    )


def _format(file: File) -> str:
    return str(file.get("format", "")).casefold()


def _is_true(value: object) -> bool:
    return value is True or str(value).casefold() == "true"


def _size(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None


def _digest(value: object, digits: int) -> str | None:
    text = str(value).lower()
    return text if len(text) == digits and set(text) <= set("0123456789abcdef") else None
