"""The embedded archive's items, described as archive.org describes them, and their search."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
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


FEWEST, MOST = 100, 10_000


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
            "created": 1_700_000_000,
            "d1": "ia800000.us.archive.org",
            "d2": "ia900000.us.archive.org",
            "dir": f"/1/items/{self.identifier}",
            "files": files,
            "files_count": len(files),
            "item_size": size,
            "metadata": {"identifier": self.identifier, "mediatype": "audio", **self.metadata},
            "server": "ia800000.us.archive.org",
            "uniq": 1,
            "workable_servers": [],
        }


def hold(path: Path, name: str, **about: str) -> HeldFile:
    """Return a file with its entry: size and checksums as they are, `about` on top.

    about: e.g. source="derivative", original="a.flac", title=..., private="true", sha1=...
    """
    data = path.read_bytes()
    entry = {
        "name": name,
        "source": "original",
        "format": FORMATS.get(Path(name).suffix.lower(), "Unknown"),
        "size": str(len(data)),
        "mtime": str(int(path.stat().st_mtime)),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha1": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "crc32": f"{zlib.crc32(data):08x}",
    }
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
        "name": f"{identifier}_files.xml",
        "source": "original",
        "format": "Metadata",
        "md5": "0" * 32,
        "summation": "md5",
    }
    yield {
        "name": f"{identifier}_meta.xml",
        "source": "metadata",
        "format": "Metadata",
        "size": "100",
        "md5": "1" * 32,
        "sha1": "1" * 40,
        "crc32": "11111111",
    }


class QueryError(ValueError):
    """A search that the archive answers with {"error": ...}."""


def scrape(items: Sequence[HeldItem], asked: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the items that a query finds, as /services/search/v1/scrape answers.

    asked: q, and optionally count, cursor, fields, sorts, total_only. Raises QueryError.
    """
    if not asked.get("q", "").strip():
        raise QueryError("[EMPTY_QUERY] a query is required")
    count = _count(asked.get("count", str(FEWEST)))
    if asked.get("sorts") and asked["sorts"].split(",")[-1].split()[0] != "identifier":
        raise QueryError("[SORT] identifier must be the last sort field")
    found = sorted(item.identifier for item in items if _matches(item, asked["q"]))
    if asked.get("total_only") == "true":
        return {"items": [], "count": 0, "total": len(found)}
    rest = [name for name in found if name > _after(asked.get("cursor", ""))]
    page = rest[:count]
    answer: dict[str, Any] = {
        "items": [{"identifier": name} for name in page],
        "count": len(page),
        "total": len(found),
    }
    if len(rest) > count:
        answer["cursor"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return answer


def _count(text: str) -> int:
    if not text.isdecimal() or not FEWEST <= int(text) <= MOST:
        raise QueryError(f"[RANGE_OUT_OF_BOUNDS] count must be within {FEWEST}-{MOST}")
    return int(text)


def _after(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise QueryError("[CURSOR] not a cursor of this search") from error


def _matches(item: HeldItem, query: str) -> bool:
    """Return whether an item meets all clauses of a query: field:value, or words of any field."""
    if query.count('"') % 2 or query.count("(") != query.count(")"):
        raise QueryError("[PARSE] unbalanced quotes or parentheses")
    about = {"identifier": item.identifier, "mediatype": "audio", **item.metadata}
    return all(_meets(about, clause.strip()) for clause in query.split(" AND "))


def _meets(about: Mapping[str, Any], clause: str) -> bool:
    field, colon, value = clause.partition(":")
    if colon and value == "*":
        return field == "*" or field in about
    if colon:
        values = about.get(field, [])
        return value.strip('"()') in (values if isinstance(values, list) else [values])
    return clause.strip('"()').casefold() in str(list(about.values())).casefold()
