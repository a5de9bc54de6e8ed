"""The staging area: each recording's PCM and commit, and all commits read at scale.

Commits stay, so their names grow with the corpus. A mark, an empty object below staging/new,
stands for each that may not be published yet: it is written before the commit and removed after
publication, and what is new is found among the marks alone. Until the first look at a staging
area, which may be that of an earlier fadae, all names are listed; that look marks what has no mark.

Tasks read the commits (a million reads at 20 ms are 5.6 hours for one reader); the driver merges
the runs from files of its own, so that its memory holds one line of each at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import heapq
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from fadae.arrays import Int16
from fadae.errors import NoInputError
from fadae.records import Commit, canonical_json
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.paths import (
    ALL_MARKED,
    MARKS,
    PREFIXES,
    STAGING,
    commit_path,
    mark_path,
    marked,
    pcm_path,
    prefix_of,
    staged,
)
from fadae.store.tombstones import Tombstones

FEW = 500  # fresh commits that the driver reads itself, without a cluster
_DIGEST_HEX = 16
_RANGE_BYTES = 2**24


def write_commit(location: Location, commit: Commit) -> None:
    """Write a recording's commit, its mark first; its PCM must already be there."""
    location.write_bytes(mark_path(commit.id), b"")
    text = commit.to_json().encode("utf-8", "surrogatepass")  # names from disk may be no UTF-8
    location.write_bytes(commit_path(commit.id), text)


def improve_commit(location: Location, commit: Commit) -> Commit:
    """Write a recording's commit unless a better one is there; return the one that stands.

    A commit is never replaced by less: a failure, whatever its class, leaves a decoded recording's
    commit as it is. Another driver may have had the recording since.
    """
    there = read_commit(location, commit.id) if commit.decoded is None else None
    if there is not None and there.decoded is not None:
        return there
    write_commit(location, commit)
    return commit


def forget_marks(location: Location, keys: Iterable[str]) -> None:
    """Take recordings for published, by their keys: a look for new ones passes them over."""
    location.delete_many(marked(prefix_of(key), key) for key in keys)


def read_commit(location: Location, recording_id: str) -> Commit | None:
    """Return a recording's commit, or None where it has none yet."""
    try:
        return Commit.from_json(location.read_bytes(commit_path(recording_id)))
    except FileNotFoundError:
        return None


def read_pcm(location: Location, recording_id: str, start: int, stop: int) -> Int16:
    """Return samples [start, stop) of a recording's staged PCM.

    Raises NoInputError where they are not all there.
    """
    try:
        data = location.read_bytes(pcm_path(recording_id), 2 * start, 2 * stop)
    except FileNotFoundError:
        data = b""
    if len(data) != 2 * (stop - start):
        raise NoInputError(
            f"the staged PCM of {recording_id} is missing or cut short; `fadae verify --repair` "
            "clears its commit, then `fadae ingest --refresh` fetches it again"
        )
    return np.frombuffer(data, dtype="<i2")


def staged_sha256(location: Location, path: str) -> str | None:
    """Return the SHA-256 of staged PCM, None where there is none, or none any more."""
    digest = hashlib.sha256()
    try:
        size = location.size_bytes(path)
        for start in range(0, size, _RANGE_BYTES):
            digest.update(location.read_bytes(path, start, min(start + _RANGE_BYTES, size)))
    except FileNotFoundError:
        return None
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A prefix to read, and what of it is known already."""

    location: Location
    prefix: str
    known: bytes = b""  # sorted 64-bit digests of the published recordings' keys
    marked: bool = False  # whether the marks tell all commits that are not known


@dataclass(frozen=True, slots=True)
class LedgerRun:
    """The decoded recordings of a page that are not known: gzipped JSON lines sorted by id."""

    prefix: str
    lines_gz: bytes
    recordings: int
    failed: int


def known_digests(keys: Iterable[str]) -> dict[str, bytes]:
    """Return the digests of published recordings' keys by prefix: 8 bytes each, cheap to send.

    A key ends with 32 hex digits of the id's SHA-256, of which the prefix is the first two. With
    the next 16 two ids of a million share both once in 10^10 workspaces.
    """
    found: dict[str, list[int]] = {}
    for key in keys:
        prefix, digest = _digest(key)
        found.setdefault(prefix, []).append(digest)
    return {prefix: np.sort(np.array(d, np.uint64)).tobytes() for prefix, d in found.items()}


def commit_keys(page: LedgerPage) -> list[str]:
    """Return the keys of all recordings with a commit below a prefix."""
    return [name.removesuffix(".json") for name in commit_names(page)]


def is_known(key: str, known: Mapping[str, bytes]) -> bool:
    """Return whether a key's digest is among those that `known_digests` returned."""
    prefix, digest = _digest(key)
    found = np.frombuffer(known.get(prefix, b""), np.uint64)
    at = int(np.searchsorted(found, np.uint64(digest)))
    return at < len(found) and int(found[at]) == digest


