"""The driver of stage 1: a selection's recordings, each ingested once, and their totals."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeVar

from fadae import metrics
from fadae.archive import ArchiveSource, FolderSource, Slot, Source
from fadae.cluster import ClusterSemaphore
from fadae.config import Settings, WhichFailures
from fadae.errors import NoInputError, TooManyFailedError, TransientError, UsageError
from fadae.logs import FewWarnings
from fadae.records import (
    Commit,
    Failure,
    FailureClass,
    FailureLine,
    Track,
    canonical_json,
    printable,
    sha256_hex,
)
from fadae.stages.ingest.listing import Listing, SelectionTotals
from fadae.stages.ingest.recording import Job, Outcome, ingest_recording
from fadae.store import (
    Location,
    Mapper,
    Tombstones,
    improve_commit,
    lines_of,
    map_serially,
    paths,
    read_tombstones,
)
from fadae.summaries import IngestSummary

log = logging.getLogger("fadae.ingest")

# Of so many recordings tried, more than half failing in passing is an outage, not bad luck.
OUTAGE_BATCH = 32

FAILURES_SHOWN = 1_000
# `--fail-over` judges no fewer recordings: the first ones may be bad luck.
FAIL_OVER_LEAST = 50
_COUNTS: tuple[Literal["ok", "transient", "permanent", "samples", "bytes"], ...] = (
    "ok",
    "transient",
    "permanent",
    "samples",
    "bytes",
)
Bound = TypeVar("Bound", int, str)


def ingest(
    workspace: Location | str,
    sources: Sequence[Source],
    settings: Settings | None = None,
    *,
    mapper: Mapper = map_serially,
) -> IngestSummary:
    """Ingest what the sources list and return the summary, what was done before included.

    Raises, each with the summary so far: TransientError while failures remain that may pass,
    NoInputError where nothing is usable, UsageError for a workspace of another sample rate,
    TooManyFailedError where more than `fail_over` of a source's recordings are quarantined.

    >>> done = fadae.ingest(new_workspace, [fadae.FolderSource(folder)])
    >>> done.ok, done.failed, done.quarantined, done.audio_seconds
    (2, 0, 0, 8.0)
    """
    location = Location.of(workspace)
    settings = settings or Settings()
    _ensure_rate(location, settings.rate_hz)
    for source in sources:
        _ensure_own_name(location, source)
    totals = IngestTotals(settings.rate_hz)
    left_out = LeftOut.of(location, settings)
    unkept: list[Failure] = []
    try:
        for source in sources:
            limit = None if settings.limit is None else settings.limit - totals.usable
            if limit == 0:
                break
            listing = Listing(location, source, limit, left_out.tombstones.erasing)
            unkept += _ingest_source(listing, settings, left_out, mapper, totals)
    except (TransientError, NoInputError, TooManyFailedError) as error:
        error.summary = totals.summary()
        raise
    if totals.quarantined and settings.retry not in (WhichFailures.PERMANENT, WhichFailures.ALL):
        log.info("%d quarantined: --retry permanent tries again", totals.quarantined)
    _judge(totals, unkept)
    return totals.summary()


def _judge(totals: IngestTotals, unkept: list[Failure]) -> None:
    """Raise what the command is to end with where not all is well."""
    if totals.failed:
        raise TransientError(
            f"{totals.failed} of {totals.recordings} recordings failed for a passing reason "
            f"({totals.first(FailureClass.TRANSIENT)}); run the same command again",
            totals.summary(),
        )
    if passing := [failure for failure in unkept if _passes(failure)]:
        raise TransientError(
            f"{len(passing)} original files could not be kept for a passing reason "
            f"({passing[0].id}: {passing[0].reason}); run the same command again",
            totals.summary(),
        )
    if not totals.ok:
        none = f"{totals.left_out} forgotten or excluded" if totals.left_out else ""
        reason = totals.first(FailureClass.PERMANENT) or none or "nothing was listed"
        raise NoInputError(f"no usable recording: {reason}", totals.summary())


def _ensure_rate(location: Location, rate_hz: int) -> None:
    """Bind the workspace to one sample rate, or hold it to the one it has."""
    there = _bound(location, paths.RATE, "sample_rate_hz", rate_hz)
    if there != rate_hz:
        raise UsageError(
            f"workspace {location.url} holds recordings at {there} Hz; this call asks for "
            f"{rate_hz} Hz. Use another workspace or --sample-rate {there}."
        )


def _ensure_own_name(location: Location, source: Source) -> None:
    """Refuse a folder named like another one here: their recordings' ids would be the same."""
    if not isinstance(source, FolderSource):
        return
    path = paths.folder_name(source.item)
    there = _bound(location, path, "folder", source.url)
    if there != source.url:
        raise UsageError(
            f"this workspace has recordings of {there} under the name {source.item!r}; "
            f"those of {source.url} would have the same ids. Rename the folder, or use another "
            "workspace."
        )


