"""What of a file is decoded: its links one after another, without the pictures attached to it.

FFmpeg keeps the first link's rate and codec for all of a chained Ogg, takes a tag between two MP3s
for damage, and reads every attached picture into memory.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from fadae.audio import ogg

TAG_BYTES = 2**20
"""Longest tag that is read as it is; of longer ones, pictures most of them, the short texts."""
_TEXT_BYTES = 2**12
_PIECE_BYTES = 2**18
_MP4_WAYS = {  # to the covers: what lies in what
    b"": (b"moov",),
    b"moov": (b"trak", b"udta", b"meta"),
    b"trak": (b"udta", b"meta"),
    b"udta": (b"meta",),
    b"meta": (b"ilst",),
    b"ilst": (b"covr",),
}
_FLAC_KEPT = {0, 4}  # STREAMINFO and VORBIS_COMMENT; none of the others changes a sample

Part = bytes | tuple[int, int]
"""Bytes of ours, or [start, stop) of the file."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a file, each to be opened as a file of its own."""

    sections: tuple[tuple[Part, ...], ...]
    damaged_at: int | None = None
    """Where an Ogg file stops being whole pages; its sections end there."""

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """Return the sections of an open file of at least one byte."""
        data = _Bytes(descriptor)
        if data[:4] == b"OggS":
            with mmap.mmap(descriptor, data.size, access=mmap.ACCESS_READ) as pages:
                starts, damaged_at = ogg.links(pages)
            end = data.size if damaged_at is None else damaged_at
            return cls(tuple(((a, b),) for a, b in _spans(starts, end)), damaged_at)
        if data[4:8] == b"ftyp":
            return cls((tuple(_without_covers(data)),))
        spans = _spans(_joined(data), data.size)
        return cls(tuple(tuple(_without_pictures(data, a, b)) for a, b in spans))


class _Bytes:
    """A file's bytes, read where they are looked at: mapped ones would count as memory."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def __getitem__(self, span: slice) -> bytes:
        start = span.start or 0
        return os.pread(self._descriptor, span.stop - start, start)

    def find(self, wanted: bytes, start: int) -> int:
        """Return where some bytes are next, from a place on; -1 for nowhere."""
        while len(piece := self[start : start + _PIECE_BYTES]) >= len(wanted):
            found = piece.find(wanted)
            if found >= 0:
                return start + found
            start += len(piece) - len(wanted) + 1
        return -1


class View(io.RawIOBase):
    """A section as a file to read."""

    def __init__(self, descriptor: int, parts: tuple[Part, ...]) -> None:
        """Take an open file, which stays open; use as a context manager."""
        self._descriptor = descriptor
        self._parts = [(part, _length(part)) for part in parts]
        self._size = sum(length for _, length in self._parts)
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Return the place in the section."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the section."""
        self._at = max(0, offset + {io.SEEK_CUR: self._at, io.SEEK_END: self._size}.get(whence, 0))
        return self._at

    def read(self, count: int = -1, /) -> bytes:
        """Return at most `count` bytes; fewer at the end of a part."""
        begin = 0
        for part, length in self._parts:
            if begin <= self._at < begin + length:
                offset = self._at - begin
                count = length - offset if count < 0 else min(count, length - offset)
                data = self._read(part, offset, count)
                self._at += len(data)
                return data
            begin += length
        return b""

    def _read(self, part: Part, offset: int, count: int) -> bytes:
        if isinstance(part, bytes):
            return part[offset : offset + count]
        return os.pread(self._descriptor, count, part[0] + offset)


def _spans(starts: list[int], end: int) -> list[tuple[int, int]]:
    return list(zip(starts, [*starts[1:], end], strict=True))


def _length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]


def _joined(data: _Bytes) -> list[int]:
    """Return where the MP3s of a file start, each with its tag; [0] for any other file."""
    starts, at = [0], _after_tags(data, 0)
    if not _is_mpeg_frame(data[at : at + 4]):
        return starts
    while (found := data.find(b"ID3", at)) >= 0:
        at = _after_tags(data, found)
        if at > found and _is_mpeg_frame(data[at : at + 4]):
            starts.append(found)
        at = max(at, found + 3)
    return starts


