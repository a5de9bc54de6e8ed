"""The unit of work: one recording fetched, decoded, staged and committed; runs without Dask."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from fadae import tracing
from fadae._version import __version__
from fadae.archive import ArchiveSource, Slot, Source, clean_text, clean_url
from fadae.audio import borrowed
from fadae.config import Limits, WhichFailures
from fadae.errors import PermanentFailure, RecordingFailure
from fadae.licences import LicencePolicy, shown
from fadae.logs import FIELDS_KEY
from fadae.records import Commit, Decoded, Failure, FailureClass, Track, printable
from fadae.store import Location, improve_commit, pcm_path, read_commit, source_path, write_commit

log = logging.getLogger("fadae.ingest")


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all recordings of a call: small, picklable."""

    location: Location
    source: Source
    rate_hz: int
    limits: Limits = field(default_factory=Limits)
    keep_source: bool = False
    keep_damaged: bool = False
    retry: WhichFailures = WhichFailures.TRANSIENT
    licence: LicencePolicy | None = None
    slot: Slot = contextlib.nullcontext
    """The context of a transfer: the cluster-wide limit on them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recording; `fresh` unless an earlier call had done it."""

    commit: Commit
    fresh: bool
    tried: Failure | None = None
    """Why a recording that is there already could not be had once more."""


def ingest_recording(track: Track, job: Job) -> Outcome:
    """Return the outcome of one recording, its PCM and then its commit written.

    A pure function of the source's bytes and the job: run twice it writes the same bytes. A
    recording that cannot be had is a value. Its commit is written here where the failure is
    permanent; a transient one is left to the driver, which sees whether everything fails.
    """
    tracing.annotate(tracing.RECORDING, track.id)
    before = read_commit(job.location, track.id)
    if before is not None and not _is_wanted(before, job):
        return Outcome(before, fresh=False)
    if (kept_out := _kept_out(track, before, job)) is not None:
        return kept_out
    started = time.monotonic()
    try:
        commit = _ingest(track, before, job)
    except RecordingFailure as error:
        return _failed(track, before, job, error, time.monotonic() - started)
    if (kept_out := _kept_out(commit.track, before, job, decoded=True)) is not None:
        job.location.delete_many([pcm_path(track.id), source_path(track.id)])
        return kept_out
    write_commit(job.location, commit)
    _log(commit, time.monotonic() - started)
    return Outcome(commit, fresh=True)


def _kept_out(
    track: Track, before: Commit | None, job: Job, *, decoded: bool = False
) -> Outcome | None:
    """Return the outcome of a recording whose licence is not admitted; None where it is.

    The archive's word is taken before anything is fetched; elsewhere, where the source says
    nothing, the tags of the file are, once it is decoded. What is there already stays.
    """
    told = decoded or bool(track.licence) or isinstance(job.source, ArchiveSource)
    has = before is not None and before.decoded is not None
    if job.licence is None or has or not told or job.licence.admits(track.licence):
        return None
    why = f"{shown(track.licence)} is none of {job.licence}; a wider --licence takes it"
    failure = Failure.of_licence(track.id, why)
    commit = improve_commit(job.location, Commit(track, failure=failure, fadae_version=__version__))
    _log(commit, 0.0)
    return Outcome(commit, fresh=True)


def _failed(
    track: Track, before: Commit | None, job: Job, error: RecordingFailure, seconds: float
) -> Outcome:
    """Return the outcome of a recording that could not be had; what is there already stands."""
    attempts = before.failure.attempts if before and before.failure else 0
    failure = Failure.of(track.id, error, attempts + error.attempts)
    commit = Commit(track, failure=failure, fadae_version=__version__)
    _log(commit, seconds)
    if before is not None and before.decoded is not None:
        log.warning(
            "%s: its decoded samples stay as they are",
            printable(track.id),
            extra={FIELDS_KEY: {"recording": track.id}},
        )
        return Outcome(before, fresh=True, tried=failure)
    if failure.failure_class is FailureClass.PERMANENT:
        commit = improve_commit(job.location, commit)
    return Outcome(commit, fresh=True)


def _is_wanted(before: Commit, job: Job) -> bool:
    """Return whether a recording with a commit is to be ingested (again)."""
    if before.failure is not None and before.failure.is_of_licence:
        policy = job.licence
        return policy is None or policy.admits(before.track.licence)
    if before.failure is not None:
        return job.retry.covers(before.failure)
    return job.keep_source and not before.kept_source


