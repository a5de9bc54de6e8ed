"""What the embedded archive holds: items of files, described as archive.org describes them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMATS = {
    ".ogg": "Ogg Vorbis", ".oga": "Ogg Vorbis", ".mp3": "VBR MP3", ".flac": "Flac",
    ".wav": "WAVE", ".aif": "AIFF", ".aiff": "AIFF", ".m4a": "MPEG-4 Audio", ".opus": "Opus",
    ".wma": "Windows Media Audio", ".au": "AU", ".aac": "AAC", ".shn": "Shorten",
    ".md": "Markdown", ".txt": "Text", ".png": "PNG", ".jpg": "JPEG", ".m3u8": "M3U",
}  # fmt: skip
"""The archive's name of a format, by suffix."""

Metadata = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file on disk and the archive's entry about it; all the entry's values are texts."""

    path: Path
    entry: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file's name within the item, "/" between folders."""
        return self.entry["name"]

    @property
    def is_private(self) -> bool:
        """Whether the archive answers 403 instead of the file."""
        return self.entry.get("private") == "true"


@dataclass(frozen=True, slots=True)
class HeldItem:
    """An item: its files and what is said about it."""

    identifier: str
    metadata: Metadata = field(default_factory=dict)
    files: tuple[HeldFile, ...] = ()
    is_dark: bool = False

    def file(self, name: str) -> HeldFile | None:
        """Return a file by its name."""
        return next((file for file in self.files if file.name == name), None)

    def answer(self) -> Metadata:
        """Return what /metadata/{id} answers, the archive's bookkeeping files included."""
        if self.is_dark:
            return {"is_dark": True, "metadata": {"identifier": self.identifier}}
        files = [dict(file.entry) for file in self.files]
        files += _bookkeeping(self.identifier)
        size = sum(int(file.get("size", 0)) for file in files)
        return {
            "created": 1_700_000_000, "d1": "ia800000.us.archive.org",
            "d2": "ia900000.us.archive.org", "dir": f"/1/items/{self.identifier}",
            "files": files, "files_count": len(files), "item_size": size,
            "metadata": {"identifier": self.identifier, "mediatype": "audio", **self.metadata},
            "server": "ia800000.us.archive.org", "uniq": 1, "workable_servers": [],
        }  # fmt: skip


def hold(path: Path, name: str, **about: str) -> HeldFile:
    """Return a file with its entry: size and checksums as they are, `about` on top.

    about: e.g. source="derivative", original="a.flac", title=..., private="true", sha1=...
    """
    data = path.read_bytes()
    entry = {
        "name": name, "source": "original",
        "format": FORMATS.get(Path(name).suffix.lower(), "Unknown"),
        "size": str(len(data)), "mtime": str(int(path.stat().st_mtime)),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "crc32": f"{zlib.crc32(data):08x}",
    }  # fmt: skip
    return HeldFile(path, {**entry, **about})


def folder_item(folder: Path, identifier: str = "", **metadata: Any) -> HeldItem:
    """Return an item of all files below a folder, each an original, named like the folder."""
    name = identifier or folder.resolve().name
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tuple(hold(path, path.relative_to(folder).as_posix()) for path in paths)
    return HeldItem(name, {"title": name, "collection": ["fadae"], **metadata}, files)


def _bookkeeping(identifier: str) -> Iterable[dict[str, str]]:
    """Yield the archive's own files: {id}_files.xml has no size and a checksum of nothing."""
    yield {
        "name": f"{identifier}_files.xml", "source": "original", "format": "Metadata",
        "md5": "0" * 32, "summation": "md5",
    }  # fmt: skip
    yield {
        "name": f"{identifier}_meta.xml", "source": "metadata", "format": "Metadata",
        "size": "100", "md5": "1" * 32, "sha1": "1" * 40, "crc32": "11111111",
    }  # fmt: skip