def _bound(location: Location, path: str, name: str, value: Bound) -> Bound:
    """Return what the workspace is bound to at a path: the value, unless one was there before."""
    if not location.exists(path):
        location.create_exclusive(path, canonical_json({name: value}).encode())
    there: Bound = json.loads(location.read_bytes(path))[name]
    return there


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not to be ingested, whatever is listed: forgotten, or excluded by this call."""

    tombstones: Tombstones
    excluded: Tombstones
    filters: str  # a digest of both, and of the policy of licences; empty without any

    @classmethod
    def of(cls, location: Location, settings: Settings) -> Self:
        """Return what a workspace and a call leave out."""
        tombstones = read_tombstones(location)
        excluded = lines_of(settings.exclude, "excluded")
        told = [[one.path for one in some.every] for some in (tombstones, excluded)]
        policy = None if settings.licence is None else str(settings.licence)
        some = bool(tombstones or excluded or policy)
        return cls(tombstones, excluded, sha256_hex(canonical_json([told, policy])) if some else "")

    def kept(
        self, found: Iterable[Track | Failure], totals: IngestTotals
    ) -> Iterator[Track | Failure]:
        """Yield what is not left out, and count what is."""
        for one in found:
            item = one.item if isinstance(one, Track) else one.id.partition("/")[0]
            if self.tombstones.match(one.id, item):
                totals.add_left_out("forgotten")
            elif self.excluded.match(one.id, item):
                totals.add_left_out("excluded")
            else:
                yield one


def _ingest_source(
    listing: Listing,
    settings: Settings,
    left_out: LeftOut,
    mapper: Mapper,
    total: IngestTotals,
) -> list[Failure]:
    """Ingest one source's selection and add it to the total, also where it ends in an error.

    Return why originals of recordings that are there could not be kept.
    """
    refreshed = settings.refresh and listing.refresh(settings.generation)
    if not refreshed and (listed := listing.listed()):
        log.info("listing of %s; --refresh lists again", _moment(listed))
    if not refreshed and (known := _finished(listing, settings, left_out)) is not None:
        total.merge(known)
        _ensure_few_quarantined(known, settings)
        return []
    totals, unkept = IngestTotals(settings.rate_hz), list[Failure]()
    passing = _PassingFailures(listing.location)
    try:
        for outcome in _outcomes(listing, settings, left_out, mapper, totals, passing):
            totals.add(outcome.commit)
            unkept += [outcome.tried] if outcome.tried else []
            passing.see(outcome)
            _ensure_few_quarantined(totals, settings)
        passing.record()
    finally:
        passing.told.tell()
        total.merge(totals)
    if not totals.failed:
        kept = settings.keep_source and not unkept
        listing.finish(totals.record(keep_source=kept, filters=left_out.filters))
    return unkept


def _ensure_few_quarantined(totals: IngestTotals, settings: Settings) -> None:
    """Raise TooManyFailedError where too many are quarantined; every commit there is stays."""
    # What a policy keeps out says nothing of how the others fare.
    share, tried = settings.fail_over, totals.recordings - totals.of_licence
    failed = totals.quarantined - totals.of_licence
    if share is None or tried < FAIL_OVER_LEAST or failed <= share * tried:
        return
    raise TooManyFailedError(
        f"{failed} of {tried} recordings are quarantined, more than --fail-over "
        f"{100 * share:g}% ({totals.first(FailureClass.PERMANENT)}); what is ingested stays: see "
        "`fadae info`, then run the same command with a higher --fail-over to go on"
    )


def _outcomes(
    listing: Listing,
    settings: Settings,
    left_out: LeftOut,
    mapper: Mapper,
    totals: IngestTotals,
    passing: _PassingFailures,
) -> Iterator[Outcome]:
    """Yield the outcomes of a selection: of all it lists, or until its limit of usable ones.

    With a limit it goes by rounds, each as long as what is missing: so the shortest beginning of
    the listing with so many usable recordings is asked for, in whatever order they finish.
    """
    unit = functools.partial(ingest_recording, job=_job(listing, settings))
    found = left_out.kept(listing.tracks(settings.retry), totals)
    missing = listing.limit
    while missing != 0:
        before = totals.recordings
        tracks = _tracks(itertools.islice(found, missing), totals, passing)
        yield from mapper(unit, tracks, label="ingest", unit="recordings")
        if missing is None or totals.recordings - before < missing:
            return
        missing = max(0, (listing.limit or 0) - totals.usable)


def _moment(time: datetime) -> str:
    """Return a time of today as 17:14, any other with its date, both local."""
    local = time.astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")


def _finished(listing: Listing, settings: Settings, left_out: LeftOut) -> IngestTotals | None:
    """Return the totals of a finished selection with nothing left to do, or None."""
    state = listing.finished()
    if state is None or (settings.keep_source and not state["keep_source"]):
        return None
    if state.get("filters", "") != left_out.filters:  # others may be wanted now
        return None
    totals = IngestTotals.of_record(settings.rate_hz, state)
    again = settings.retry in (WhichFailures.PERMANENT, WhichFailures.ALL)
    return None if again and totals.quarantined else totals


def _job(listing: Listing, settings: Settings) -> Job:
    slot: Slot = contextlib.nullcontext
    if isinstance(listing.source, ArchiveSource):
        slot = ClusterSemaphore(f"fadae downloads from {listing.source.url}", settings.downloads)
    return Job(
        listing.location,
        listing.source,
        settings.rate_hz,
        settings.limits,
        keep_source=settings.keep_source,
        keep_damaged=settings.keep_damaged,
        retry=settings.retry,
        licence=settings.licence,
        slot=slot,
    )


def _tracks(
    found: Iterable[Track | Failure], totals: IngestTotals, passing: _PassingFailures
) -> Iterator[Track]:
    """Yield the tracks; entries that offer none are failures of the selection already."""
    for one in found:
        if isinstance(one, Track):
            yield one
        else:
            totals.add_failure(one)
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
        self.told = FewWarnings(log, "recordings failed")

    def see(self, outcome: Outcome) -> None:
        """Take a recording's outcome; raises TransientError where a batch shows an outage."""
        if outcome.fresh:
            failure = outcome.tried or outcome.commit.failure
            if failure is None and outcome.commit.decoded is not None:
                metrics.count("fadae_bytes_total", "ingest", outcome.commit.decoded.source_bytes)
            if outcome.commit.failure is not None and _passes(failure):
                self._commits.append(outcome.commit)
            self.count(failure, "downloads")

    def count(self, failure: Failure | None, kind: str = "listings") -> None:
        """Count something tried; raises TransientError where a batch shows an outage."""
        self._tried += 1
        if failure is not None:
            self._tell(failure)
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

    def _tell(self, failure: Failure) -> None:
        """Warn of a failure at once, where few have failed: most are told by the workers' logs."""
        metrics.count("fadae_units_failed_total", "ingest")
        kind, shown = failure.failure_class.value, printable(failure.id)
        fields = {"recording": failure.id, "class": kind, "reason": failure.reason}
        self.told.warn("failed (%s) %s: %s", kind, shown, failure.reason, **fields)

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


