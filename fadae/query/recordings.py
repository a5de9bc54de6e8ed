"""The recordings of a workspace: look-up by id, search, and a count of what the ledger holds."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from fadae.errors import unknown
from fadae.records import Failure, FailureClass
from fadae.store import (
    FeatureSet,
    Location,
    PublishedRecordings,
    RecordingRow,
    fresh_names,
    ledger_pages,
    paths,
    read_commits,
)
from fadae.training import Role


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
_NEAR = 20_000  # ids that a mistaken one is compared with
_HINTS = 3
_HELD_OUT: dict[Role | None, bool] = {Role.HELD_OUT: True, Role.TRAINED: False}


class Recordings(Sequence[Recording]):
    """All recordings in the order of their rows; what is asked for is read, and little beside."""

    def __init__(
        self, features: FeatureSet, roles: Callable[[], Sequence[Role] | None] = lambda: None
    ) -> None:
        """Take the features whose recordings these are, and what tells their role in a run."""
        self._published = PublishedRecordings(features.store)
        self._find_roles = roles

    def __len__(self) -> int:
        return len(self._published)

    @overload
    def __getitem__(self, row: int) -> Recording: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Recording, ...]: ...

    def __getitem__(self, row: int | slice) -> Recording | tuple[Recording, ...]:
        if not isinstance(row, slice):
            index = range(len(self))[row]
            return self._recording(index, self._published.row(index))
        chosen = range(*row.indices(len(self)))
        if chosen.step == 1:
            return tuple(self._between(chosen.start, chosen.stop))
        return tuple(self[index] for index in chosen)

    def __iter__(self) -> Iterator[Recording]:
        for row, columns in enumerate(self._published.every()):
            yield self._recording(row, columns)

    def by_id(self, recording_id: str) -> Recording:
        """Return a recording by its id; raises UsageError naming near ids."""
        return self[self.find(recording_id).row]

    def find(self, recording_id: str) -> Recording:
        """Return a recording as `by_id` does, asking no run: its `held_out` is None."""
        row = self._published.find(recording_id)
        if row is None:
            raise unknown("recording", recording_id, self._near(recording_id))
        return _recording(row, self._published.row(row), None)

    def at_row(self, row: int) -> Recording | None:
        """Return the recording of a row of the table, asking no run; None where it is not shown."""
        return _recording(row, self._published.row(row), None)

    def search(self, text: str, limit: int | None = None) -> list[Recording]:
        """Return recordings whose title, creator, item and file hold every word, in any case."""
        return [self[int(row)] for row in self.rows(text)[:limit]]

    def rows(self, text: str) -> Sequence[int]:
        """Return the rows of the recordings that `search` finds, rising: 8 bytes for each."""
        words = text.casefold().split()
        return array("q", self._published.matching(words).tobytes()) if words else range(len(self))

    def _between(self, start: int, stop: int) -> Iterator[Recording]:
        for offset, row in enumerate(self._published.rows(start, stop)):
            yield self._recording(start + offset, row)

    def _recording(self, row: int, columns: RecordingRow) -> Recording:
        role = None if self._roles is None else self._roles[row]
        return _recording(row, columns, _HELD_OUT.get(role))

    @cached_property
    def _roles(self) -> Sequence[Role] | None:
        return self._find_roles()

    def _near(self, recording_id: str) -> list[str]:
        """Return ids to name instead: the first ones, and such as hold the text."""
        holding = [one.id for one in self.search(recording_id, limit=_HINTS)]
        rows = self._published.rows(0, min(_NEAR, len(self)))
        return [*holding, *(row.id for row in rows)]


def _recording(row: int, columns: RecordingRow, held_out: bool | None) -> Recording:
    values = {name: getattr(columns, name) for name in _COLUMNS}
    return Recording(row, **values, held_out=held_out)


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


def take_inventory(location: Location, published: PublishedRecordings | None) -> Inventory:
    """Return what the ledger holds; of published recordings nothing is read again.

    Behind a web server, which lists no ledger, what is published is all that is known.
    """
    if location.is_http:
        return Inventory(0 if published is None else len(published), ())
    pages = ledger_pages(location, published)
    fresh = [
        paths.staged(page.prefix, name)
        for page, names in zip(pages, location.concurrently(fresh_names, pages), strict=True)
        for name in names
    ]
    commits = read_commits(location, fresh)
    failures = [commit.failure for commit in commits if commit.failure is not None]
    ok = (0 if published is None else len(published)) + len(commits) - len(failures)
    return Inventory(ok, tuple(sorted(failures, key=lambda failure: failure.id)))