def fresh_names(page: LedgerPage) -> list[str]:
    """Return the names of the commits below a prefix that are not known.

    By the marks, where they tell: one whose commit was never written has a name here all the same.
    """
    names = [f"{key}.json" for key in marked_keys(page)] if page.marked else commit_names(page)
    fresh = ~np.isin(_digests(names), np.frombuffer(page.known, np.uint64))
    return [name for name, is_fresh in zip(names, fresh, strict=True) if is_fresh]


def missing_digests(page: LedgerPage, names: list[str]) -> list[int]:
    """Return the known recordings of a prefix that none of `names` is the commit of."""
    known = np.frombuffer(page.known, np.uint64)
    missing: list[int] = known[~np.isin(known, _digests(names))].tolist()
    return missing


def commit_names(page: LedgerPage) -> list[str]:
    """Return the names of all commits below a prefix."""
    return [n for n in page.location.names(staged(page.prefix)) if n.endswith(".json")]


def marked_keys(page: LedgerPage) -> list[str]:
    """Return the keys of the recordings below a prefix that have a mark."""
    return page.location.names(marked(page.prefix))


def key_digest(key: str) -> int:
    """Return the number that stands for a recording's key among those of its prefix."""
    return _digest(key)[1]


def read_page(page: LedgerPage) -> LedgerRun:
    """Return a page's fresh decoded recordings: the unit of work of planning."""
    commits = read_commits(page.location, [staged(page.prefix, n) for n in fresh_names(page)])
    decoded = sorted((c for c in commits if c.decoded), key=lambda commit: commit.id)
    lines = "".join(f"{commit.to_json()}\n" for commit in decoded)
    data = gzip.compress(lines.encode("utf-8", "surrogatepass"), compresslevel=1, mtime=0)
    return LedgerRun(page.prefix, data, len(decoded), len(commits) - len(decoded))


def _without(run: LedgerRun, unwanted: Tombstones) -> LedgerRun:
    """Return a run without the recordings that some tombstones mean."""
    lines = gzip.decompress(run.lines_gz).splitlines(keepends=True)
    tracks = (_commit(line).track for line in lines)
    kept = [
        line
        for line, track in zip(lines, tracks, strict=True)
        if not unwanted.match(track.id, track.item)
    ]
    data = gzip.compress(b"".join(kept), compresslevel=1, mtime=0)
    return dataclasses.replace(run, lines_gz=data, recordings=len(kept))


def read_commits(location: Location, paths: Iterable[str]) -> list[Commit]:
    """Return the commits that are there."""

    def read(path: str) -> bytes | None:
        try:
            return location.read_bytes(path)
        except FileNotFoundError:  # marked, and killed before it was written
            return None

    found = location.concurrently(read, paths)
    return [Commit.from_json(data) for data in found if data is not None]


