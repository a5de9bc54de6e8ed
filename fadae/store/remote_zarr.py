"""Zarr on other machines: a bucket's store, patient, and the objects behind a web server.

Of a bucket every call gets a deadline, and its passing failures another try.

Throttling (503), resets, stalls and a server's restart are outlived; what a repetition cannot
change (not found, forbidden, no credentials) is raised at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import zarr.storage
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from fadae import metrics
from fadae.buckets import Bucket
from fadae.errors import AccessError, StorageError, UsageError
from fadae.retry import RetryPolicy
from fadae.store.http import HttpFiles
from fadae.store.spans import Span

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

log = logging.getLogger("fadae.store")

POLICY = RetryPolicy(total_seconds=180.0)  # of one call
ATTEMPT_SECONDS = 20.0  # for one attempt, besides its transfer
SLOWEST_BYTES_PER_SECOND = 500_000
# A call that takes longer says so, and again every so often, however many calls wait.
SECONDS_UNTIL_TOLD = 4.0
SECONDS_BETWEEN_TELLING = 30.0

# An answer, not a failure: callers look for these.
_ANSWERS = (FileNotFoundError, FileExistsError)
# Of a folder: what the same command meets again.
_DEFINITE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}

T = TypeVar("T")


async def retry_async(
    call: Callable[[], Awaitable[T]], bucket: Bucket, *, what: str, size_bytes: int = 0
) -> T:
    """Return what `call` returns, repeating it through what are passing failures of a bucket.

    Raises FileNotFoundError and FileExistsError as they come, AccessError where credentials are
    missing or refused, StorageError when failures last. A call that takes long is told in the log.
    """
    started, failures = time.monotonic(), 0
    transfer_seconds = size_bytes / SLOWEST_BYTES_PER_SECOND
    quiet_seconds = SECONDS_UNTIL_TOLD + transfer_seconds
    with _telling(what, quiet_seconds) as notice:
        while True:
            try:
                return await asyncio.wait_for(call(), ATTEMPT_SECONDS + transfer_seconds)
            except _ANSWERS:
                raise
            except Exception as error:  # of libraries unloaded as yet: `fault` sorts them
                fault = bucket.fault(error)
                if fault == "own":
                    raise
                if fault == "refused":
                    raise bucket.refused(what, error) from error
                failures += 1
                elapsed = time.monotonic() - started
                if POLICY.is_spent(failures, elapsed):
                    raise StorageError(
                        f"{what}: still failing after {elapsed:.0f} s, last {error!r}; "
                        "check the object store, then run the same command again"
                    ) from error
                notice.last = f", last {error!r}"
                if elapsed > quiet_seconds:
                    notice.tell()
            metrics.count("fadae_retries_total", "storage")
            await asyncio.sleep(POLICY.pause_seconds(failures))


class _Notice:
    """One line in the log about a call that takes long."""

    last_told = float("-inf")  # of this process, over all calls

    def __init__(self, what: str) -> None:
        self.what, self.last = what, ""
        self.started = time.monotonic()

    def tell(self) -> None:
        now = time.monotonic()
        if now - _Notice.last_told >= SECONDS_BETWEEN_TELLING:
            _Notice.last_told = now
            log.warning(
                "%s: still failing after %.0f s%s; retrying for up to %.0f s",
                self.what,
                now - self.started,
                self.last,
                POLICY.total_seconds,
            )


@contextlib.contextmanager
def _telling(what: str, after_seconds: float) -> Iterator[_Notice]:
    """Tell of the call in the block once it has taken so long; runs in an event loop."""
    notice = _Notice(what)
    timer = asyncio.get_running_loop().call_later(after_seconds, notice.tell)
    try:
        yield notice
    finally:
        timer.cancel()


@contextlib.contextmanager
def local_errors(what: str) -> Iterator[None]:
    """Turn what a folder fails at into the errors that a bucket raises.

    >>> with local_errors("write x"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    ...
    fadae.errors.StorageError: write x: No space left on device; then run the same command again
    """
    try:
        yield
    except _ANSWERS:
        raise
    except OSError as error:
        reason = f"{what}: {error.strerror or error}"
        if error.errno in _DEFINITE:
            raise AccessError(f"{reason}; check the path and its rights") from error
        raise StorageError(f"{reason}; then run the same command again") from error


class RetryingStore(zarr.storage.WrapperStore[Any]):
    """A zarr store on a remote filesystem whose reads and writes are patient."""

    def __init__(self, store: Any, bucket: Bucket) -> None:
        """Wrap a store of one kind of bucket."""
        super().__init__(store)
        self._bucket = bucket

    def _with_store(self, store: Any) -> RetryingStore:
        return type(self)(store, self._bucket)

    async def _patiently(
        self, call: Callable[[], Awaitable[T]], verb: str, key: str = "", size_bytes: int = 0
    ) -> T:
        what = f"{verb} {self._store.path}/{key}"
        return await retry_async(call, self._bucket, what=what, size_bytes=size_bytes)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object's bytes or None, patiently."""
        return await self._patiently(
            lambda: self._store.get(key, prototype, byte_range), "read", key
        )

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of objects, patiently."""
        ranges = list(key_ranges)
        return await self._patiently(
            lambda: self._store.get_partial_values(prototype, ranges), "read"
        )

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, patiently."""
        await self._patiently(lambda: self._store.set(key, value), "write", key, len(value))

    async def exists(self, key: str) -> bool:
        """Return whether an object is there, patiently."""
        return await self._patiently(lambda: self._store.exists(key), "look for", key)

    async def delete(self, key: str) -> None:
        """Remove an object, patiently."""
        await self._patiently(lambda: self._store.delete(key), "remove", key)


class HttpStore(Store):
    """A read-only store of the objects below a URL; nothing is listed of a consolidated group."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, files: HttpFiles, url: str) -> None:
        """Take what reads, and the URL of the group."""
        super().__init__(read_only=True)
        self._files, self._url = files, url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpStore) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        return self._url

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object or a part of it; None for a document that is not there.

        Published chunks are all there: zarr would read fill values of one that is missing, so
        that raises StorageError.
        """
        try:
            data = await asyncio.to_thread(
                self._files.read, f"{self._url}/{key}", _span(byte_range)
            )
        except FileNotFoundError as error:
            if key.rpartition("/")[2] in ("zarr.json", ".zgroup", ".zarray", ".zattrs"):
                return None
            raise StorageError(
                f"{error.strerror}: {self._url}/{key}, which is published: is this copy whole, "
                "and open to you?"
            ) from error
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether an object is there."""
        return await asyncio.to_thread(self._files.exists, f"{self._url}/{key}")

    async def set(self, key: str, value: Buffer) -> None:
        """Raise UsageError."""
        self._refuse()

    async def delete(self, key: str) -> None:
        """Raise UsageError."""
        self._refuse()

    def list(self) -> AsyncIterator[str]:
        """Raise UsageError."""
        self._refuse()

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Raise UsageError."""
        self._refuse()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Raise UsageError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(f"{self._url} can be read over http, neither written nor listed")


def _span(asked: ByteRequest | None) -> Span:
    match asked:
        case RangeByteRequest(start, end):
            return Span(start, end)
        case OffsetByteRequest(offset):
            return Span(offset)
        case SuffixByteRequest(suffix):
            return Span(suffix=suffix)
    return Span()