def _ingest(track: Track, before: Commit | None, job: Job) -> Commit:
    with tempfile.TemporaryDirectory(prefix="fadae-ingest-") as folder:
        # A name of ours, without the extension: the content alone says what it is.
        file = Path(folder) / "source"
        with job.slot():
            job.source.fetch(track, file)
        if before is not None and before.decoded is not None:
            # Decoded already: only its source is wanted, and only that one.
            if _sha1(file) != before.decoded.source_sha1:
                raise PermanentFailure("the source has changed since it was ingested")
            _keep(track, file, job.location)
            return dataclasses.replace(before, kept_source=True)
        decoded, tags = _stage(track, file, job)
        if job.keep_source:
            _keep(track, file, job.location)
    described = with_tags(track, tags)
    return Commit(described, decoded, kept_source=job.keep_source, fadae_version=__version__)


def with_tags(track: Track, tags: dict[str, str]) -> Track:
    """Return a track with its file's own tags where the source says nothing of it.

    A title made of the file's name counts as nothing. Tags are hostile text: they are cleaned.

    >>> with_tags(Track("item", "01.ogg", "01"), {"title": "A\x1b[31mir", "artist": "Bach"}).title
    'A [31mir'
    """
    has_title = track.title not in ("", clean_text(PurePosixPath(track.file).stem))
    licences = (
        clean_url(tags.get("license")),
        *(clean_text(tags.get(name)) for name in ("license", "copyright")),
    )
    return dataclasses.replace(
        track,
        title=track.title if has_title else clean_text(tags.get("title")) or track.title,
        creator=track.creator or clean_text(tags.get("artist")),
        licence=track.licence or next(filter(None, licences), ""),
    )


def _stage(track: Track, file: Path, job: Job) -> tuple[Decoded, dict[str, str]]:
    """Decode a file into the staging area and return its tags too.

    The PCM appears whole or not at all.
    """
    with borrowed() as sandbox, job.location.writing(pcm_path(track.id)) as target:
        hashing = _Hashing(target)
        source = sandbox.decode(
            file, job.rate_hz, job.limits, hashing.write, keep_damaged=job.keep_damaged
        )
    if source.damage:
        log.warning(
            "%s: damaged %s; it is kept up to there",
            printable(track.id),
            source.damage,
            extra={FIELDS_KEY: {"recording": track.id}},
        )
    decoded = Decoded(
        rate_hz=job.rate_hz,
        samples=hashing.count_bytes // 2,
        pcm_sha256=hashing.sha256,
        source_rate_hz=source.rate_hz,
        source_channels=source.channels,
        source_bytes=file.stat().st_size,
        source_sha1=_sha1(file),
    )
    return decoded, source.tags


def _sha1(file: Path) -> str:
    with file.open("rb") as original:
        return hashlib.file_digest(original, "sha1").hexdigest()


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._sha256 = hashlib.sha256()
        self.count_bytes = 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self.count_bytes += len(data)
        return self._target.write(data)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def _keep(track: Track, file: Path, location: Location) -> None:
    with file.open("rb") as original, location.writing(source_path(track.id)) as target:
        while part := original.read(1 << 20):
            target.write(part)


def _log(commit: Commit, seconds: float) -> None:
    """Say what became of a recording; which worker says so is in the line's prefix."""
    fields: dict[str, object] = {"recording": commit.id, "seconds": round(seconds, 3)}
    if commit.decoded is not None:
        audio_seconds = commit.decoded.seconds
        log.info(
            "ingested %s: %.1f s of audio in %.2f s",
            printable(commit.id),
            audio_seconds,
            seconds,
            extra={FIELDS_KEY: {**fields, "audio_seconds": round(audio_seconds, 3)}},
        )
    elif commit.failure is not None:
        kind, reason = commit.failure.failure_class.value, commit.failure.reason
        # The driver warns, of few at once; here is every one, and which worker had it.
        log.info(
            "not ingested (%s) %s in %.2f s: %s",
            kind,
            printable(commit.id),
            seconds,
            reason,
            extra={FIELDS_KEY: {**fields, "class": kind, "reason": reason}},
        )