class LedgerRuns:
    """The runs of all prefixes in a temporary folder, to be merged by id as often as needed."""

    def __init__(self, unwanted: Tombstones | None = None) -> None:
        """Make the folder; use as a context manager, which removes it.

        What `unwanted` means is left out.
        """
        self._unwanted = unwanted or Tombstones()
        self._folder = tempfile.TemporaryDirectory(prefix="fadae-ledger-")
        self._paths: list[Path] = []
        self.recordings = 0
        self.failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def add(self, run: LedgerRun) -> None:
        """Take one prefix's run."""
        if self._unwanted and run.recordings:
            run = _without(run, self._unwanted)
        self.recordings += run.recordings
        self.failed += run.failed
        if run.recordings:
            path = Path(self._folder.name) / f"{run.prefix}.jsonl.gz"
            path.write_bytes(run.lines_gz)
            self._paths.append(path)

    def merged(self) -> Iterator[Commit]:
        """Yield all commits, sorted by id."""
        with contextlib.ExitStack() as stack:
            runs = [map(_commit, stack.enter_context(gzip.open(path))) for path in self._paths]
            yield from heapq.merge(*runs, key=lambda commit: commit.id)


def read_ledger(
    location: Location, published: Published | None, mapper: Mapper, into: LedgerRuns
) -> list[str]:
    """Read all commits that are not published; few of them here, many through the mapper.

    Return the keys of what is published and has a mark all the same. The first look at a staging
    area marks what has no mark and is not published.
    """
    pages = ledger_pages(location, published)
    if pages and not pages[0].marked:
        _mark_all(location, pages)
    stale = list[str]()
    for page in pages:
        keys = marked_keys(page) if page.known else ()
        stale += [key for key in keys if is_known(key, {page.prefix: page.known})]
    counts = list(location.concurrently(lambda page: len(fresh_names(page)), pages))
    fresh = [page for page, count in zip(pages, counts, strict=True) if count]
    if not fresh:
        return stale
    chosen: Mapper = map_serially if sum(counts) <= FEW else mapper
    for run in chosen(read_page, fresh, label="plan", unit="prefixes"):
        into.add(run)
    return stale


class Published(Protocol):
    """What says which recordings are published: `PublishedRecordings`."""

    def published_keys(self, keys: Iterable[str]) -> set[str]:
        """Return those of some recordings' keys that are published."""


def ledger_pages(location: Location, published: Published | None) -> list[LedgerPage]:
    """Return the prefixes that may hold commits that are not published; nothing is written.

    Where nothing is published all commits are new, whatever was published before and removed.
    """
    below = location.names(MARKS) if published else []
    is_marked = ALL_MARKED in below
    present = sorted(set(below if is_marked else location.names(STAGING)) & set(PREFIXES))

    def page_of(prefix: str) -> LedgerPage:
        page = LedgerPage(location, prefix, marked=is_marked)
        if published is None:
            return page
        keys = published.published_keys(marked_keys(page) if is_marked else commit_keys(page))
        return dataclasses.replace(page, known=known_digests(keys).get(prefix, b""))

    return list(location.concurrently(page_of, present))


def _mark_all(location: Location, pages: list[LedgerPage]) -> None:
    """Give a mark to each commit that has none and is not known; then say that all have one."""
    for page in pages:
        keys = {name.removesuffix(".json") for name in fresh_names(page)}
        bare = [marked(page.prefix, key) for key in sorted(keys - set(marked_keys(page)))]
        for _ in location.concurrently(lambda path: location.write_bytes(path, b""), bare):
            pass
    location.write_bytes(f"{MARKS}/{ALL_MARKED}", b"")


def _digest(key: str) -> tuple[str, int]:
    digits = key[-32:]
    return digits[:2], int(digits[2 : 2 + _DIGEST_HEX], 16)


def _digests(names: list[str]) -> npt.NDArray[np.uint64]:
    return np.array([key_digest(name.removesuffix(".json")) for name in names], np.uint64)


def _commit(line: bytes) -> Commit:
    return Commit.from_json(line)


def encoded(value: object) -> bytes:
    """Return a value's canonical JSON line as bytes; file names may hold lone surrogates."""
    return f"{canonical_json(value)}\n".encode("utf-8", "surrogatepass")
