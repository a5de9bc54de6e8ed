"""The recordings of a workspace: look-up by id, search, and a count of what the ledger holds."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from fadae import html
from fadae.errors import UnknownNameError, unknown
from fadae.licences import LicencePolicy
from fadae.query.licences import admitted_rows
from fadae.records import Failure, FailureClass
from fadae.store import (
    FeatureSet,
    Forgotten,
    Location,
    PublishedRecordings,
    RecordingRow,
    fresh_names,
    ledger_pages,
    paths,
    read_commits,
    read_tombstones,
)
from fadae.training import Role

if TYPE_CHECKING:
    import pandas as pd


class _Shown:
    """What shows a recording in a notebook: no field of its own, nor of its copies."""

    __slots__ = ("_show",)


@dataclass(frozen=True, slots=True)
class Recording(_Shown):
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

    def _repr_html_(self) -> str:
        show = getattr(self, "_show", None)
        about = html.fields(self.title or self.file, {name: getattr(self, name) for name in _SHOWN})
        return about if show is None else f"{about}{show(self)}"


_COLUMNS = tuple(
    field.name for field in dataclasses.fields(Recording) if field.name not in ("row", "held_out")
)
_SHOWN = ("id", "creator", "licence", "url", "seconds", "rate_hz", "frame_count", "held_out")
_NEAR = 20_000  # ids that a mistaken one is compared with
_HINTS = 3
_HELD_OUT: dict[Role | None, bool] = {Role.HELD_OUT: True, Role.TRAINED: False}


class Recordings(Sequence[Recording]):
    """All recordings in the order of their rows; what is asked for is read, and little beside.

    Those that are forgotten are not among them: a place in the sequence is no row of the table.
    """

    def __init__(
        self,
        features: FeatureSet,
        roles: Callable[[], Sequence[Role] | None] = lambda: None,
        show: Callable[[Recording], str] | None = None,
    ) -> None:
        """Take the features whose recordings these are, and what tells their role in a run.

        show: markup that a notebook shows below what is said of a recording.
        """
        self._features = features
        self._published = PublishedRecordings(features.store)
        self._find_roles = roles
        self._show = show

    def __len__(self) -> int:
        return len(self._published) - len(self._forgotten)

    @property
    def _forgotten(self) -> Forgotten:
        return self._features.forgotten

    @overload
    def __getitem__(self, row: int) -> Recording: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Recording, ...]: ...

    def __getitem__(self, row: int | slice) -> Recording | tuple[Recording, ...]:
        if not isinstance(row, slice):
            index = self._forgotten.row_at(range(len(self))[row])
            return self._recording(index, self._published.row(index))
        chosen = range(*row.indices(len(self)))
        if chosen.step == 1:
            return tuple(self._between(chosen.start, chosen.stop))
        return tuple(self[index] for index in chosen)

    def __iter__(self) -> Iterator[Recording]:
        for row, columns in enumerate(self._published.every()):
            if row not in self._forgotten:
                yield self._recording(row, columns)

    def by_id(self, recording_id: str) -> Recording:
        """Return a recording by its id; raises UsageError naming near ids."""
        row = self.find(recording_id).row
        return self._recording(row, self._published.row(row))

    def find(self, recording_id: str) -> Recording:
        """Return a recording as `by_id` does, asking no run: its `held_out` is None."""
        row = self._published.find(recording_id)
        if row is None:
            raise unknown("recording", recording_id, self._near(recording_id))
        if row in self._forgotten:
            raise UnknownNameError(f"recording {recording_id!r} is forgotten: see `fadae forget`")
        return _recording(row, self._published.row(row), None)

    def at_row(self, row: int) -> Recording | None:
        """Return the recording of a row of the table, asking no run; None where it is not shown."""
        if row in self._forgotten:
            return None
        return _recording(row, self._published.row(row), None)

    def heard_at(self, row: int) -> Recording | None:
        """Return the recording that is shown for the sound of a row of the table; None without one.

        Of a forgotten one that is the first that has the same samples and is not forgotten.
        """
        gone = self._forgotten
        if row in gone and not np.isin(row, gone.silent):
            same = np.flatnonzero(self._features.recordings.same_as == row)
            row = int(gone.without(same)[0])
        return self.at_row(row)

    def search(self, text: str, limit: int | None = None) -> list[Recording]:
        """Return recordings whose title, creator, item and file hold every word, in any case."""
        return [self[int(row)] for row in self.rows(text)[:limit]]

    def rows(self, text: str, licence: LicencePolicy | None = None) -> Sequence[int]:
        """Return the places here of what `search` finds, rising: 8 bytes for each.

        licence: only those of licences that this admits.
        """
        words = text.casefold().split()
        if not words and licence is None:
            return range(len(self))
        every = np.arange(len(self._published))
        found = self._published.matching(words) if words else every
        if licence is not None:
            found = np.intersect1d(found, admitted_rows(self._features, licence))
        found = self._forgotten.without(found)
        return array("q", self._forgotten.positions(found).tobytes())

    def to_pandas(self, rows: Iterable[int] | None = None) -> pd.DataFrame:
        """Return a DataFrame of all recordings, or of those at some rows, their ids the index.

        A million take about a gigabyte: `recordings.rows("fugue")` is fewer.
        """
        import pandas as pd

        names = [field.name for field in dataclasses.fields(Recording)]
        chosen = self if rows is None else map(self.__getitem__, rows)
        values = [tuple(getattr(one, name) for name in names) for one in chosen]
        return pd.DataFrame.from_records(values, columns=names).set_index("id")

    def _repr_html_(self) -> str:
        heads = ("id", "title", "creator", "seconds", "held out")
        first = self[: html.MOST_ROWS]
        rows = [(one.id, one.title, one.creator, one.seconds, one.held_out) for one in first]
        return html.table(heads, rows, f"{len(rows):,} of {len(self):,} recordings")

    def _between(self, start: int, stop: int) -> Iterator[Recording]:
        if start >= stop:
            return
        first, last = self._forgotten.row_at(start), self._forgotten.row_at(stop - 1)
        for row, columns in enumerate(self._published.rows(first, last + 1), first):
            if row not in self._forgotten:
                yield self._recording(row, columns)

    def _recording(self, row: int, columns: RecordingRow) -> Recording:
        role = None if self._roles is None else self._roles[row]
        recording = _recording(row, columns, _HELD_OUT.get(role))
        if recording.same_as in self._forgotten:
            # Whose samples it repeats is forgotten: it stands for itself.
            recording = dataclasses.replace(recording, same_as=-1)
        if self._show is not None:
            object.__setattr__(recording, "_show", self._show)
        return recording

    @cached_property
    def _roles(self) -> Sequence[Role] | None:
        return self._find_roles()

    def _near(self, recording_id: str) -> list[str]:
        """Return ids to name instead: the first ones, and such as hold the text."""
        holding = [one.id for one in self.search(recording_id, limit=_HINTS)]
        rows = self._published.rows(0, min(_NEAR, len(self._published)))
        near = (one.id for row, one in enumerate(rows) if row not in self._forgotten)
        return [*holding, *near]


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


def take_inventory(
    location: Location, published: PublishedRecordings | None, hidden: int
) -> Inventory:
    """Return what the ledger holds and is not forgotten; `hidden`: how many published ones are.

    Of published recordings nothing is read again. Behind a web server, which lists no ledger, what
    is published is all that is known.
    """
    if location.is_http:
        return Inventory(0 if published is None else len(published) - hidden, ())
    pages = ledger_pages(location, published)
    fresh = [
        paths.staged(page.prefix, name)
        for page, names in zip(pages, location.concurrently(fresh_names, pages), strict=True)
        for name in names
    ]
    commits = read_commits(location, fresh)
    if commits:
        tombstones = read_tombstones(location)
        commits = [c for c in commits if not tombstones.match(c.track.id, c.track.item)]
    failures = [commit.failure for commit in commits if commit.failure is not None]
    ok = (0 if published is None else len(published)) - hidden + len(commits) - len(failures)
    return Inventory(ok, tuple(sorted(failures, key=lambda failure: failure.id)))
