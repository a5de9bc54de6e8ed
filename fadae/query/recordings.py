"""The recordings of a workspace: look-up by id, search, and a count of what the ledger holds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from fadae.errors import unknown
from fadae.records import Commit, Failure, FailureClass
from fadae.store import (
    PREFIXES,
    FeatureSet,
    LedgerPage,
    Location,
    RecordingTable,
    fresh_names,
    known_digests,
    paths,
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the recording table; `same_as` is the row whose frames it shares, or -1.

    `held_out` tells whether the default run held it out (True) or trained on it (False); None
    where it did neither or there is no run. See `Workspace.split`.
    """

    row: int
    id: str
    item: str
    file: str
    title: str
    creator: str
    licence: str
    url: str
    sha1: str
    rate_hz: int
    samples: int
    seconds: float
    frame_start: int
    frame_count: int
    same_as: int
    held_out: bool | None = None


_COLUMNS = tuple(
    field.name for field in dataclasses.fields(Recording) if field.name not in ("row", "held_out")
)
HeldOut = Sequence[bool | None]


class Recordings(Sequence[Recording]):
    """All recordings in the order of their rows; columns are read when first needed."""

    def __init__(
        self, features: FeatureSet, held_out: Callable[[], HeldOut | None] = lambda: None
    ) -> None:
        """Take the features whose recordings these are, and what tells which are held out."""
        self._features = features
        self._find_held_out = held_out

    def __len__(self) -> int:
        return len(self._features.recordings)

    @overload
    def __getitem__(self, row: int) -> Recording: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Recording, ...]: ...

    def __getitem__(self, row: int | slice) -> Recording | tuple[Recording, ...]:
        if isinstance(row, slice):
            return tuple(self[index] for index in range(*row.indices(len(self))))
        index = range(len(self))[row]
        return Recording(index, *(column[index] for column in self._columns))

    def __iter__(self) -> Iterator[Recording]:
        rows = zip(*self._columns, strict=True)
        return (Recording(row, *values) for row, values in enumerate(rows))

    def by_id(self, recording_id: str) -> Recording:
        """Return a recording by its id; raises UsageError naming near ids."""
        row = self._row_of.get(recording_id)
        if row is None:
            raise unknown("recording", recording_id, self._row_of)
        return self[row]

    def search(self, text: str, limit: int | None = None) -> list[Recording]:
        """Return recordings whose title, creator, item and file hold every word, in any case."""
        return [self[row] for row in itertools.islice(self.rows(text), limit)]

    def rows(self, text: str) -> Iterator[int]:
        """Yield the rows of the recordings that `search` finds, in their order."""
        words = text.casefold().split()
        for row, about in enumerate(self._texts):
            if all(word in about for word in words):
                yield row

    @cached_property
    def _columns(self) -> list[Sequence[Any]]:
        table, location = self._features.recordings, self._features.store.location
        columns = [column.tolist() for column in location.concurrently(table.column, _COLUMNS)]
        return [*columns, self._find_held_out() or [None] * len(self)]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        ids = self._columns[_COLUMNS.index("id")]
        return {str(recording_id): row for row, recording_id in enumerate(ids)}

    @cached_property
    def _texts(self) -> list[str]:
        texts = (self._columns[_COLUMNS.index(name)] for name in ("title", "creator", "id"))
        return ["\n".join(map(str, row)).casefold() for row in zip(*texts, strict=True)]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Recordings decoded, published or not, and the failures, in the order of their ids."""

    ok: int
    failures: tuple[Failure, ...]

    @property
    def failed(self) -> int:
        """How many may be had later."""
        return len(self.failures) - self.quarantined

    @property
    def quarantined(self) -> int:
        """How many can never be had."""
        return sum(f.failure_class is FailureClass.PERMANENT for f in self.failures)


def take_inventory(location: Location, published: RecordingTable | None) -> Inventory:
    """Return what the ledger holds; of published recordings nothing is read again."""
    known = known_digests(published.column("key") if published is not None else ())
    pages = [LedgerPage(location, prefix, known.get(prefix, b"")) for prefix in PREFIXES]
    fresh = [
        paths.staged(page.prefix, name)
        for page, names in zip(pages, location.concurrently(fresh_names, pages), strict=True)
        for name in names
    ]
    ok = 0 if published is None else len(published)
    failures = []
    for data in location.read_many(fresh):
        commit = Commit.from_json(data)
        if commit.failure is None:
            ok += 1
        else:
            failures.append(commit.failure)
    return Inventory(ok, tuple(sorted(failures, key=lambda failure: failure.id)))
