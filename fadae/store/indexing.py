"""Writing the index of recordings: with each publication, and again from the columns.

Rows, texts and digests are pure functions of the recordings and of where the root says that an
object begins and ends: what is written again, by another driver or in repair, is the same bytes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fadae.records import canonical_json, sha256_hex
from fadae.store.checks import Problem
from fadae.store.features import NO_RECORDING
from fadae.store.frames import DamagedError, FrameStore, OvertakenError
from fadae.store.history import history_path, keep_root, publication_number, replace_attrs
from fadae.store.index_objects import (
    ENTRY,
    ERASED_COLUMNS,
    ROWS_PER_PACK,
    Entries,
    RecordingRow,
    decoded_pack,
    decoded_table,
    decoded_text,
    encoded_rows,
    encoded_table,
    encoded_text,
)
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.published import RecordingColumns
from fadae.store.recording_index import (
    IDS,
    INDEX,
    ROWS,
    SAMPLES,
    TEXT,
    IndexAttrs,
    SupersededError,
    TableAttrs,
    digest_of,
    index_attrs,
    key_digest,
    pack_path,
    read_object,
    table_path,
    token_of,
)

# Tables are merged so that few are left: up to 16384 recordings always, else while a table is not
# 16 times as long as what came after it. Three are left of a million, and in the long run each
# recording's entries are written again some ten times.
_SMALL = 16384
_RATIO = 16
_OBJECT = re.compile(r"(?:(?:rows|text)-\d+|ids|samples)-(\d+)-[0-9a-z]+")


def extend_index(store: FrameStore, rows: Iterable[RecordingRow], token: str) -> IndexAttrs:
    """Write what the index of a publication adds to that of `store`; return how to name it.

    `rows` come after those published; `token` is their plan's. Readers see it once the root names
    it. Without an index, as an earlier fadae left it, all published rows are indexed too.
    """
    columns = RecordingColumns(store)
    attrs = index_attrs(store.attrs, store.recording_rows)
    if attrs is None:
        attrs = {"version": 1, "frames": 0, "samples": 0, "packs": [], "tables": []}
        rows = itertools.chain(itertools.chain.from_iterable(columns.packs()), rows)
    return _Writer(store.location, columns, attrs, token).add(rows)


def sweep_index(store: FrameStore, number: int) -> None:
    """Remove what the root no longer names, of publications before `number`, the next one.

    Called before that is made: what the root names stays for those who still read by it after the
    next one is published, and no object of a later publication is ever touched.
    """
    store.location.delete_many(superseded(store, number))


def superseded(store: FrameStore, number: int) -> list[str]:
    """Return the paths of the objects that `sweep_index` removes."""
    named = set(_named(index_attrs(store.attrs, store.recording_rows)))
    old = []
    for name in store.location.names(INDEX):
        found = _OBJECT.fullmatch(name)
        if found and int(found[1]) < number and f"{INDEX}/{name}" not in named:
            old.append(f"{INDEX}/{name}")
    return old


def _named(attrs: IndexAttrs | None) -> Iterator[str]:
    """Yield the paths of the objects that a root names."""
    if attrs is not None:
        for pack, token in enumerate(attrs["packs"]):
            yield from (pack_path(kind, pack, token) for kind in (ROWS, TEXT))
        for table in attrs["tables"]:
            yield from (table_path(kind, table["token"]) for kind in (IDS, SAMPLES))


def erase_from_index(store: FrameStore, erased: Iterable[int]) -> FrameStore:
    """Take what the columns hold no more of some rows out of the index; return what is published.

    A pack that tells more than its columns is written under another token, and the root names it:
    who has opened the store before finds the old one gone, and goes by the columns.
    """
    by_pack: dict[int, set[int]] = {}
    for row in erased:
        by_pack.setdefault(row // ROWS_PER_PACK, set()).add(row % ROWS_PER_PACK)
    while True:
        attrs = index_attrs(store.attrs, store.recording_rows)
        if attrs is None:
            return store
        packs, columns = list(attrs["packs"]), RecordingColumns(store)
        for pack, rows in by_pack.items():
            if pack < len(packs) and _tells(store, pack, packs[pack], rows):
                told = sha256_hex(canonical_json(sorted(rows)))
                packs[pack] = f"{token_of(packs[pack])}x{told[:16]}"
                right = columns.pack(pack)
                for kind, data in ((ROWS, encoded_rows(right)), (TEXT, encoded_text(right))):
                    store.location.write_bytes(pack_path(kind, pack, packs[pack]), data)
        try:
            if packs != attrs["packs"]:
                store.location.delete(history_path(publication_number(store)))
                index: IndexAttrs = {**attrs, "packs": packs}
                store = store.publish(store.rows, store.recording_rows, {"index": index})
        except OvertakenError:
            store = FrameStore.open(store.location, FEATURES)
            continue
        keep_root(store)
        store.location.delete_many(_told_before(store, by_pack))
        return store


def _tells(store: FrameStore, pack: int, token: str, erased: Iterable[int]) -> bool:
    """Return whether a pack of rows tells anything of what is erased; damaged, it may."""
    path = pack_path(ROWS, pack, token)
    try:
        rows = decoded_pack(read_object(store.location, path), path)
    except (SupersededError, DamagedError):
        return True
    told = (rows[row] for row in erased if row < len(rows))
    return any(getattr(row, name) for row in told for name in ERASED_COLUMNS)


def _told_before(store: FrameStore, by_pack: Mapping[int, set[int]]) -> list[str]:
    """Return the packs that the root does not name, of old or being made, and tell what is erased.

    A driver that makes one publishes nothing: the root is another. It makes it again.
    """
    named = set(_named(index_attrs(store.attrs, store.recording_rows)))
    found = list[str]()
    for name in store.location.names(INDEX):
        kind, _, rest = name.partition("-")
        pack, _, token = rest.partition("-")
        if kind not in (ROWS, TEXT) or int(pack) not in by_pack or f"{INDEX}/{name}" in named:
            continue
        if _tells(store, int(pack), token, by_pack[int(pack)]):
            found.append(f"{INDEX}/{name}")
    # The rows of a pack tell of its text: they go last.
    return sorted(found, key=lambda path: f"/{ROWS}-" in path)


@dataclass
class _Digests:
    """The digests of consecutive recordings: 16 bytes each, whatever their number."""

    first: int
    ids: list[Entries] = field(default_factory=list)
    samples: list[Entries] = field(default_factory=list)
    count: int = 0

    def add(self, rows: list[RecordingRow]) -> None:
        start = self.first + self.count
        ids = np.empty(len(rows), ENTRY)
        ids["digest"] = [key_digest(row.key) for row in rows]
        ids["row"] = np.arange(start, start + len(rows))
        samples = np.empty(len(rows), ENTRY)
        samples["digest"] = [digest_of(row.pcm_sha256) for row in rows]
        samples["row"] = ids["row"]
        self.ids.append(ids)
        self.samples.append(samples[np.array([r.same_as == NO_RECORDING for r in rows], bool)])
        self.count += len(rows)

    def tables(self) -> dict[str, Entries]:
        """Return the entries by rising digest, of equal ones by row."""
        tables = {}
        for kind, parts in ((IDS, self.ids), (SAMPLES, self.samples)):
            entries = np.concatenate([np.empty(0, ENTRY), *parts])
            tables[kind] = entries[np.lexsort((entries["row"], entries["digest"]))]
        return tables


class _Writer:
    """Adds rows to an index."""

    def __init__(
        self, location: Location, columns: RecordingColumns, attrs: IndexAttrs, token: str
    ) -> None:
        self._location, self._columns, self._token = location, columns, token
        self._attrs: IndexAttrs = {
            **attrs,
            "packs": list(attrs["packs"]),
            "tables": list(attrs["tables"]),
        }

    def add(self, rows: Iterable[RecordingRow]) -> IndexAttrs:
        tables = self._attrs["tables"]
        first = tables[-1]["stop"] if tables else 0
        digests, waiting = _Digests(first), self._last_pack(first)
        drawn = iter(rows)
        while batch := list(itertools.islice(drawn, ROWS_PER_PACK - len(waiting))):
            self._count(batch)
            digests.add(batch)
            self._write_pack(first // ROWS_PER_PACK, [*waiting, *batch])
            first, waiting = first + len(batch), []
        if digests.count:
            self._write_tables(digests)
        return self._attrs

    def _count(self, rows: list[RecordingRow]) -> None:
        frames, samples = _totals(rows)
        self._attrs["frames"] += frames
        self._attrs["samples"] += samples

    def _last_pack(self, rows: int) -> list[RecordingRow]:
        """Return the rows of a pack that is not full yet."""
        if not rows % ROWS_PER_PACK:
            return []
        pack = rows // ROWS_PER_PACK
        path = pack_path(ROWS, pack, self._attrs["packs"].pop())
        try:
            return decoded_pack(read_object(self._location, path), path)
        except (SupersededError, DamagedError):
            return self._columns.pack(pack)

    def _write_pack(self, pack: int, rows: list[RecordingRow]) -> None:
        for kind, data in ((ROWS, encoded_rows(rows)), (TEXT, encoded_text(rows))):
            self._location.write_bytes(pack_path(kind, pack, self._token), data)
        self._attrs["packs"].append(self._token)

    def _write_tables(self, digests: _Digests) -> None:
        tables, first = self._attrs["tables"], digests.first
        stop = first + digests.count
        while tables and _joins(tables[-1], stop - first):
            before = tables.pop()
            older = self._entries(before)
            digests.ids.append(older[IDS])
            digests.samples.append(older[SAMPLES])
            first = before["first"]
        entries = digests.tables()
        for kind, values in entries.items():
            self._location.write_bytes(table_path(kind, self._token), encoded_table(values))
        tables.append(
            {"token": self._token, "first": first, "stop": stop, "canonical": len(entries[SAMPLES])}
        )

    def _entries(self, table: TableAttrs) -> dict[str, Entries]:
        paths = {kind: table_path(kind, table["token"]) for kind in (IDS, SAMPLES)}
        try:
            return {
                kind: decoded_table(read_object(self._location, path), path)
                for kind, path in paths.items()
            }
        except (SupersededError, DamagedError):
            return _entries_of(self._columns, table["first"], table["stop"])


def _totals(rows: list[RecordingRow]) -> tuple[int, int]:
    """Return the frames and samples of recordings, repeated PCM left out."""
    own = [row for row in rows if row.same_as == NO_RECORDING]
    return sum(row.frame_count for row in own), sum(row.samples for row in own)


def _joins(table: TableAttrs, after: int) -> bool:
    rows = table["stop"] - table["first"]
    return rows + after <= _SMALL or rows < _RATIO * after


def _entries_of(columns: RecordingColumns, first: int, stop: int) -> dict[str, Entries]:
    """Return the tables of the recordings [first, stop), from the columns."""
    digests, row = _Digests(first), first
    while row < stop:
        pack, within = divmod(row, ROWS_PER_PACK)
        rows = columns.pack(pack)[within : within + stop - row]
        digests.add(rows)
        row += len(rows)
    return digests.tables()


def check_index(store: FrameStore, *, repair: bool) -> Iterator[Problem]:
    """Yield what of the index is missing, damaged or not what the columns say.

    With `repair` each such object is written again, the same bytes as at first.
    """
    attrs = index_attrs(store.attrs, store.recording_rows)
    if attrs is None:
        return
    columns, frames, samples = RecordingColumns(store), 0, 0
    for pack, token in enumerate(attrs["packs"]):
        rows = columns.pack(pack)
        own = _totals(rows)
        frames, samples = frames + own[0], samples + own[1]
        packs = {ROWS: encoded_rows, TEXT: encoded_text}
        for kind, encode in packs.items():
            yield from _compared(store, pack_path(kind, pack, token), encode(rows), repair)
    for table in attrs["tables"]:
        entries = _entries_of(columns, table["first"], table["stop"])
        for kind, values in entries.items():
            path = table_path(kind, table["token"])
            yield from _compared(store, path, encoded_table(values), repair)
    if (frames, samples) != (attrs["frames"], attrs["samples"]):
        if repair:
            right = {**attrs, "frames": frames, "samples": samples}
            replace_attrs(store, {"index": right})
        yield Problem(f"{FEATURES}/zarr.json", "its totals are not those of the recordings")


def _compared(store: FrameStore, path: str, expected: bytes, repair: bool) -> Iterator[Problem]:
    try:
        found = store.location.read_bytes(path)
    except FileNotFoundError:
        problem = "missing"
    else:
        if _content(path, found) == _content(path, expected):
            return
        problem = "damaged, or not what the recordings' columns say"
    if repair:
        store.location.write_bytes(path, expected)
    yield Problem(path, problem)


def _content(path: str, data: bytes) -> object:
    """Return what an object of the index says: another release of a compressor may differ."""
    kind = path.removeprefix(f"{INDEX}/").partition("-")[0]
    try:
        match kind:
            case "rows":
                return decoded_pack(data, path)
            case "text":
                return decoded_text(data, path)
        return decoded_table(data, path).tobytes()
    except (DamagedError, ValueError, TypeError, RuntimeError):
        return None
