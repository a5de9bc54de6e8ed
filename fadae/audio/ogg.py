"""Ogg pages: the container's own checksums, which FFmpeg follows by skipping what is damaged.

A page is 27 bytes of header, of which 14-17 are the stream's serial number, 22-25 the page's
checksum and 26 the count of lacing bytes that follow; the body is as long as their sum (RFC 3533).
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator

Buffer = bytes | bytearray | mmap.mmap

_MAGIC = b"OggS"
_HEADER_BYTES = 27
_BEGIN_OF_STREAM, _END_OF_STREAM = 2, 4  # in byte 5, the flags
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def links(data: Buffer) -> tuple[list[int], int | None]:
    """Return where an Ogg file's links start, and where its whole pages end; None if at its end.

    A link is a stream, or several at once, with headers of its own; files joined are such a chain.
    There is no damage in junk behind the last page's end-of-stream mark, such as tags. A decoder
    would skip damaged pages without a word.
    """
    starts, whole, ended, in_headers = [0], 0, False, True
    for start, end in pages(data):
        page = bytes(data[start:end])
        if len(page) < end - start or page_checksum(page) != page[22:26]:
            break
        begins = bool(page[5] & _BEGIN_OF_STREAM)
        if begins and not in_headers:
            starts.append(start)
        whole, ended, in_headers = end, bool(page[5] & _END_OF_STREAM), begins
    junk = ended and data[whole : whole + 4] != _MAGIC
    return starts, None if whole == len(data) or junk else whole


def pages(data: Buffer) -> Iterator[tuple[int, int]]:
    """Yield the pages' [start, end) from the start up to the first byte that begins none.

    The last end may lie behind the data's.
    """
    at = 0
    while data[at : at + 4] == _MAGIC and at + _HEADER_BYTES <= len(data):
        lacing_end = at + _HEADER_BYTES + data[at + 26]
        end = lacing_end + sum(data[at + _HEADER_BYTES : lacing_end])
        yield at, end
        at = end


def page_checksum(page: bytes) -> bytes:
    """Return a page's checksum as its bytes 22-25 should hold it.

    It is zlib's polynomial with the bits the other way round and without the inversions.
    """
    blank = page[:22] + b"\0\0\0\0" + page[26:]
    reflected = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2).to_bytes(4, "little")


def with_fixed_serial(file: bytes) -> bytes:
    """Return an Ogg file of one stream with serial number 1: encoders draw it from the clock."""
    out = bytearray(file)
    for start, end in pages(file):
        page = file[start : start + 14] + b"\1\0\0\0" + file[start + 18 : end]
        out[start:end] = page[:22] + page_checksum(page) + page[26:]
    return bytes(out)
