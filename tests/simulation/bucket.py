"""A bucket in memory, and the location that a driver has of it: every request is asked for.

What answers is `Ask`: at once, or whenever a scheduler lets the driver go on, with what can go
wrong between a client and a bucket. Writes are whole or not at all; a version is the digest of
what it is of, as S3's ETag is of what was put in one piece.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import posixpath
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple, Protocol, TypeVar

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from fadae.store.location import Found, Location

LONGEST_LAG = 40  # writes that a listing may not know of yet
START_SECONDS = 1_000_000.0

T = TypeVar("T")
Value = TypeVar("Value")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its bytes, their version, and when they were written."""

    data: bytes
    version: str
    seconds: float


class Bucket:
    """Objects by path, a logical clock, and what a late listing does not know of yet."""

    def __init__(self, objects: dict[str, Stored] | None = None) -> None:
        self.objects = dict(objects or {})
        self.seconds = START_SECONDS
        self.uploads: list[str] = []  # begun and never completed: nobody sees them
        self.watch: Callable[[str, bytes | None], None] | None = None
        self._written = deque[tuple[str, bool]](maxlen=LONGEST_LAG)

    def copy(self) -> Bucket:
        return Bucket(self.objects)

    def state(self) -> frozenset[tuple[str, str]]:
        """Return what is there: equal for equal bytes."""
        return frozenset((path, one.version) for path, one in self.objects.items())

    def get(self, path: str) -> Stored:
        try:
            return self.objects[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def put(self, path: str, data: bytes) -> None:
        self._written.append((path, path in self.objects))
        version = hashlib.blake2b(data, digest_size=12).hexdigest()
        self.objects[path] = Stored(data, version, self.seconds)
        if self.watch:
            self.watch(path, data)

    def put_if(self, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if it still has a version, None for none; return whether it had."""
        there = self.objects.get(path)
        if (there and there.version) != version:
            return False
        self.put(path, data)
        return True

    def remove(self, path: str) -> None:
        if path in self.objects:
            self._written.append((path, True))
            del self.objects[path]
            if self.watch:
                self.watch(path, None)

    def below(self, folder: str, lag: int = 0) -> list[str]:
        """Return the sorted paths below a folder as they were `lag` writes ago."""
        start = f"{folder}/" if folder else ""
        found = {path for path in self.objects if path.startswith(start)}
        for _, (path, existed) in zip(range(lag), reversed(self._written), strict=False):
            if path.startswith(start):
                (found.add if existed else found.discard)(path)
        return sorted(found)


Kind = Literal["read", "list", "write"]


class Ask(Protocol):
    """Has a request answered: `act` does it, given how many writes a listing lags behind."""

    def __call__(self, kind: Kind, verb: str, path: str, act: Callable[[int], T]) -> T: ...


def at_once(kind: Kind, verb: str, path: str, act: Callable[[int], T]) -> T:
    """Answer a request at once, and rightly."""
    return act(0)


class BucketLocation(Location):
    """A workspace in a simulated bucket, as one process sees it."""

    def __init__(self, bucket: Bucket, ask: Ask = at_once) -> None:
        super().__init__("simulated://bucket")
        self.bucket, self.ask = bucket, ask
        self.kept: dict[object, Any] = {}  # what its process has made of publications

    def exists(self, path: str) -> bool:
        def act(lag: int) -> bool:
            return path in self.bucket.objects or bool(self.bucket.below(path, lag))

        return self.ask("list", "exists", path, act)

    def size_bytes(self, path: str) -> int:
        return self.ask("read", "size", path, lambda _: len(self.bucket.get(path).data))

    def modified_seconds(self, path: str) -> float:
        return self.ask("read", "modified", path, lambda _: self.bucket.get(path).seconds)

    def found_below(self, path: str) -> dict[str, Found]:
        def act(lag: int) -> dict[str, Found]:
            # A late listing may name what is gone: as it was then, of a size that nobody needs.
            gone = Stored(b"", "", self.bucket.seconds)
            found = dict[str, Found]()
            for name in self.bucket.below(path, lag):
                one = self.bucket.objects.get(name, gone)
                found[name.removeprefix(f"{path}/")] = Found(len(one.data), one.seconds)
            return found

        return self.ask("list", "find", path, act)

    def read_bytes(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        return self.ask("read", "read", path, lambda _: self.bucket.get(path).data[start:stop])

    def ensure_conditions(self) -> bool:
        """It has them."""
        return True

    def read_version(self, path: str) -> tuple[bytes, str]:
        def act(_: int) -> tuple[bytes, str]:
            found = self.bucket.get(path)
            return found.data, found.version

        return self.ask("read", "read", path, act)

    def replace(self, path: str, data: bytes, version: str | None) -> bool:
        return self.ask("write", "replace", path, lambda _: self.bucket.put_if(path, data, version))

    def create_exclusive(self, path: str, data: bytes) -> bool:
        return self.ask("write", "create", path, lambda _: self.bucket.put_if(path, data, None))

    def write_bytes(
        self, path: str, data: bytes | memoryview, content_type: str | None = None
    ) -> None:
        whole = bytes(data)
        self.ask("write", "write", path, lambda _: self.bucket.put(path, whole))

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        spool = io.BytesIO()
        yield spool
        self.write_bytes(path, spool.getvalue())

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.read_bytes(path))

    def concurrently(
        self, function: Callable[[Value], Result], values: Iterable[Value]
    ) -> Iterator[Result]:
        yield from map(function, values)

    def names(self, path: str) -> list[str]:
        def act(lag: int) -> list[str]:
            start = f"{path}/" if path else ""
            below = self.bucket.below(path, lag)
            return sorted({name.removeprefix(start).partition("/")[0] for name in below})

        return self.ask("list", "names", path, act)

    def delete(self, path: str) -> None:
        self.delete_many([path, *(posixpath.join(path, name) for name in self.found_below(path))])

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove objects one by one: a bucket removes many in any order, and not at once."""
        for path in sorted(paths):
            self._remove(path)

    def _remove(self, path: str) -> None:
        self.ask("write", "remove", path, lambda _: self.bucket.remove(path))

    def zarr_store(self, path: str, *, read_only: bool = False) -> Store:
        return BucketStore(self, path)


class Request(NamedTuple):
    """What zarr asks for: the bytes of an object, or of a part of it, or that it be written."""

    key: str
    start: int | None = None
    stop: int | None = None
    data: bytes | None = None


class BucketStore(Store):
    """What zarr reads and writes a group of a simulated bucket through."""

    supports_writes = supports_deletes = supports_listing = True

    def __init__(self, location: BucketLocation, path: str) -> None:
        super().__init__(read_only=False)
        self.location, self.path = location, path

    def __eq__(self, other: object) -> bool:
        return self is other

    def ask(self, request: Request) -> bytes | None:
        """Ask the bucket; return an object's bytes, None where there is none."""
        path = f"{self.path}/{request.key}"
        if request.data is not None:
            self.location.write_bytes(path, request.data)
            return None
        try:
            return self.location.read_bytes(path, request.start, request.stop)
        except FileNotFoundError:
            return None

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        data = self.ask(Request(key, *_span(byte_range)))
        buffer = (prototype or default_buffer_prototype()).buffer
        return None if data is None else buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, span) for key, span in key_ranges]

    async def exists(self, key: str) -> bool:
        return self.location.exists(f"{self.path}/{key}")

    async def set(self, key: str, value: Buffer) -> None:
        self.ask(Request(key, data=value.to_bytes()))

    async def delete(self, key: str) -> None:
        self.location.delete_many([f"{self.path}/{key}"])

    async def list(self) -> AsyncIterator[str]:
        for name in self.location.found_below(self.path):
            yield name

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError("nothing lists a group through zarr")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError("nothing lists a group through zarr")


def _span(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    match byte_range:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, None
        case SuffixByteRequest(suffix):
            return -suffix, None
    return None, None
