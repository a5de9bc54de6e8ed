"""What `fadae check` asks of what a job needs beside its machine: workspace, cluster, archive."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fadae.archive import CONTACT, ArchiveClient, clean_url
from fadae.check import (
    LEAST_DISK_BYTES,
    LEAST_MEMORY_BYTES,
    Finding,
    State,
    decoder,
    disk,
    memory_bytes,
)
from fadae.cluster import (
    answers,
    check_versions,
    kept_token,
    reach,
    read_token,
    scheduler_fadae,
    worker_addresses,
)
from fadae.config import DEFAULT_ITEM
from fadae.errors import (
    AccessError,
    PermanentFailure,
    TransientError,
    TransientFailure,
    UsageError,
)
from fadae.store import PARTIAL, Location

if TYPE_CHECKING:
    from distributed import Client

CLOCK_SECONDS = 60.0
REACH_SECONDS = 10.0  # for a worker to connect to another
_PEERS = 1_000  # addresses that each worker is told at most
_OBJECT = "probe"
_RIGHTS = "give the job list, read, write and delete there"
_REFUSED = (UsageError, FileNotFoundError, NotADirectoryError, ValueError)
_WORST: tuple[State, ...] = ("wrong", "away", "weak", "ok")


class _NoConditionsError(Exception):
    """A store that keeps to no conditions, as its user knows."""


@dataclass
class _Probe:
    """An object of its own below a workspace, and what was done with it."""

    place: Location
    did: list[str]
    skew_seconds: float = -math.inf
    locks: bool = True

    def steps(self, workspace: Location) -> Iterator[tuple[str, Callable[[], object]]]:
        yield "list", lambda: workspace.names("")
        yield "write", self._write
        yield "read", lambda: self._holds(b"1")
        yield "replace under a condition", self._replace
        if workspace.is_local:
            yield "lock", self._lock

    def _write(self) -> None:
        now = time.time()
        self.place.write_bytes(_OBJECT, b"1")
        self.skew_seconds = self.place.modified_seconds(_OBJECT) - now

    def _holds(self, data: bytes) -> None:
        if (found := self.place.read_bytes(_OBJECT)) != data:
            raise AccessError(f"{self.place.url} gives {found!r} back for {data!r}")

    def _replace(self) -> None:
        if not self.place.ensure_conditions() or self.place.replace(_OBJECT, b"2", None):
            raise _NoConditionsError
        _, version = self.place.read_version(_OBJECT)
        self.place.replace(_OBJECT, b"3", version)
        self._holds(b"3")

    def _lock(self) -> None:
        self.locks = self.place.has_locks()


def workspace(location: Location) -> list[Finding]:
    """Do with an object of a hidden name what a job does with a workspace; leave nothing there."""
    probe = _Probe(location.below(f"{PARTIAL}check-{uuid.uuid4().hex}"), [])
    found: Finding | None = None
    with _no_new_folder(location):
        try:
            for verb, step in probe.steps(location):
                if found := _failure(location, verb, step):
                    break
                probe.did.append(verb)
        finally:
            if probe.did:  # else it is refused, or away, and nothing was written
                left = _failure(location, "remove", lambda: probe.place.delete(""))
                found = found or left
    verbs = ", ".join([*probe.did, "remove"])
    findings = [found or Finding("workspace", "ok", f"{location.url}: {verbs}")]
    if "write" in probe.did:
        findings.append(clock(probe.skew_seconds))
    if location.is_local and findings[0].state == "ok":
        findings += _folder(location, probe.locks)
    return findings


@contextlib.contextmanager
def _no_new_folder(location: Location) -> Iterator[None]:
    """Remove the folders that were made in the block: a check is not a job's beginning."""
    folder = Path(location.full("")) if location.is_local else Path()
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield
    finally:
        for one in made:
            with contextlib.suppress(OSError):  # somebody's workspace by now, or never made
                one.rmdir()


