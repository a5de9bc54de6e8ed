"""A Dask client for one job: here or on a given cluster, checked before any work is sent."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dask
from distributed import Client, LocalCluster, get_worker
from distributed.comm import CommClosedError
from distributed.comm.core import FatalCommClosedError
from distributed.versions import VersionMismatchWarning, get_versions

from fadae._version import __version__
from fadae.cluster.address import CONNECT_SECONDS, Scheduler, find_scheduler
from fadae.errors import StorageError, TransientError, UsageError
from fadae.store import Location

log = logging.getLogger("fadae.cluster")

# A preempted node makes every task it was processing suspect; three losses, Dask's default, are
# nothing on preemptible nodes. A recording that kills a decoder kills the sandbox, not the worker.
ALLOWED_FAILURES = 20
# Packages whose differing versions break a job rather than merely differ; Python by its minor.
_MUST_AGREE = ("python", "dask", "distributed")
_MARKER = ".cluster-"
STARTS = 3  # of a cluster here; what fails each time is no passing loss of a worker


@contextlib.contextmanager
def connect(
    scheduler: str | None,
    workers: int | None,
    location: Location,
    threads_per_worker: int = 1,
) -> Iterator[Client]:
    """Yield a client whose workers all have this fadae and see the workspace.

    scheduler: as `find_scheduler` reads it; without one a cluster is started here: `workers`
    processes (default one a core), closed at the end. TLS and further settings come from Dask's
    own configuration. A cluster may have no worker yet, and start some once there is work.

    Raises UsageError where the workers cannot do this job (other versions, no fadae, no shared
    workspace, memory:// with several processes), TransientError where no scheduler answers.
    """
    location.ensure_shared(scheduler)
    # Importing Dask sets its loggers to INFO; a job's log is about the job.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    # A lost scheduler reaches the caller as an error; its traceback in the log adds nothing.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if scheduler:
            client = stack.enter_context(_client(find_scheduler(scheduler)))
        else:
            cluster = stack.enter_context(_local_cluster(workers, threads_per_worker, location))
            client = stack.enter_context(_client(cluster))
        token = stack.enter_context(kept_token(location))
        check_versions(client)
        _check_workspace(client, location, token)
        log.info("dashboard: %s", client.dashboard_link)
        client.fadae_workspace = (location.url, token)  # map_bag hands it to late workers
        yield client


def worker_name() -> str:
    """Return the name of the Dask worker this code runs on; "driver" outside of one."""
    try:
        worker = get_worker()
    except ValueError:
        return "driver"
    return f"{worker.name}" if worker.name != worker.address else str(worker.address)


@functools.cache
def own_versions() -> tuple[tuple[str, str], ...]:
    """Return (package, version) of all that must agree, as this process has them."""
    return (*_versions(get_versions()).items(), ("fadae", __version__))


def check_worker(versions: tuple[tuple[str, str], ...]) -> None:
    """Raise UsageError where this worker's versions are not the client's; runs on workers."""
    _compare(f"worker {worker_name()}", dict(own_versions()), dict(versions))


def read_token(url: str, token: str) -> bool:
    """Return whether this process sees the driver's token in the workspace; runs on workers."""
    try:
        return Location(url).exists(token)
    except (StorageError, UsageError):  # no credentials, no such mount: it does not see it
        return False


@contextlib.contextmanager
def reach(scheduler: str) -> Iterator[Client]:
    """Yield a client of a scheduler of which nothing is known yet, for who looks at the cluster.

    Raises TransientError where none answers, UsageError where it is no address.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with _client(find_scheduler(scheduler)) as client:
        yield client


def scheduler_fadae(client: Client) -> str:
    """Return the scheduler's version of fadae; empty where it has none, or runs nothing for us."""
    with _sure_of_scheduler():
        try:
            return str(client.run_on_scheduler(eval, _FADAE_VERSION))
        except (ImportError, ValueError, RuntimeError) as error:
            log.debug("the scheduler does not tell its fadae: %s", error)
            return ""


@contextlib.contextmanager
def _local_cluster(
    workers: int | None, threads_per_worker: int, location: Location
) -> Iterator[LocalCluster]:
    """Start a cluster on this machine, reachable from this machine only."""
    count = workers or os.cpu_count() or 1
    shape: dict[str, object] = {"n_workers": count, "threads_per_worker": threads_per_worker}
    if location.is_in_process:
        shape = {"n_workers": 1, "threads_per_worker": count, "processes": False}
        shape["protocol"] = "tcp://"  # Dask's inproc:// listens on every interface
    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # A forked child inherits the locks of s3fs's threads and hangs.
        "distributed.worker.multiprocessing-method": "spawn",
        # A thread's own arena ends at 64 MB: every block of coefficients beyond is mapped anew.
        "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
        # It looks at all threads a hundred times a second, for a page of the dashboard.
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(settings), _started(shape) as cluster:
        yield cluster


def _started(shape: Mapping[str, object]) -> LocalCluster:
    """Return a cluster here; one whose worker is lost while it starts is started anew."""
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
                **shape,
            )
        except RuntimeError as error:  # "Nanny failed to start"
            if not left:
                raise
            log.warning("a worker was lost while the cluster started (%s); starting again", error)
    raise AssertionError


