"""The staging area: each recording's PCM and commit, and all commits read at scale.

Tasks read the commits (a million reads at 20 ms are 5.6 hours for one reader); the driver merges
the runs from files of its own, so that its memory holds one line of each at a time.
"""

from __future__ import annotations

import contextlib
import gzip
import heapq
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from fadae.arrays import Int16
from fadae.errors import NoInputError
from fadae.records import Commit, canonical_json
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.paths import STAGING, commit_path, pcm_path, staged

PREFIXES = tuple(f"{number:02x}" for number in range(256))


FEW = 500  # fresh commits that the driver reads itself, without a cluster
_DIGEST_HEX = 16


def write_commit(location: Location, commit: Commit) -> None:
    """Write a recording's commit; its PCM must already be there."""
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


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A prefix to read, and what of it is known already."""

    location: Location
    prefix: str
    known: bytes = b""  # sorted 64-bit digests of the published recordings' keys


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


def fresh_names(page: LedgerPage) -> list[str]:
    """Return the names of the commits below a prefix that are not known."""
    names = commit_names(page)
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


def key_digest(key: str) -> int:
    """Return the number that stands for a recording's key among those of its prefix."""
    return _digest(key)[1]


def read_page(page: LedgerPage) -> LedgerRun:
    """Return a page's fresh decoded recordings: the unit of work of planning."""
    paths = [staged(page.prefix, name) for name in fresh_names(page)]
    commits = [Commit.from_json(data) for data in page.location.read_many(paths)]
    decoded = sorted((c for c in commits if c.decoded), key=lambda commit: commit.id)
    lines = "".join(f"{commit.to_json()}\n" for commit in decoded)
    data = gzip.compress(lines.encode("utf-8", "surrogatepass"), compresslevel=1, mtime=0)
    return LedgerRun(page.prefix, data, len(decoded), len(commits) - len(decoded))


class LedgerRuns:
    """The runs of all prefixes in a temporary folder, to be merged by id as often as needed."""

    def __init__(self) -> None:
        """Make the folder; use as a context manager, which removes it."""
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
    location: Location, known: dict[str, bytes], mapper: Mapper, into: LedgerRuns
) -> None:
    """Read all commits that are not known; few of them here, many through the mapper."""
    present = sorted(set(location.names(STAGING)) & set(PREFIXES))
    every = [LedgerPage(location, prefix, known.get(prefix, b"")) for prefix in present]
    counts = list(location.concurrently(lambda page: len(fresh_names(page)), every))
    pages = [page for page, count in zip(every, counts, strict=True) if count]
    if not pages:
        return
    chosen: Mapper = map_serially if sum(counts) <= FEW else mapper
    for run in chosen(read_page, pages, label="plan", unit="prefixes"):
        into.add(run)


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
