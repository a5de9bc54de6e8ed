"""The publications of features.zarr: the root of each is kept, so that it can be opened again.

features.zarr/recording_id/history/NNNNN.json holds the root as it was with that many plans. It is
written once its publication is, and again before the next one is: whatever is killed, none that
another has followed is missing. Published rows never change, so an old root opens on what it told.
The date of a publication is that of its object.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fadae.errors import UsageError
from fadae.store.frames import DamagedError, FrameStore, OvertakenError
from fadae.store.location import Location
from fadae.store.paths import FEATURES

HISTORY = f"{FEATURES}/recording_id/history"
_NAME = re.compile(r"(\d{5,})\.json")


@dataclass(frozen=True, slots=True)
class Publication:
    """One publication of features.zarr: its number, and when it was (s since 1970)."""

    number: int
    published_seconds: float

    @property
    def published(self) -> str:
        """The date and time, in UTC.

        >>> Publication(1, 0.0).published
        '1970-01-01 00:00:00'
        """
        return datetime.fromtimestamp(self.published_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def history_path(number: int) -> str:
    """Return where the root of a publication is kept.

    >>> history_path(3)
    'features.zarr/recording_id/history/00003.json'
    """
    return f"{HISTORY}/{number:05d}.json"


def publication_number(store: FrameStore) -> int:
    """Return how many plans a features.zarr has published: the number of its publication."""
    return int(str(store.attrs["published_plans"]))


def keep_root(store: FrameStore) -> None:
    """Keep the root of a publication, the one of its number that is kept first."""
    number = publication_number(store)
    if number:
        store.location.create_exclusive(history_path(number), store.root)


def replace_attrs(store: FrameStore, attrs: Mapping[str, object]) -> None:
    """Correct attributes of the root, and of the kept one; a driver's newer root stands."""
    with contextlib.suppress(OvertakenError):
        store = store.publish(store.rows, store.recording_rows, attrs)
        store.location.delete(history_path(publication_number(store)))
        keep_root(store)


def publication_numbers(location: Location) -> list[int]:
    """Return the numbers of the publications whose roots are kept, rising.

    Behind a web server, which lists nothing, those that there were.
    """
    if location.is_http:
        store = FrameStore.find(location, FEATURES)
        return list(range(1, 1 + (0 if store is None else publication_number(store))))
    found = map(_NAME.fullmatch, location.names(HISTORY))
    return sorted(int(one[1]) for one in found if one)


def publications(location: Location, last: int | None = None) -> list[Publication]:
    """Return those that are kept, the newest first; `last`: at most so many."""
    newest = publication_numbers(location)[::-1]
    newest = newest if location.is_http else newest[:last]  # some of which may be pruned

    def moment(number: int) -> float | None:
        try:
            return location.modified_seconds(history_path(number))
        except FileNotFoundError:  # pruned
            return None

    told = zip(newest, location.concurrently(moment, newest), strict=True)
    kept = (Publication(number, at) for number, at in told if at is not None)
    return list(itertools.islice(kept, last))


def open_publication(location: Location, number: int) -> FrameStore:
    """Return features.zarr as a publication left it. Raises UsageError where it is not kept."""
    current = FrameStore.find(location, FEATURES)
    if current is not None and publication_number(current) == number:
        return current
    try:
        return kept_publication(location, number)
    except FileNotFoundError:
        kept = ", ".join(map(str, publication_numbers(location))) or "none"
        raise UsageError(
            f"{location.url} keeps no publication {number}; it has {kept}: see `fadae log`"
        ) from None


def kept_publication(location: Location, number: int) -> FrameStore:
    """Return features.zarr by the root that is kept of a publication.

    Raises FileNotFoundError where none is, DamagedError where it is not what was kept.
    """
    path = history_path(number)
    try:
        store = FrameStore.of_root(location, FEATURES, location.read_bytes(path))
        if publication_number(store) != number:
            raise ValueError("it is another publication's")
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path} is damaged ({error}); `fadae verify --repair` removes it"
        ) from error
    return store


def number_at(location: Location, at: int | str) -> int:
    """Return the number that is meant: itself, or the last one of a day or moment (UTC).

    Raises UsageError for what is neither, and where none was published by then.
    """
    if isinstance(at, int) or at.isdecimal():
        return int(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise UsageError(
            f"{at!r} is neither the number of a publication nor a date such as 2026-11-01 or "
            "2026-11-01T12:00"
        ) from None
    whole_day = len(at) == len("2026-11-01")
    moment = moment.replace(tzinfo=moment.tzinfo or UTC) + timedelta(days=whole_day)
    for publication in publications(location):
        if publication.published_seconds < moment.timestamp():
            return publication.number
    raise UsageError(f"{location.url} had published nothing by {at}: see `fadae log`")
