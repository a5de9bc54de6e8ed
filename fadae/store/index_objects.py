"""The objects of the index of recordings: what their bytes mean, each under checksums.

Packs hold the rows of 16384 recordings, and the text that a search looks through; tables hold
(digest, row) by rising digest. What reads them is `recording_index`, what writes them `indexing`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from fadae.records import canonical_json
from fadae.store.frames import DamagedError
from fadae.store.layout import RECORDINGS_PER_CHUNK

ROWS_PER_PACK = RECORDINGS_PER_CHUNK
ROWS_PER_BLOCK = 128  # compressed together: what reading one row costs
ENTRY = np.dtype([("digest", "<u8"), ("row", "<u4")])
ENTRIES_PER_BLOCK = 1024  # of a table, under one checksum
END = b"\xff"  # of a recording's text: no byte of UTF-8

_OFFSETS = ROWS_PER_PACK // ROWS_PER_BLOCK + 1
HEADER_BYTES = 4 * _OFFSETS + 4  # of a pack of rows
_CHECK_BYTES = 4
TABLE_BLOCK_BYTES = ENTRIES_PER_BLOCK * ENTRY.itemsize + _CHECK_BYTES
_zstd = Zstd(level=3)

Entries = NDArray[Any]  # of the type ENTRY


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One row of the recording table: its columns, see `RECORDING_COLUMNS`."""

    id: str
    item: str
    file: str
    title: str
    creator: str
    licence: str
    url: str
    key: str
    sha1: str
    pcm_sha256: str
    rate_hz: int
    source_rate_hz: int
    samples: int
    seconds: float
    frame_start: int
    frame_count: int
    same_as: int


COLUMNS = tuple(field.name for field in dataclasses.fields(RecordingRow))
ERASED_COLUMNS = ("title", "creator", "licence", "url", "sha1")  # empty of what is erased


def _checked(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(_CHECK_BYTES, "little")


def _sound(data: bytes, path: str) -> bytes:
    content, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if zlib.crc32(content).to_bytes(_CHECK_BYTES, "little") != check:
        raise DamagedError(f"{path} is damaged; run `fadae verify --repair`")
    return content


def encoded_rows(rows: Sequence[RecordingRow]) -> bytes:
    """Return a pack of rows as an object: offsets of its blocks, then the blocks."""
    blocks = []
    for low in range(0, len(rows), ROWS_PER_BLOCK):
        part = rows[low : low + ROWS_PER_BLOCK]
        lines = "\n".join(
            canonical_json({name: getattr(row, name) for name in COLUMNS}) for row in part
        )
        blocks.append(_checked(_zstd.encode(lines.encode())))
    offsets = np.full(_OFFSETS, HEADER_BYTES, "<u4")
    offsets[1 : len(blocks) + 1] += np.cumsum([len(block) for block in blocks]).astype("<u4")
    offsets[len(blocks) + 1 :] = offsets[len(blocks)]
    return b"".join([_checked(offsets.tobytes()), *blocks])


def decoded_rows(block: bytes, path: str) -> list[RecordingRow]:
    """Return the rows of one block of a pack; raises DamagedError."""
    lines = bytes(_zstd.decode(_sound(block, path))).split(b"\n")
    return [RecordingRow(**json.loads(line)) for line in lines]


def decoded_pack(data: bytes, path: str) -> list[RecordingRow]:
    """Return the rows of a whole pack; raises DamagedError."""
    offsets = offsets_in(data[:HEADER_BYTES], path)
    if len(data) != offsets[-1]:
        raise DamagedError(f"{path} is cut short; run `fadae verify --repair`")
    spans = itertools.pairwise(offsets)
    return [row for a, b in spans if a < b for row in decoded_rows(data[a:b], path)]


def offsets_in(header: bytes, path: str) -> list[int]:
    """Return where the blocks of a pack begin, and the last ends; raises DamagedError."""
    if len(header) != HEADER_BYTES:
        raise DamagedError(f"{path} is cut short; run `fadae verify --repair`")
    offsets: list[int] = np.frombuffer(_sound(header, path), "<u4").tolist()
    return offsets


def encoded_text(rows: Sequence[RecordingRow]) -> bytes:
    """Return what a search looks through of a pack, as an object."""
    return _checked(_zstd.encode(b"".join(searched(row) + END for row in rows)))


def decoded_text(data: bytes, path: str) -> bytes:
    """Return the text of a pack, each recording's ended by a byte that no text has."""
    return bytes(_zstd.decode(_sound(data, path)))


def searched(row: RecordingRow) -> bytes:
    """Return the text of a recording that a search looks through."""
    return f"{row.title}\n{row.creator}\n{row.id}".casefold().encode()


def encoded_table(entries: Entries) -> bytes:
    """Return entries by rising digest as an object: blocks of 1024, a checksum after each."""
    step = ENTRIES_PER_BLOCK
    parts = (entries[low : low + step].tobytes() for low in range(0, len(entries), step))
    return b"".join(map(_checked, parts))


def decoded_table(data: bytes, path: str) -> Entries:
    """Return the entries of whole blocks of a table; raises DamagedError."""
    step = TABLE_BLOCK_BYTES
    blocks = [_sound(data[low : low + step], path) for low in range(0, len(data), step)]
    return np.frombuffer(b"".join(blocks), ENTRY)