def _failure(location: Location, verb: str, step: Callable[[], object]) -> Finding | None:
    try:
        step()
    except _NoConditionsError:
        says = f"{location.url} has no conditional writes"
        return Finding("workspace", "weak", says, "run one command that writes there at a time")
    except TransientError as error:
        return Finding("workspace", "away", f"cannot {verb}: {error}", "try again")
    except _REFUSED as error:
        return Finding("workspace", "wrong", f"cannot {verb}: {error}", _RIGHTS)
    return None


def clock(skew_seconds: float) -> Finding:
    """Compare this machine's clock with the store's: minus infinity where it tells no times.

    >>> clock(-90.0).line()
    "weak   clock            the store's is 90 s behind: set both clocks by NTP"
    """
    if math.isinf(skew_seconds):
        return Finding("clock", "ok", "the store tells no times")
    if abs(skew_seconds) <= CLOCK_SECONDS:
        return Finding("clock", "ok", "as the store's, to a minute")
    where = "ahead" if skew_seconds > 0 else "behind"
    says = f"the store's is {abs(skew_seconds):,.0f} s {where}"
    return Finding("clock", "weak", says, "set both clocks by NTP")


def _folder(location: Location, locks: bool) -> Iterator[Finding]:
    folder = Path(location.full(""))
    yield disk("disk", next(one for one in (folder, *folder.parents) if one.exists()))
    if locks:
        yield Finding("locks", "ok", "the folder has them")
    else:
        remedy = "run one command that writes there at a time, or mount it with locks"
        yield Finding("locks", "weak", "the folder has none", remedy)


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker says of itself."""

    memory_bytes: int
    free_bytes: int
    sees: bool
    """The driver's token in the workspace."""
    decoder: Finding
    unreached: str = ""
    """Another worker that it cannot reach."""


async def look(url: str, token: str, peers: Sequence[str], dask_worker: Any = None) -> WorkerFacts:
    """Return what a worker has, beside its tasks and its heartbeat; runs on workers.

    peers: addresses of workers, sorted; it tries the first one after its own.
    """
    limit = dask_worker.memory_manager.memory_limit or memory_bytes()
    free = shutil.disk_usage(dask_worker.local_directory).free
    sees = not url or await asyncio.to_thread(read_token, url, token)
    found = await asyncio.to_thread(decoder)
    unreached = await _unreached(dask_worker, peers)
    return WorkerFacts(min(limit, memory_bytes()), free, sees, found, unreached)


async def _unreached(dask_worker: Any, peers: Sequence[str]) -> str:
    """Return the worker after this one where no connection to it can be made."""
    own = dask_worker.address
    others = [peer for peer in peers if peer != own]
    if not others:
        return ""
    other = next((peer for peer in others if peer > own), others[0])
    try:
        comm = await asyncio.wait_for(dask_worker.rpc.connect(other), REACH_SECONDS)
    except OSError:  # Dask's CommClosedError and the time-out too
        return other
    dask_worker.rpc.reuse(other, comm)
    return ""


def cluster(scheduler: str, location: Location | None) -> list[Finding]:
    """Ask a scheduler and each of its workers; with a workspace also whether they see it."""
    findings: list[Finding] = []
    remedy = "correct --scheduler, or Dask's configuration"
    try:
        if location:
            location.ensure_shared(scheduler)
        with reach(scheduler) as client:
            remedy = "give all of them what this machine has"
            check_versions(client)
            findings.append(_scheduler(client, scheduler))
            with contextlib.ExitStack() as stack:
                token = ""
                if location:
                    stack.enter_context(_no_new_folder(location))
                    token = stack.enter_context(kept_token(location))
                url, peers = location.url if location else "", worker_addresses(client, _PEERS)
                told = answers(client, look, url, token, peers)
    except TransientError as error:
        findings.append(Finding("scheduler", "away", str(error), "try again"))
    except UsageError as error:
        findings.append(Finding("scheduler", "wrong", str(error), remedy))
    else:
        findings += of_workers(told, location.url if location else "")
    return findings