class IngestTotals:
    """Counts by outcome, in whole numbers: the order of the outcomes changes nothing."""

    def __init__(self, rate_hz: int) -> None:
        """Begin with nothing; samples are counted at rate_hz."""
        self._rate_hz = rate_hz
        self._counts: Counter[str] = Counter()
        self._failures: list[FailureLine] = []

    @property
    def ok(self) -> int:
        """Recordings decoded and staged."""
        return self._counts["ok"]

    @property
    def failed(self) -> int:
        """Recordings that may be had later."""
        return self._counts["transient"]

    @property
    def quarantined(self) -> int:
        """Recordings that will never be had."""
        return self._counts["permanent"]

    @property
    def usable(self) -> int:
        """Recordings that are there or may yet be: what a limit counts."""
        return self.ok + self.failed

    @property
    def of_licence(self) -> int:
        """Those quarantined whose licence the policy does not admit."""
        return self._counts["licence"]

    @property
    def left_out(self) -> int:
        """Recordings that were listed and are forgotten or excluded."""
        return self._counts["forgotten"] + self._counts["excluded"]

    @property
    def recordings(self) -> int:
        """All of them but those left out."""
        return self.ok + self.failed + self.quarantined

    def add(self, commit: Commit) -> None:
        """Count a recording."""
        if commit.failure is not None:
            self.add_failure(commit.failure)
        elif commit.decoded is not None:
            self._counts["ok"] += 1
            self._counts["samples"] += commit.decoded.samples
            self._counts["bytes"] += commit.decoded.source_bytes

    def add_left_out(self, why: Literal["forgotten", "excluded"]) -> None:
        """Count a recording that is not asked for."""
        self._counts[why] += 1

    def add_failure(self, failure: Failure) -> None:
        """Count a recording or a whole entry that is not there."""
        kind = failure.failure_class.value
        self._counts[kind] += 1
        self._counts["licence"] += failure.is_of_licence
        if len(self._failures) < FAILURES_SHOWN:
            self._failures.append({"id": failure.id, "class": kind, "reason": failure.reason})

    def merge(self, other: IngestTotals) -> None:
        """Add another's totals."""
        self._counts.update(other._counts)
        self._failures = (self._failures + other._failures)[:FAILURES_SHOWN]

    def first(self, kind: FailureClass) -> str:
        """Return an example of a failure of this class, for a message; empty if there is none."""
        found = (f for f in self.summary().failures if f["class"] == kind.value)
        return next((f"{failure['id']}: {failure['reason']}" for failure in found), "")

    def summary(self) -> IngestSummary:
        """Return the totals as the command prints them."""
        # Outcomes come in any order: sorted, two runs print the same.
        failures = sorted(self._failures, key=lambda failure: failure["id"])
        return IngestSummary(
            recordings=self.recordings,
            ok=self.ok,
            failed=self.failed,
            quarantined=self.quarantined,
            audio_seconds=self._counts["samples"] / self._rate_hz,
            bytes=self._counts["bytes"],
            forgotten=self._counts["forgotten"],
            excluded=self._counts["excluded"],
            failures=[
                {"id": one["id"], "class": one["class"], "reason": one["reason"]}
                for one in failures
            ],
        )

    def record(self, *, keep_source: bool, filters: str = "") -> SelectionTotals:
        """Return what a finished selection remembers; `of_record` reads it back."""
        counts = self._counts
        told: SelectionTotals = {
            "keep_source": keep_source,
            "ok": counts["ok"],
            "transient": counts["transient"],
            "permanent": counts["permanent"],
            "samples": counts["samples"],
            "bytes": counts["bytes"],
            "failures": self._failures,
        }
        if filters:
            told["filters"] = filters
            told["forgotten"], told["excluded"] = counts["forgotten"], counts["excluded"]
            told["licence"] = counts["licence"]
        return told

    @classmethod
    def of_record(cls, rate_hz: int, record: SelectionTotals) -> Self:
        """Return the totals that `record` told."""
        totals = cls(rate_hz)
        totals._counts.update({name: record[name] for name in _COUNTS})
        totals._counts["forgotten"] = record.get("forgotten", 0)
        totals._counts["excluded"] = record.get("excluded", 0)
        totals._counts["licence"] = record.get("licence", 0)
        totals._failures = record["failures"]
        return totals
