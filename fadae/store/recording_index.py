"""The index of the recordings: one found by id, row, samples or words, in few and small requests.

It lies in features.zarr/recording_id/index/, inside an array's folder, where Zarr looks for no
members. The recording_* arrays say the same; reading one recording from them costs whole columns.

- `rows-<pack>-<token>`: the rows of 16384 recordings as JSON lines, in compressed blocks of 128.
- `text-<pack>-<token>`: what a search looks through, casefolded.
- `ids-<token>`, `samples-<token>`: (digest, row) by rising digest, of ids and of decoded samples.

A publication writes objects of its own token and then names, in the root's attributes, those that
count: what is named never changes. Digests are of SHA-256, hence spread evenly, so that where one
lies in a table is told by its value: a range of some ten thousand bytes holds it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, NotRequired, Self, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from fadae.arrays import Int64
from fadae.errors import FadaeError
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.index_objects import (
    END,
    ENTRIES_PER_BLOCK,
    ENTRY,
    HEADER_BYTES,
    ROWS_PER_BLOCK,
    ROWS_PER_PACK,
    TABLE_BLOCK_BYTES,
    Entries,
    RecordingRow,
    decoded_rows,
    decoded_table,
    decoded_text,
    offsets_in,
)
from fadae.store.location import Location
from fadae.store.paths import FEATURES, recording_key

INDEX = f"{FEATURES}/recording_id/index"
IDS, SAMPLES, ROWS, TEXT = "ids", "samples", "rows", "text"

_TOGETHER = 8192  # entries between which digests are looked for in one request
_KEPT_BLOCKS = 64

_HALF = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")  # of a surrogate pair, as `backslashreplace` tells

Digests = NDArray[np.uint64]


class SupersededError(FadaeError):
    """Objects of the index are gone: of a publication before the last two, or lost."""


class TableAttrs(TypedDict):
    """A table of digests as the root names it: of the recordings [first, stop)."""

    token: str
    first: int
    stop: int
    canonical: int  # of them, how many have rows of their own: the length of its samples


class IndexAttrs(TypedDict):
    """The index as the root's attributes name it, and the totals of the whole publication."""

    version: int
    frames: int  # of music, repeated PCM counted once
    samples: int  # likewise
    packs: list[str]  # the token of every pack
    tables: list[TableAttrs]  # in the order of their rows


class _Indexed(TypedDict):
    index: NotRequired[IndexAttrs]


def index_attrs(attrs: Mapping[str, Any], recordings: int) -> IndexAttrs | None:
    """Return the index that a group's attributes name; None where it is none of so many rows."""
    index = cast(_Indexed, attrs).get("index")
    if index is None or index["version"] != 1:
        return None
    borders = [0, *(table["stop"] for table in index["tables"])]
    sound = borders[-1] == recordings and len(index["packs"]) == packs_of(recordings)
    return index if sound and borders[:-1] == [t["first"] for t in index["tables"]] else None


def token_of(token: str) -> str:
    """Return the token that a pack had before rows of it were erased, if any were.

    >>> token_of("00003-0a1bx77"), token_of("00003-0a1b")
    ('00003-0a1b', '00003-0a1b')
    """
    return token.partition("x")[0]


