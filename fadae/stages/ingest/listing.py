"""What a source lists, remembered in the workspace: asked once, resumable, never all in memory.

ingests/<selection>/pages/NNNNNN.json    a page of the listing as the source gave it
ingests/<selection>/tracks/NNNNNN.json   the page's tracks, and its entries that have none
ingests/<selection>/generation.json      the generation that listed it last, where one did
ingests/<selection>.json                 the finished selection with its summary, written last
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from fadae.archive import Page, Source
from fadae.config import WhichFailures
from fadae.records import (
    Failure,
    FailureClass,
    FailureLine,
    FailureRecord,
    Track,
    canonical_json,
    sha256_hex,
)
from fadae.store import Location, Tombstones, paths


class SelectionTotals(TypedDict):
    """What a finished selection came to; in its file, `selection` says what was asked for."""

    keep_source: bool  # whether the original of every recording is kept
    ok: int
    transient: int
    permanent: int
    samples: int
    bytes: int  # of the sources' files
    failures: list[FailureLine]
    # Absent in selections of an earlier fadae, and where there was nothing to leave out:
    forgotten: NotRequired[int]
    excluded: NotRequired[int]
    licence: NotRequired[int]  # of the permanent ones, those that the policy keeps out
    filters: NotRequired[str]  # a digest of tombstones, exclusions and the policy of licences


@dataclass(frozen=True, slots=True)
class Listing:
    """One selection of one source in a workspace; its limit is for who draws its tracks."""

    location: Location
    source: Source
    limit: int | None = None
    erased: Tombstones = field(default_factory=Tombstones)  # of which no title is put down

    @property
    def selection(self) -> dict[str, object]:
        """What is asked for, JSON-able."""
        return {**self.source.selection(), "limit": self.limit}

    @property
    def path(self) -> str:
        """Where the listing lies in the workspace."""
        return paths.listing(sha256_hex(canonical_json(self.selection)))

    def forget(self) -> None:
        """Remove what is remembered, so that the source is asked again."""
        self.location.delete(f"{self.path}.json")
        self.location.delete(self.path)

    def refresh(self, generation: str | None) -> bool:
        """Forget what is remembered, once in each generation; return whether that was now."""
        path = f"{self.path}/generation.json"
        if generation is not None:
            wanted = canonical_json({"generation": generation}).encode()
            with contextlib.suppress(FileNotFoundError):
                if self.location.read_bytes(path) == wanted:
                    return False
        self.forget()
        if generation is not None:
            self.location.write_bytes(path, wanted)
        return True

    def listed(self) -> datetime | None:
        """Return when the source was asked, or None where nothing is remembered."""
        try:
            seconds = self.location.modified_seconds(f"{self.path}/pages/{0:06d}.json")
        except FileNotFoundError:
            return None
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) else None

    def finished(self) -> SelectionTotals | None:
        """Return the totals of the finished selection, or None."""
        try:
            state: SelectionTotals = json.loads(self.location.read_bytes(f"{self.path}.json"))
        except FileNotFoundError:
            return None
        return state

    def finish(self, totals: SelectionTotals) -> None:
        """Remember that every recording has its outcome."""
        state = {"selection": self.selection, **totals}
        self.location.write_bytes(f"{self.path}.json", canonical_json(state).encode())

    def tracks(self, retry: WhichFailures) -> Iterator[Track | Failure]:
        """Yield all tracks of the selection, each id once, and the entries that offer none.

        What is remembered is not asked again, but for entries whose failure is to be retried.
        Raises what the source's pages() raises.
        """
        seen: set[int] = set()  # of a million ids, about 70 MB
        yield from _distinct(self._found(retry), seen)

    def _found(self, retry: WhichFailures) -> Iterator[Track | Failure]:
        for page in self._pages():
            yield from self._tracks_of(page, retry)

    def _pages(self) -> Iterator[Page]:
        """Yield the remembered pages, then on from the last one what the source lists."""
        last: Page | None = None
        for name in self.location.names(f"{self.path}/pages"):
            last = Page.from_json(self.location.read_bytes(f"{self.path}/pages/{name}"))
            yield last
        if last is not None and last.is_last:
            return
        for page in self.source.pages(last):
            path = f"{self.path}/pages/{page.number:06d}.json"
            self.location.write_bytes(path, page.to_json().encode())
            yield page

    def _tracks_of(self, page: Page, retry: WhichFailures) -> Iterator[Track | Failure]:
        path = f"{self.path}/tracks/{page.number:06d}.json"
        try:
            known = json.loads(self.location.read_bytes(path))
        except FileNotFoundError:
            known = None
        if known is not None:
            failures = [_failure(values) for values in known["failures"]]
            if not any(retry.covers(failure) for failure in failures):
                yield from (Track.from_dict(values) for values in known["tracks"])
                yield from failures
                return
        yield from self._expand(page, path)

    def _expand(self, page: Page, path: str) -> Iterator[Track | Failure]:
        """Yield a page's tracks as the source tells them; remember them once all are told.

        A caller who has enough stops in the middle, and the source is asked no further.
        """
        tracks: list[dict[str, object]] = []
        failures: list[FailureRecord] = []
        for one in self.source.tracks(page):
            if isinstance(one, Track):
                is_erased = self.erased.match(one.id, one.item)
                tracks.append((one.bare if is_erased else one).to_dict())
            else:
                failures.append(_values(one))
            yield one
        text = canonical_json({"tracks": tracks, "failures": failures})
        self.location.write_bytes(path, text.encode())


def _distinct(found: Iterator[Track | Failure], seen: set[int]) -> Iterator[Track | Failure]:
    for one in found:
        digest = int(sha256_hex(one.id)[:16], 16)
        if digest not in seen:
            seen.add(digest)
            yield one


def _values(failure: Failure) -> FailureRecord:
    return {
        "id": failure.id,
        "class": failure.failure_class.value,
        "reason": failure.reason,
        "attempts": failure.attempts,
    }


def _failure(values: FailureRecord) -> Failure:
    kind = FailureClass(values["class"])
    return Failure(values["id"], kind, values["reason"], values["attempts"])