@contextlib.contextmanager
def _client(cluster: Scheduler | LocalCluster) -> Iterator[Client]:
    target, security = cluster, None
    if isinstance(cluster, Scheduler):
        target, security = cluster.address, cluster.security
    try:
        with warnings.catch_warnings():
            # What differs and matters is told by check_versions, in one line.
            warnings.simplefilter("ignore", category=VersionMismatchWarning)
            client = Client(
                target, timeout=CONNECT_SECONDS, set_as_default=False, security=security
            )
    except FatalCommClosedError as error:  # TLS: not tried again
        raise UsageError(
            f"{target} and this client do not trust each other's certificates ({error}); look at "
            "distributed.comm.tls in Dask's configuration"
        ) from error
    except (OSError, TimeoutError) as error:
        raise TransientError(
            f"no Dask scheduler answers at {target} within {CONNECT_SECONDS:.0f} s ({error}); "
            "start it or correct --scheduler"
        ) from error
    except ValueError as error:  # an address that Dask cannot parse
        raise UsageError(f"{target!r} is not a scheduler address: {error}") from error
    try:
        if isinstance(cluster, Scheduler):
            _allow_failures(client)
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError):  # the scheduler may be gone already
            client.close(timeout=5)


def _allow_failures(client: Client) -> None:
    """Let a task outlive the loss of many workers, also on a scheduler started elsewhere."""
    try:
        client.run_on_scheduler(raise_allowed_failures, ALLOWED_FAILURES)
    except (ImportError, ValueError, RuntimeError) as error:
        # A scheduler without fadae, or one that runs no code for clients: its own limit holds.
        log.warning("the scheduler keeps its own allowed-failures: %s", error)


def raise_allowed_failures(count: int, dask_scheduler: Any = None) -> None:
    """Raise, never lower, how many worker losses a task may survive; runs on the scheduler."""
    dask_scheduler.allowed_failures = max(dask_scheduler.allowed_failures, count)


def check_versions(client: Client) -> None:
    """Refuse a scheduler or workers whose Python, Dask or fadae differ from this client's."""
    with _sure_of_scheduler():
        found = client.get_versions()
    here = _versions(found["client"])
    others = {"the scheduler": found["scheduler"]}
    others |= {f"worker {address}": info for address, info in found["workers"].items()}
    for who, info in others.items():
        _compare(who, _versions(info), here)
    # By a builtin's name: a function of ours could not even be unpickled where fadae is missing.
    # Not by the installed package's metadata: a checkout on the path has none.
    for address, version in answers(client, eval, _FADAE_VERSION).items():
        if isinstance(version, ImportError):
            raise UsageError(
                f"worker {address} cannot import fadae ({version}); install fadae "
                f"{__version__} in its environment"
            )
        _compare(f"worker {address}", {"fadae": str(version)}, {"fadae": __version__})


def worker_addresses(client: Client, most: int) -> list[str]:
    """Return the addresses of a cluster's workers, sorted, and not more than `most`."""
    with _sure_of_scheduler():
        return sorted(client.scheduler_info(n_workers=most)["workers"])


def answers(client: Client, function: Callable[..., Any], *given: object) -> Mapping[str, Any]:
    """Return what a function gives on each worker, or the exception it raises there.

    A worker that is lost meanwhile has no say; the one in its place is checked when it joins.
    """
    with _sure_of_scheduler():
        found: Mapping[str, Any] = client.run(function, *given, on_error="return")
    return {address: one for address, one in found.items() if not isinstance(one, CommClosedError)}


@contextlib.contextmanager
def _sure_of_scheduler() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise TransientError(
            f"lost the Dask scheduler ({error}); run the same command again"
        ) from error


_FADAE_VERSION = "__import__('fadae').__version__"


def _versions(info: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    packages = {name: str(info["packages"].get(name)) for name in _MUST_AGREE}
    packages["python"] = ".".join(packages["python"].split(".")[:2])
    return packages


def _compare(who: str, there: dict[str, str], here: dict[str, str]) -> None:
    for package, version in there.items():
        if version != here[package]:
            raise UsageError(
                f"{who} has {package} {version}, this client {here[package]}; "
                "give both the same environment (constraints.txt)"
            )


@contextlib.contextmanager
def kept_token(location: Location) -> Iterator[str]:
    """Keep an object with a name nobody else knows in the workspace while the job runs."""
    token = _MARKER + uuid.uuid4().hex
    try:
        location.write_bytes(token, b"fadae")
    except (FileNotFoundError, ValueError) as error:  # no such bucket; no such name
        raise UsageError(f"cannot write to workspace {location.url}: {error}") from error
    try:
        yield token
    finally:
        location.delete(token)


def _check_workspace(client: Client, location: Location, token: str) -> None:
    """Refuse workers that do not see the driver's workspace: there is no shared disk."""
    seen = answers(client, read_token, location.url, token)
    for error in seen.values():
        if isinstance(error, BaseException):
            raise error
    blind = sorted(address for address, sees in seen.items() if not sees)
    if blind:
        raise no_shared_workspace(location.url, blind[0], len(blind), len(seen))
    if not seen:
        log.info("no worker yet; each is checked when it joins")


def no_shared_workspace(url: str, worker: str, blind: int = 1, of: int = 1) -> UsageError:
    """Return the error that says which worker does not share the workspace."""
    return UsageError(
        f"worker {worker} does not see workspace {url} ({blind} of {of} workers checked): use a "
        "bucket or a folder that all workers share, and give them its credentials"
    )