def packs_of(recordings: int) -> int:
    """Return how many packs hold so many recordings."""
    return -(-recordings // ROWS_PER_PACK)


def pack_path(kind: str, pack: int, token: str) -> str:
    """Return where a pack of rows or of text lies."""
    return f"{INDEX}/{kind}-{pack:05d}-{token}"


def table_path(kind: str, token: str) -> str:
    """Return where a table of digests lies."""
    return f"{INDEX}/{kind}-{token}"


def digest_of(hexadecimal: str) -> int:
    """Return the number that stands for a SHA-256 in a table: its first 64 bits."""
    return int(hexadecimal[:16], 16)


def key_digest(key: str) -> int:
    """Return the digest of a recording's key, which ends with those of its id's SHA-256."""
    return digest_of(key[-32:])


@dataclass(frozen=True, slots=True)
class _Table:
    """One table: blocks of it are read by range."""

    location: Location
    path: str
    entries: int

    @property
    def blocks(self) -> int:
        return -(-self.entries // ENTRIES_PER_BLOCK)

    @property
    def size_bytes(self) -> int:
        spent = TABLE_BLOCK_BYTES - ENTRIES_PER_BLOCK * ENTRY.itemsize  # on a checksum
        return self.entries * ENTRY.itemsize + self.blocks * spent

    def read(self, first: int, stop: int) -> Entries:
        """Return the entries of blocks [first, stop)."""
        start = first * TABLE_BLOCK_BYTES
        end = min(stop * TABLE_BLOCK_BYTES, self.size_bytes)
        data = read_object(self.location, self.path, start, end)
        if len(data) != end - start:
            raise DamagedError(f"{self.path} is cut short; run `fadae verify --repair`")
        return decoded_table(data, self.path)

    def find(self, digests: Digests) -> Iterator[Entries]:
        """Yield the entries of some digests, which rise; mostly a request of 50 to 150 kB each.

        Of n digests spread evenly those below a share p of all are n p, give or take sqrt(n) / 2.
        """
        if not self.entries:
            return
        places = ((digests >> np.uint64(32)) * np.uint64(self.entries)) >> np.uint64(32)
        cuts = np.flatnonzero(np.diff(places // np.uint64(_TOGETHER))) + 1
        yield from self.location.concurrently(self._among, np.split(digests, cuts))

    def _among(self, digests: Digests) -> Entries:
        """Return the entries of neighbouring digests."""
        low, high = int(digests[0]), int(digests[-1])
        slack = 2 * isqrt(self.entries) + 1
        first = max(0, (low * self.entries >> 64) - slack) // ENTRIES_PER_BLOCK
        last = min(self.entries - 1, (high * self.entries >> 64) + slack)
        stop = last // ENTRIES_PER_BLOCK + 1
        while True:
            found = self.read(first, stop)
            early = first > 0 and int(found["digest"][0]) >= low
            late = stop < self.blocks and int(found["digest"][-1]) <= high
            if not (early or late):
                return np.asarray(found[np.isin(found["digest"], digests)])
            width = stop - first
            first, stop = max(0, first - early * width), min(self.blocks, stop + late * width)


def read_object(
    location: Location, path: str, start: int | None = None, stop: int | None = None
) -> bytes:
    """Return an object of the index, or a range of it; raises SupersededError."""
    try:
        return location.read_bytes(path, start, stop)
    except FileNotFoundError:
        raise SupersededError(f"{path} is missing; run `fadae verify --repair`") from None


class RecordingIndex:
    """The recordings of one publication. Every method may raise SupersededError or DamagedError."""

    def __init__(self, location: Location, attrs: IndexAttrs) -> None:
        """Take what the root names; nothing is read."""
        self._location, self.attrs = location, attrs
        self._blocks: OrderedDict[tuple[int, int], list[RecordingRow]] = OrderedDict()
        self._headers: dict[int, list[int]] = {}

    @classmethod
    def of(cls, store: FrameStore) -> Self | None:
        """Return the index of features.zarr as published, None where it has none."""
        attrs = index_attrs(store.attrs, store.recording_rows)
        return None if attrs is None else cls(store.location, attrs)

    def __len__(self) -> int:
        tables = self.attrs["tables"]
        return tables[-1]["stop"] if tables else 0

    def row(self, row: int) -> RecordingRow:
        """Return one row: two requests, one where its pack was looked into before."""
        return self._block(row // ROWS_PER_BLOCK)[row % ROWS_PER_BLOCK]

    def rows(self, start: int, stop: int) -> list[RecordingRow]:
        """Return rows [start, stop), as far as there are any."""
        first, stop = start // ROWS_PER_BLOCK, min(stop, len(self))
        blocks = range(first, -(-stop // ROWS_PER_BLOCK))
        found = [row for block in blocks for row in self._block(block)]
        return found[start - first * ROWS_PER_BLOCK : stop - first * ROWS_PER_BLOCK]

    def find(self, recording_id: str) -> int | None:
        """Return the row of a recording's id, None where there is none."""
        for raw in dict.fromkeys((recording_id, _as_listed(recording_id))):
            digest = np.array([key_digest(recording_key(raw))], np.uint64)
            # The greatest table first: there it mostly is.
            for table in sorted(self._tables(IDS), key=lambda t: -t.entries):
                for entries in table.find(digest):
                    for row in entries["row"].tolist():
                        if self.row(row).id == recording_id:
                            return int(row)
        return None

    def published_keys(self, keys: Iterable[str]) -> set[str]:
        """Return those of some recordings' keys that are published.

        Told by their digests alone: that one in 10^7 workspaces of a million passes a recording
        over spares the reading of rows from all over the table.
        """
        digests = {key: key_digest(key) for key in keys}
        wanted = np.unique(np.array([*digests.values()], np.uint64))
        found = {
            digest for part in self._entries(IDS, wanted) for digest in part["digest"].tolist()
        }
        return {key for key, digest in digests.items() if digest in found}

    def by_key(self, keys: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return (row, recording) of those of some recordings' keys that are published."""
        wanted = set(keys)
        digests = np.unique(np.array([*map(key_digest, wanted)], np.uint64))
        found = ((at, self.row(at)) for at in self._rows_of(IDS, digests))
        return {row.key: (at, row) for at, row in found if row.key in wanted}

    def canonical(self, pcm_sha256s: Iterable[str]) -> dict[str, tuple[int, RecordingRow]]:
        """Return the recordings with rows of their own, by those of some PCM's SHA-256."""
        wanted = set(pcm_sha256s)
        digests = np.unique(np.array([*map(digest_of, wanted)], np.uint64))
        found = ((at, self.row(at)) for at in self._rows_of(SAMPLES, digests))
        return {row.pcm_sha256: (at, row) for at, row in found if row.pcm_sha256 in wanted}

    def _rows_of(self, kind: str, digests: Digests) -> list[int]:
        """Return the rows of some digests, which rise, in their order in the table."""
        parts = [part["row"] for part in self._entries(kind, digests)]
        rows: list[int] = np.sort(np.concatenate([np.empty(0, np.uint32), *parts])).tolist()
        return rows

    def matching(self, words: Sequence[str]) -> Iterator[Int64]:
        """Yield the rows whose text holds every word, casefolded and without blanks, by packs."""
        for pack, token in enumerate(self.attrs["packs"]):
            path = pack_path(TEXT, pack, token)
            text = decoded_text(read_object(self._location, path), path)
            yield rows_with(text, words) + pack * ROWS_PER_PACK

    def _tables(self, kind: str) -> list[_Table]:
        return [
            _Table(
                self._location,
                table_path(kind, table["token"]),
                table["canonical"] if kind == SAMPLES else table["stop"] - table["first"],
            )
            for table in self.attrs["tables"]
        ]

    def _entries(self, kind: str, digests: Digests) -> Iterator[Entries]:
        """Yield the entries of some digests, which rise, in all tables."""
        if len(digests):
            for table in self._tables(kind):
                yield from table.find(digests)

    def _block(self, block: int) -> list[RecordingRow]:
        pack, within = divmod(block, ROWS_PER_PACK // ROWS_PER_BLOCK)
        kept = self._blocks.get((pack, within))
        if kept is None:
            path = pack_path(ROWS, pack, self.attrs["packs"][pack])
            if pack not in self._headers:
                header = read_object(self._location, path, 0, HEADER_BYTES)
                self._headers[pack] = offsets_in(header, path)
            start, stop = self._headers[pack][within : within + 2]
            kept = decoded_rows(read_object(self._location, path, start, stop), path)
            self._blocks[pack, within] = kept
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return kept


def _as_listed(recording_id: str) -> str:
    r"""Return an id with the halves of surrogate pairs that it is stored without.

    >>> _as_listed(r"a/caf\udce9.ogg")
    'a/caf\udce9.ogg'
    """
    return _HALF.sub(lambda found: chr(int(found[1], 16)), recording_id)


def rows_with(text: bytes, words: Sequence[str]) -> Int64:
    """Return the recordings of a pack's text that hold every word, rising."""
    # The longest is the rarest, mostly; the others are looked for where it is.
    longest, *others = sorted((w.encode("utf-8", "surrogatepass") for w in words), key=len)[::-1]
    places = []
    at = text.find(longest)
    while at >= 0:
        places.append(at)
        at = text.find(longest, text.find(END, at))
    if not places:
        return np.empty(0, np.int64)
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == END[0])
    rows = np.searchsorted(ends, np.array(places)).astype(np.int64)
    if not others:
        return rows
    stops = ends[rows].tolist()
    starts = np.where(rows > 0, ends[rows - 1], 0).tolist()
    held = [
        all(text.find(word, start, stop) >= 0 for word in others)
        for start, stop in zip(starts, stops, strict=True)
    ]
    return np.asarray(rows[np.array(held)])
