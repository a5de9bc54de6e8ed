"""A zarr group behind a web server; zarr lists nothing of one that is consolidated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, NoReturn

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from fadae.errors import StorageError, UsageError
from fadae.store.http import HttpFiles, Span

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


class HttpStore(Store):
    """A read-only store of the objects below a URL."""

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
