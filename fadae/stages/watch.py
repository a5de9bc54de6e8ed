"""Watching a folder: new files are ingested, extracted and, for a run, encoded as they come.

A look lists the folder and asks the workspace nothing. A file is taken when two looks saw it with
the same size and time. What was taken is known by the workspace itself: killed anywhere, the next
watch finds what is not published, and the stages finish what was begun.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from fadae.archive import FolderSource, Page
from fadae.arrays import Array
from fadae.config import ExtractConfig, Settings, WhichFailures
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.records import batched, sha256_hex
from fadae.stages.extract import extract
from fadae.stages.ingest import Listing, ingest
from fadae.store import (
    FEATURES,
    FrameStore,
    Location,
    Mapper,
    PublishedRecordings,
    lines_of,
    paths,
    read_tombstones,
)
from fadae.summaries import IngestSummary, WatchSummary

log = logging.getLogger("fadae.watch")

HEARTBEAT_SECONDS = 600.0
_SLICE_SECONDS = 1.0  # of a pause, between looks whether it is to end
FILES_AT_ONCE = 1000  # ingested together; what one look found is published together
_PAGE_FILES = 100


@dataclass(frozen=True, slots=True)
class WatchedFiles(FolderSource):
    """Some files of a folder. Tasks fetch by name: what travels to them is the folder."""

    names: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type[FolderSource], tuple[Any, ...]]:
        """Pickle as the whole folder."""
        return FolderSource, (self.url, self.request_policy, self.follow_links)

    def selection(self) -> dict[str, object]:
        """Return what is asked for."""
        return {"source": "files", "url": self.url, "names": digest("\n".join(self.names))}

    def pages(self, after: Page | None = None) -> Iterator[Page]:
        """Yield the names in pages of 100, from the first on: a listing is made anew each time."""
        starts = range(0, len(self.names), _PAGE_FILES)
        for number, start in enumerate(starts):
            entries = self.names[start : start + _PAGE_FILES]
            is_last = start + _PAGE_FILES >= len(self.names)
            yield Page(number, entries, "" if is_last else entries[-1])


@dataclass(frozen=True, slots=True)
class Files:
    """Files by a digest of their names, rising, and a digest of what tells their version.

    16 bytes a file, whatever it is called.
    """

    names: Array = field(default_factory=lambda: np.empty(0, np.uint64))
    versions: Array = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(cls, found: Sequence[tuple[str, str]]) -> Self:
        """Return files by their names and versions."""
        names = np.array([digest(name) for name, _ in found], np.uint64)
        versions = np.array([digest(version) for _, version in found], np.uint64)
        order = np.argsort(names)
        return cls(names[order], versions[order])

    def __len__(self) -> int:
        return len(self.names)

    def has(self, others: Files) -> Array:
        """Return which of some files are among these by name, bool."""
        return np.isin(others.names, self.names)

    def agree(self, others: Files) -> Array:
        """Return which of some files are among these in the same version, bool."""
        if not len(self):
            return np.zeros(len(others), bool)
        at = np.searchsorted(self.names, others.names).clip(max=len(self) - 1)
        return np.asarray((self.names[at] == others.names) & (self.versions[at] == others.versions))

    def chosen(self, which: Array) -> Files:
        """Return some of these."""
        return Files(self.names[which], self.versions[which])

    def including(self, others: Files) -> Files:
        """Return these and others, whose versions count."""
        kept = self.chosen(~np.isin(self.names, others.names))
        names = np.concatenate([kept.names, others.names])
        order = np.argsort(names)
        return Files(names[order], np.concatenate([kept.versions, others.versions])[order])


def digest(text: str) -> int:
    """Return the number that stands for a text."""
    return int(sha256_hex(text)[:16], 16)


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """What to watch and what becomes of it."""

    source: FolderSource
    settings: Settings
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    run: str | None = None  # that encodes what is new
    device: str = "auto"
    every_seconds: float = 30.0
    until_idle: bool = False  # end when all is taken that is there


class Watch:
    """One watch over a folder."""

    def __init__(
        self,
        location: Location,
        config: WatchConfig,
        open_mapper: Callable[[], AbstractContextManager[Mapper]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the workspace, and what opens a cluster: one lives no longer than it works."""
        self.location, self.config = location, config
        self._open_mapper, self._stopping = open_mapper, stopping
        self._seen, self._done = Files(), Files()
        self._summary = WatchSummary(folder=config.source.url)
        self._told_seconds = time.monotonic()

    def run(self) -> WatchSummary:
        """Watch until stopped, or idle where that is asked; return what came of it.

        Raises UsageError for a folder that is not there at first, and, of a watch until idle,
        TransientError where files are left that failed for a passing reason.
        """
        self._begin()
        while not self._stopping():
            is_idle = self._look()
            self._beat()
            if self.config.until_idle and is_idle:
                break
            self._pause()
        left = self._summary.failed
        if self.config.until_idle and left and not self._stopping():
            raise TransientError(
                f"{left} files failed for a passing reason; run the same command again",
                self._summary,
            )
        log.info("watched %s: %s", self.config.source.url, _told(self._summary))
        return self._summary

    def _begin(self) -> None:
        """Finish what an earlier watch began; know what is published."""
        if self.config.run is not None and not self.location.exists(
            paths.run_path(self.config.run, "model.safetensors")
        ):
            raise UsageError(f"run {self.config.run!r} has no model: `fadae train` makes one")
        found = self._found()
        if self.location.names(""):
            self._guarded(self._publish)
        store = FrameStore.find(self.location, FEATURES)
        if store is not None and found:
            item = self.config.source.item
            keys = {paths.recording_key(f"{item}/{one[0]}"): one for one in found}
            known = PublishedRecordings(store).published_keys(keys)
            self._done = Files.of([keys[key] for key in known])
        url, known_files = self.config.source.url, len(self._done)
        log.info("watching %s: %d files, %d of them published", url, len(found), known_files)

    def _found(self) -> list[tuple[str, str]]:
        return list(self.config.source.versions())

    def _look(self) -> bool:
        """Look once and take what is whole; return whether nothing is left to wait for."""
        try:
            found = self._found()
        except (UsageError, TransientError) as error:  # it was there at first: it may come back
            log.warning("%s: looking again in %g s", error, self.config.every_seconds)
            return False
        files = Files.of(found)
        ready = files.chosen(self._seen.agree(files) & ~self._done.agree(files))
        waiting = len(files) - int(self._done.agree(files).sum()) - len(ready)
        self._seen = files
        self._summary = dataclasses.replace(self._summary, looks=self._summary.looks + 1)
        if len(ready):
            known = set(ready.names.tolist())
            names = [name for name, _ in found if digest(name) in known]
            self._guarded(lambda: self._take(names, ready))
            return False
        return waiting == 0

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do a step; where it fails for a passing reason, say so: the next look tries again."""
        try:
            step()
        except TransientError as error:
            log.warning("%s; trying again in %g s", error, self.config.every_seconds)

    def _take(self, names: Sequence[str], ready: Files) -> None:
        """Ingest files that are whole, by their names, then publish them together."""
        wanted = self._wanted(names)
        left_out = len(names) - len(wanted)
        known = set(ready.chosen(self._done.has(ready)).names.tolist())  # in another version
        fresh = [name for name in wanted if digest(name) not in known]
        changed = [name for name in wanted if digest(name) in known]
        # One that could not be decoded may be whole now; one that was stays as it was.
        again = dataclasses.replace(self.config.settings, retry=WhichFailures.ALL)
        taken = Counter[str]()
        for files, settings in ((fresh, self.config.settings), (changed, again)):
            for batch in batched(files, FILES_AT_ONCE):
                taken += self._ingest(batch, settings)
                if self._stopping():  # the next watch goes on
                    break
        for name in changed:
            log.warning("%s has changed: what was ingested of it stays as it was", ascii(name))
        is_done = not taken["failed"] or self.config.until_idle
        if is_done and not self._stopping():
            self._done = self._done.including(ready)
        total = self._summary
        self._summary = dataclasses.replace(
            total,
            failed=taken["failed"],
            ok=total.ok + is_done * taken["ok"],
            quarantined=total.quarantined + is_done * taken["quarantined"],
            changed=total.changed + is_done * len(changed),
            left_out=total.left_out + is_done * left_out,
        )
        if taken["ok"]:
            self._publish()

    def _wanted(self, names: Sequence[str]) -> list[str]:
        """Return which files are neither forgotten nor excluded, of some that are whole."""
        item = self.config.source.item
        some = read_tombstones(self.location), lines_of(self.config.settings.exclude, "excluded")
        return [
            name for name in names if not any(one.match(f"{item}/{name}", item) for one in some)
        ]

    def _ingest(self, names: Sequence[str], settings: Settings) -> Counter[str]:
        """Ingest some files; return how many are there, quarantined, and failed in passing."""
        source = self.config.source
        files = WatchedFiles(source.url, source.request_policy, source.follow_links, tuple(names))
        settings = dataclasses.replace(settings, refresh=True, limit=None, generation=None)
        with self._open_mapper() as mapper:
            try:
                found = ingest(self.location, [files], settings, mapper=mapper)
            except NoInputError as error:  # all of them are quarantined
                assert isinstance(error.summary, IngestSummary)
                found = error.summary
            except TransientError as error:
                log.warning("%s", error)
                left = IngestSummary(failed=1)  # what is told may lack those that were not tried
                found = error.summary if isinstance(error.summary, IngestSummary) else left
                found = found if found.failed else dataclasses.replace(found, failed=1)
        if not found.failed:
            Listing(self.location, files).forget()  # nobody asks for just these files again
        return Counter(ok=found.ok, quarantined=found.quarantined, failed=found.failed)

    def _publish(self) -> None:
        """Extract what is ingested, and encode it where a run is named."""
        chosen = self.config.extract
        with self._open_mapper() as mapper:
            try:
                done = extract(
                    self.location,
                    preset=chosen.preset,
                    sample_rate_hz=chosen.sample_rate,
                    dtype=chosen.dtype,
                    keep_staging=chosen.keep_staging,
                    mapper=mapper,
                )
            except NoInputError:  # nothing but files that cannot be read
                return
            self._summary = dataclasses.replace(
                self._summary, recordings=done.recordings, audio_seconds=done.audio_seconds
            )
            if self.config.run is not None:
                from fadae.stages.reconstruct import reconstruct

                reconstruct(
                    self.location, self.config.run, device=self.config.device, mapper=mapper
                )

    def _beat(self) -> None:
        """Say every so often that the watch goes on."""
        if time.monotonic() - self._told_seconds >= HEARTBEAT_SECONDS:
            self._told_seconds = time.monotonic()
            log.info("watching %s: %s", self.config.source.url, _told(self._summary))

    def _pause(self) -> None:
        until = time.monotonic() + self.config.every_seconds
        while not self._stopping() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))


def _told(summary: WatchSummary) -> str:
    return (
        f"{summary.looks} looks, {summary.ok} files taken, {summary.quarantined} quarantined, "
        f"{summary.failed} failed for a passing reason, {summary.left_out} passed over"
    )
