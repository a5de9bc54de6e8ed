"""Patience with an object store: every call gets a deadline, and its passing failures a retry.

Throttling (503), resets, stalls and a server's restart are outlived; what a repetition cannot
change (not found, forbidden) is raised at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import zarr.storage

from fadae.errors import TransientError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

log = logging.getLogger("fadae.store")

PATIENCE_SECONDS = 180.0  # for one call, however many attempts
ATTEMPT_SECONDS = 20.0  # for one attempt, besides its transfer
SLOWEST_BYTES_PER_SECOND = 500_000
LONGEST_PAUSE_SECONDS = 5.0
DEFINITE = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError,
            PermissionError)  # fmt: skip

T = TypeVar("T")


async def patiently(call: Callable[[], Awaitable[T]], *, what: str, size_bytes: int = 0) -> T:
    """Return what `call` returns, repeating it through passing failures.

    Raises its own error where that is definite, TransientError when failures last.
    """
    started = time.monotonic()
    attempt_seconds = ATTEMPT_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND
    attempt = 0
    while True:
        try:
            return await asyncio.wait_for(call(), attempt_seconds)
        except DEFINITE:
            raise
        except _passing() as error:
            elapsed = time.monotonic() - started
            if elapsed > PATIENCE_SECONDS:
                raise TransientError(
                    f"{what}: no success in {elapsed:.0f} s, last {error!r}; "
                    "check the object store, then run the same command again"
                ) from error
            log.debug("%s: %r after %.1f s, trying again", what, error, elapsed)
        # Full jitter, so that workers throttled together do not come back together.
        pause = min(LONGEST_PAUSE_SECONDS, 0.1 * 2**attempt)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
        attempt += 1


def _passing() -> tuple[type[BaseException], ...]:
    """Return the errors that may go away; the libraries are loaded where in use."""
    import aiohttp
    import botocore.exceptions

    return (
        aiohttp.ClientError,
        OSError,  # what s3fs makes of a server's answer, 503 and 500 included
        TimeoutError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.ConnectionError,
        botocore.exceptions.ResponseStreamingError,
    )


class PatientStore(zarr.storage.WrapperStore[Any]):
    """A zarr store on a remote filesystem whose reads and writes are patient."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object's bytes or None, patiently."""
        return await patiently(
            lambda: self._store.get(key, prototype, byte_range), what=f"read {key}"
        )

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of objects, patiently."""
        ranges = list(key_ranges)
        return await patiently(
            lambda: self._store.get_partial_values(prototype, ranges), what="read parts"
        )

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, patiently."""
        await patiently(
            lambda: self._store.set(key, value), what=f"write {key}", size_bytes=len(value)
        )

    async def exists(self, key: str) -> bool:
        """Return whether an object is there, patiently."""
        return await patiently(lambda: self._store.exists(key), what=f"look for {key}")

    async def delete(self, key: str) -> None:
        """Remove an object, patiently."""
        await patiently(lambda: self._store.delete(key), what=f"remove {key}")
