"""The driver of stage 1: a selection's recordings, each ingested once, and what came of them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fadae.archive.folder import FolderSource
from fadae.archive.items import ArchiveSource
from fadae.archive.source import Source, Turn
from fadae.audio.terms import Limits
from fadae.cluster import Turns
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.ingest.listing import Listing
from fadae.ingest.recording import Job, Outcome, Retry, ingest_recording
from fadae.ingest.tally import Tally
from fadae.nouns import Commit, Failure, FailureClass, Track, canonical_json
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.staging import improve_commit, recording_key

log = logging.getLogger("fadae.ingest")

RATE_PATH = "staging/rate.json"
# Of so many recordings tried, more than half failing in passing is an outage, not bad luck.
OUTAGE_BATCH = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """How to ingest, whatever the selection."""

    rate_hz: int = 11025
    downloads: int = 4
    """Transfers from the archive at a time, over the whole cluster."""
    limit: int | None = None
    """At most so many usable recordings, over all sources, in the order of their listings.

    What is quarantined does not count: the next of the listing comes in its place. What failed in
    passing does: it may be had by the next call."""
    keep_source: bool = False
    keep_damaged: bool = False
    retry: Retry = Retry.TRANSIENT
    refresh: bool = False
    limits: Limits = field(default_factory=Limits)


def ingest(
    location: Location,
    sources: Sequence[Source],
    settings: Settings | None = None,
    *,
    mapper: Mapper = map_serially,
) -> dict[str, Any]:
    """Ingest what the sources list and return the summary, what was done before included.

    Keys: recordings, ok, failed (transient), quarantined (permanent), audio_seconds, bytes (of the
    sources' files), failures [{id, class, reason}].

    Raises, each with the summary so far: TransientError while failures remain that may pass,
    NoInputError where nothing is usable, UsageError for a workspace of another sample rate.
    """
    settings = settings or Settings()
    _ensure_rate(location, settings.rate_hz)
    for source in sources:
        _ensure_own_name(location, source)
    tally = Tally(settings.rate_hz)
    unkept: list[Failure] = []
    try:
        for source in sources:
            limit = None if settings.limit is None else settings.limit - tally.usable
            if limit == 0:
                break
            unkept += _ingest_source(Listing(location, source, limit), settings, mapper, tally)
    except (TransientError, NoInputError) as error:
        error.summary = tally.summary()
        raise
    if tally.quarantined and settings.retry not in (Retry.PERMANENT, Retry.ALL):
        log.info("%d quarantined: --retry permanent tries again", tally.quarantined)
    _judge(tally, unkept)
    return tally.summary()


def _judge(tally: Tally, unkept: list[Failure]) -> None:
    """Raise what the command is to end with where not all is well."""
    if tally.failed:
        raise TransientError(
            f"{tally.failed} of {tally.recordings} recordings failed for a passing reason "
            f"({tally.first(FailureClass.TRANSIENT)}); run the same command again",
            tally.summary(),
        )
    if passing := [failure for failure in unkept if _passes(failure)]:
        raise TransientError(
            f"{len(passing)} original files could not be kept for a passing reason "
            f"({passing[0].id}: {passing[0].reason}); run the same command again",
            tally.summary(),
        )
    if not tally.ok:
        reason = tally.first(FailureClass.PERMANENT) or "nothing was listed"
        raise NoInputError(f"no usable recording: {reason}", tally.summary())


def _ensure_rate(location: Location, rate_hz: int) -> None:
    """Bind the workspace to one sample rate, or hold it to the one it has."""
    there = _bound(location, RATE_PATH, {"sample_rate_hz": rate_hz})["sample_rate_hz"]
    if there != rate_hz:
        raise UsageError(
            f"workspace {location.url} holds recordings at {there} Hz; this call asks for "
            f"{rate_hz} Hz. Use another workspace or --sample-rate {there}."
        )


def _ensure_own_name(location: Location, source: Source) -> None:
    """Refuse a folder named like another one here: their recordings' ids would be the same."""
    if not isinstance(source, FolderSource):
        return
    path = f"ingests/folders/{recording_key(source.item)}.json"
    there = _bound(location, path, {"folder": source.url})["folder"]
    if there != source.url:
        raise UsageError(
            f"this workspace has recordings of {there} under the name {source.item!r}; "
            f"those of {source.url} would have the same ids. Rename the folder, or use another "
            "workspace."
        )


def _bound(location: Location, path: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return what the workspace is bound to at a path: the value, unless one was there before."""
    if not location.exists(path):
        location.create_exclusive(path, canonical_json(value).encode())
    there: dict[str, Any] = json.loads(location.read_bytes(path))
    return there


def _ingest_source(
    listing: Listing, settings: Settings, mapper: Mapper, total: Tally
) -> list[Failure]:
    """Ingest one source's selection and add it to the total, also where it ends in an error.

    Return why originals of recordings that are there could not be kept.
    """
    if settings.refresh:
        listing.forget()
    elif listed := listing.listed():
        log.info("listing of %s; --refresh lists again", _moment(listed))
    if not settings.refresh and (known := _finished(listing, settings)) is not None:
        total.merge(known)
        return []
    tally, unkept = Tally(settings.rate_hz), list[Failure]()
    passing = _PassingFailures(listing.location)
    try:
        for outcome in _outcomes(listing, settings, mapper, tally, passing):
            tally.add(outcome.commit)
            unkept += [outcome.tried] if outcome.tried else []
            passing.see(outcome)
        passing.record()
    finally:
        total.merge(tally)
    if not tally.failed:
        kept = settings.keep_source and not unkept
        listing.finish({"keep_source": kept, **tally.to_dict()})
    return unkept


def _outcomes(
    listing: Listing, settings: Settings, mapper: Mapper, tally: Tally, passing: _PassingFailures
) -> Iterator[Outcome]:
    """Yield the outcomes of a selection: of all it lists, or until its limit of usable ones.

    With a limit it goes by rounds, each as long as what is missing: so the shortest beginning of
    the listing with so many usable recordings is asked for, in whatever order they finish.
    """
    unit = functools.partial(ingest_recording, job=_job(listing, settings))
    found = listing.tracks(settings.retry)
    missing = listing.limit
    while missing != 0:
        before = tally.recordings
        tracks = _tracks(itertools.islice(found, missing), tally, passing)
        yield from mapper(unit, tracks, label="ingest", unit="recordings")
        if missing is None or tally.recordings - before < missing:
            return
        missing = max(0, (listing.limit or 0) - tally.usable)


def _moment(time: datetime) -> str:
    """Return a time of today as 17:14, any other with its date, both local."""
    local = time.astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def _finished(listing: Listing, settings: Settings) -> Tally | None:
    """Return the totals of a finished selection with nothing left to do, or None."""
    state = listing.finished()
    if state is None or (settings.keep_source and not state["keep_source"]):
        return None
    tally = Tally.from_dict(settings.rate_hz, state)
    again = settings.retry in (Retry.PERMANENT, Retry.ALL)
    return None if again and tally.quarantined else tally


def _job(listing: Listing, settings: Settings) -> Job:
    turn: Turn = contextlib.nullcontext
    if isinstance(listing.source, ArchiveSource):
        turn = Turns(f"fadae downloads from {listing.source.url}", settings.downloads)
    return Job(
        listing.location, listing.source, settings.rate_hz, settings.limits,
        keep_source=settings.keep_source, keep_damaged=settings.keep_damaged,
        retry=settings.retry, turn=turn,
    )  # fmt: skip


def _tracks(
    found: Iterable[Track | Failure], tally: Tally, passing: _PassingFailures
) -> Iterator[Track]:
    """Yield the tracks; entries that offer none are failures of the selection already."""
    for one in found:
        if isinstance(one, Track):
            yield one
        else:
            log.warning("failed (%s) %s: %s", one.failure_class.value, one.id, one.reason)
            tally.add_failure(one)
            passing.count(one)


class _PassingFailures:
    """Transient failures, put on record only when most recordings do not fail so.

    When most do, the archive is out: nothing is marked, and a long job ends early.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._commits: list[Commit] = []
        self._tried = self._failed = 0
        self._kinds: Counter[str] = Counter()
        self._reason = ""

    def see(self, outcome: Outcome) -> None:
        """Take a recording's outcome; raises TransientError where a batch shows an outage."""
        if outcome.fresh:
            failure = outcome.tried or outcome.commit.failure
            if outcome.commit.failure is not None and _passes(failure):
                self._commits.append(outcome.commit)
            self.count(failure, "downloads")

    def count(self, failure: Failure | None, kind: str = "listings") -> None:
        """Count something tried; raises TransientError where a batch shows an outage."""
        self._tried += 1
        if failure is not None and _passes(failure):
            self._failed += 1
            self._kinds[kind] += 1
            self._reason = f"{failure.id}: {failure.reason}"
        if self._tried >= OUTAGE_BATCH:
            if 2 * self._failed > self._tried:
                kinds = " and ".join(f"{n} {kind}" for kind, n in sorted(self._kinds.items()))
                raise TransientError(
                    f"{kinds} of {self._tried} tried in a row failed for a passing reason "
                    f"({self._reason}): an outage; nothing was marked, run the same command later"
                )
            self.record()

    def record(self) -> None:
        """Write the failures down, unless most of what was tried failed."""
        if 2 * self._failed <= self._tried:
            for commit in self._commits:
                improve_commit(self._location, commit)
        self._commits.clear()
        self._kinds.clear()
        self._tried = self._failed = 0


def _passes(failure: Failure | None) -> bool:
    return failure is not None and failure.failure_class is FailureClass.TRANSIENT