def _tag_end(data: _Bytes, at: int) -> int:
    """Return the end of the ID3v2 tag at a place; the place itself where there is none."""
    head = data[at : at + 10]
    if len(head) < 10 or head[:3] != b"ID3" or head[3] not in (2, 3, 4) or max(head[6:]) > 127:
        return at
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return at + 10 + length + (10 if head[5] & 0x10 else 0)  # a footer


def _after_tags(data: _Bytes, at: int) -> int:
    while (end := _tag_end(data, at)) > at:
        at = end
    return at


def _is_mpeg_frame(head: bytes) -> bool:
    """Return whether 4 bytes are a header of MPEG audio, layers I to III."""
    return (
        len(head) == 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[1] & 0x06 != 0
        and head[2] >> 4 not in (0, 15)
        and head[2] & 0x0C != 0x0C
    )


def _without_pictures(data: _Bytes, start: int, stop: int) -> list[Part]:
    """Return the parts of a span without FLAC's extra blocks, and of long ID3v2 tags the texts."""
    parts: list[Part] = []
    while start < (end := _tag_end(data, start)) <= stop:
        parts.append((start, end) if end - start <= TAG_BYTES else _texts(data, start, end))
        start = end
    if data[start : start + 4] == b"fLaC":
        blocks, after = _flac_blocks(data, start + 4, stop)
        if blocks:
            return [*parts, b"fLaC", *blocks, (after, stop)]
    return [*parts, (start, stop)]


def _without_covers(data: _Bytes) -> list[Part]:
    """Return the parts of an MP4, its `covr` boxes named `free`: nothing moves, none is read."""
    parts: list[Part] = []
    at = 0
    for cover in _covers(data, 0, data.size):
        parts += [(at, cover + 4), b"free"]
        at = cover + 8
    return [*parts, (at, data.size)]


def _covers(data: _Bytes, at: int, stop: int, box: bytes = b"") -> Iterator[int]:
    """Yield where the `covr` boxes between two places start, which lie in a box of that kind."""
    while at + 8 <= stop:
        head = data[at : at + 16]
        length, kind, inside = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1:  # 64 bits of length follow
            length, inside = int.from_bytes(head[8:], "big"), at + 16
        end = at + length if length else stop  # 0: to the end
        if not inside <= end <= stop:
            return
        if kind == b"covr" and box == b"ilst":
            yield at
        elif kind in _MP4_WAYS[box]:
            # ISO's meta has 4 bytes of version before its boxes, QuickTime's has not.
            versioned = kind == b"meta" and data[inside + 4 : inside + 8] != b"hdlr"
            yield from _covers(data, inside + 4 * versioned, end, kind)
        at = end


def _flac_blocks(data: _Bytes, at: int, stop: int) -> tuple[list[Part], int]:
    """Return the kept metadata blocks and where the frames begin; no blocks where it is not so."""
    kept: list[tuple[int, int, int]] = []
    is_last = False
    while not is_last:
        head = data[at : at + 4]
        if len(head) < 4 or at >= stop:
            return [], at
        is_last, kind, length = (
            bool(head[0] & 0x80),
            head[0] & 0x7F,
            int.from_bytes(head[1:], "big"),
        )
        if kind in _FLAC_KEPT and length <= TAG_BYTES:
            kept.append((kind, at + 4, at + 4 + length))
        at += 4 + length
    blocks: list[Part] = []
    for kind, start, end in kept:
        flag = 0x80 if end == kept[-1][2] else 0
        blocks += [bytes([kind | flag]) + (end - start).to_bytes(3, "big"), (start, end)]
    return (blocks, at) if at <= stop else ([], at)


def _texts(data: _Bytes, start: int, end: int) -> bytes:
    """Return an ID3v2.3 or 2.4 tag with the short texts of a long one; of others, an empty tag."""
    _, _, _, version, _, flags = data[start : start + 6]
    kept, at = b"", start + 10
    bits = 7 if version == 4 else 8
    while version > 2 and not flags and at + 10 <= end and len(kept) < TAG_BYTES:
        head, length = data[at : at + 10], 0
        if not head.rstrip(b"\0"):  # padding
            break
        for byte in head[4:8]:
            length = length << bits | byte
        if head[:1] in (b"T", b"W") and length <= _TEXT_BYTES:
            kept += data[at : at + 10 + length]
        at += 10 + length
    sizes = bytes(len(kept) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([max(version, 3), 0, 0]) + sizes + kept
