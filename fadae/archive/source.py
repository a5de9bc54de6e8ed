"""What an audio source is: something that lists pages, expands them to tracks, fetches a track."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, Self

from fadae.errors import UsageError, unknown
from fadae.records import Failure, Track

ENTRY_POINTS = "fadae.sources"
Slot = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which one listing request is asked: a cluster-wide limit, if wanted."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a listing, small enough to travel and to be stored.

    `entries` are the source's own (items, file names); `resume` is what the source needs to list
    on after this page, empty on its last one.
    """

    number: int
    entries: tuple[str, ...]
    resume: str = ""

    @property
    def is_last(self) -> bool:
        """Whether the listing ends with this page."""
        return not self.resume

    def to_json(self) -> str:
        """Return a JSON text that `from_json` reads back.

        >>> Page.from_json(Page(0, ("AOC11B",)).to_json())
        Page(number=0, entries=('AOC11B',), resume='')
        """
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the page that `to_json` wrote."""
        values = json.loads(text)
        return cls(int(values["number"]), tuple(values["entries"]), str(values["resume"]))


class Source(Protocol):
    """A place with recordings, as a frozen, picklable value; its handles open on first use.

    The driver lists `pages`, tasks anywhere expand a page to `tracks` and `fetch` them one by one.
    A new source is one file with such a class, and one line in the sources' contract test; one of
    another package is found by an entry point, see `plugged_in`.
    """

    def selection(self) -> dict[str, Any]:
        """Return what is asked for, JSON-able: equal selections list the same recordings."""
        ...

    def pages(self, after: Page | None = None) -> Iterator[Page]:
        """Yield the listing from its start, or on from a page that an earlier driver stored.

        Raises UsageError where the selection makes no sense to the source, NoInputError where it
        is empty, TransientError where the source cannot be asked now.
        """
        ...

    def tracks(self, page: Page, slot: Slot | None = None) -> Iterator[Track | Failure]:
        """Yield a page's tracks, and a Failure for every entry that has none to offer.

        Such a failure's id is the entry's: an item's id, without a file.
        """
        ...

    def fetch(self, track: Track, to: Path) -> None:
        """Write a track's bytes, verified as far as the source allows, to a file.

        Raises TransientFailure or PermanentFailure; the file may then hold anything.
        """
        ...


def plugged_in(text: str) -> Source:
    """Return the source that "NAME:ADDRESS" means: one that an installed package brings.

    Its entry point of the group "fadae.sources" is called with the address. Raises UsageError
    where no package brings such a source, or what it brings is none.
    """
    name, _, address = text.partition(":")
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise unknown("installed source", name, sorted(found))
    try:
        source: Source = found[name].load()(address)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"source {name!r} cannot be loaded: {error}") from error
    missing = [one for one in ("selection", "pages", "tracks", "fetch") if not hasattr(source, one)]
    if missing:
        raise UsageError(
            f"{found[name].value} does not make a source: it lacks {', '.join(missing)}"
        )
    return source