def _scheduler(client: Client, address: str) -> Finding:
    version = scheduler_fadae(client)
    says = f"{address}, Python, Dask and fadae as here"
    if not version:
        remedy = "install fadae there, so that a task outlives many lost workers"
        return Finding("scheduler", "weak", f"{address} has no fadae", remedy)
    return Finding("scheduler", "ok", f"{says}: fadae {version}")


def of_workers(told: Mapping[str, Any], url: str) -> list[Finding]:
    """Judge what workers said, by address: WorkerFacts, or the exception that one raised."""
    if not told:
        return [Finding("workers", "weak", "none yet", "start some; a job waits until one joins")]
    facts = {who: one for who, one in told.items() if isinstance(one, WorkerFacts)}
    failed = {who: one for who, one in told.items() if who not in facts}
    if failed:
        who, error = next(iter(failed.items()))
        says = f"{len(failed)} of {len(told)} do not answer, first {who}: {error!r}"
        return [Finding("workers", "wrong", says, "install this very fadae there")]
    findings = [Finding("workers", "ok", f"{len(facts)}, each with this fadae")]
    findings.append(_least("memory", {w: f.memory_bytes for w, f in facts.items()}))
    findings.append(_least("disk", {w: f.free_bytes for w, f in facts.items()}))
    findings.append(_ports(facts))
    if url:
        findings.append(_seen(facts, url))
    return [*findings, _walls(facts)]


def _least(what: str, found: Mapping[str, int]) -> Finding:
    """Name the worker with the least of something, where that is too little."""
    who, least = min(found.items(), key=lambda one: one[1])
    says = f"{least / 2**30:.1f} GiB" if what == "memory" else f"{least / 1e9:,.1f} GB free"
    check = f"workers' {what}"
    if least >= (LEAST_MEMORY_BYTES if what == "memory" else LEAST_DISK_BYTES):
        return Finding(check, "ok", f"{says} or more")
    remedy = "raise --memory-limit to 2 GiB" if what == "memory" else "free 2 GB or more there"
    return Finding(check, "weak", f"{says} on {who}", remedy)


def _ports(facts: Mapping[str, WorkerFacts]) -> Finding:
    deaf = {who: one.unreached for who, one in facts.items() if one.unreached}
    if not deaf:
        return Finding("workers' ports", "ok", "each reaches another")
    who, other = next(iter(deaf.items()))
    says = f"{len(deaf)} of {len(facts)} cannot reach another, first {who} {other}"
    remedy = "let workers reach each other: `dask worker --worker-port`, the firewall, --host"
    return Finding("workers' ports", "wrong", says, remedy)


def _seen(facts: Mapping[str, WorkerFacts], url: str) -> Finding:
    blind = [who for who, one in facts.items() if not one.sees]
    if not blind:
        return Finding("workers' view", "ok", f"all see {url}")
    says = f"{len(blind)} of {len(facts)} do not see {url}, first {blind[0]}"
    remedy = "use a bucket or a folder that all share, and give them its credentials"
    return Finding("workers' view", "wrong", says, remedy)


def _walls(facts: Mapping[str, WorkerFacts]) -> Finding:
    """Return the worst decoder's finding, and on how many workers it is so."""
    worst = min(
        (one.decoder for one in facts.values()), key=lambda found: _WORST.index(found.state)
    )
    count = Counter(one.decoder for one in facts.values())[worst]
    says = f"on {count} of {len(facts)}: {worst.says}"
    return Finding("workers' decoder", worst.state, says, worst.remedy)


def archive(url: str, contact: str) -> Finding:
    """Ask an archive once, as the client asks."""
    shown = clean_url(url)
    try:
        ArchiveClient(url, contact or CONTACT).reach(DEFAULT_ITEM)
    except TransientFailure as failure:
        return Finding("archive", "away", f"{shown}: {failure}", "try again later")
    except (PermanentFailure, UsageError) as error:
        return Finding("archive", "wrong", f"{shown}: {error}", "correct --archive-url")
    if not contact:
        says = f"{shown} answers, and cannot write to you"
        return Finding("archive", "weak", says, "set --contact to your page or address")
    return Finding("archive", "ok", f"{shown} answers, and may write to {contact}")
