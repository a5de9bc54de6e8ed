"""A workspace's URL prefix on a shared filesystem, and the few verbs its objects need.

Many processes share local folders and buckets (s3://, gs://, az:// ...: `fadae.buckets`);
memory:// serves inside one process; https:// and http:// are read only. Only the URL travels
between processes: storage options stay where they were given, and workers take theirs from the
environment.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import math
import os
import posixpath
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import fsspec
import fsspec.asyn
import zarr.storage
from fsspec.core import has_magic
from fsspec.utils import get_protocol

from fadae.buckets import Bucket, bucket_of, digest, ignored_condition
from fadae.errors import AccessError, NoInputError, UsageError
from fadae.records import batched
from fadae.store import conditional
from fadae.store.http import HttpFiles, split_credentials
from fadae.store.remote_zarr import HttpStore, RetryingStore, local_errors, retry_async

# fsspec's verbs, as errors and the log tell them.
_TOLD = {
    "cat_file": "read",
    "pipe_file": "write",
    "ls": "list",
    "find": "list",
    "rm": "remove",
    "exists": "look for",
    "info": "look at",
}
PARTIAL = ".partial-"  # prefix of local files not yet whole
LOCK = f"{PARTIAL}lock"  # of a folder, held while an object is compared and replaced
_RANGE_BYTES = 2**24
_THREADS = 16
_REMOVED_AT_ONCE = 1000
_conditional = dict[str, bool]()  # by the URL of a store: whether it keeps to conditions

T = TypeVar("T")
Value = TypeVar("Value")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Found:
    """An object that a listing told of: its size, and when it was written, in s since 1970."""

    size_bytes: int
    modified_seconds: float


class Location:
    """One URL prefix and the objects below it, addressed by relative "/" paths.

    Every call on a remote filesystem has deadlines and is repeated through throttling, resets,
    stalls and restarts. What a folder or a bucket fails at is a StorageError, what it refuses
    (no rights, no credentials) an AccessError.

    >>> Location("memory://example").join("runs", "default")
    'runs/default'
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, object] | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        """Take a folder or URL; a local path becomes absolute. Nothing is read or created.

        read_only: every verb that writes raises AccessError, as those of https:// always do.
        """
        self.protocol: str = get_protocol(url)
        self._login: dict[str, str] = {}
        if self.is_http:
            url, self._login = split_credentials(url)
        self.read_only = read_only or self.is_http
        if self.protocol in ("file", "local"):
            path = url.removeprefix("file://").removeprefix("local://")
            url = str(Path(path).expanduser().absolute())
        self.url = url.rstrip("/") or "/"
        self._options = dict(storage_options or {})

    @classmethod
    def of(cls, workspace: Location | str) -> Location:
        """Return the location of a folder or URL; one that is a Location already is itself.

        >>> Location.of("memory://example")
        Location('memory://example')
        """
        return workspace if isinstance(workspace, Location) else cls(workspace)

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle as the URL alone: credentials never travel."""
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"Location({self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether this is a folder of a local or mounted filesystem."""
        return self.protocol in ("file", "local")

    @property
    def is_http(self) -> bool:
        """Whether a web server holds it: what it reads is all that can be had, and no names."""
        return self.protocol in ("http", "https")

    def ensure_writable(self) -> None:
        """Raise AccessError where this location is for reading."""
        if self.is_http:
            raise AccessError(
                f"an {self.protocol}:// workspace can be read, not written: {self.url}; give the "
                "folder or bucket behind it"
            )
        if self.read_only:
            raise AccessError(f"{self.url} was opened to be read, not written")

    @property
    def is_in_process(self) -> bool:
        """Whether only this process can see it (memory://)."""
        return self.protocol == "memory"

    @cached_property
    def _fs(self) -> Any:
        if self.is_http:
            return self._http
        if not (self.is_local or self.is_in_process):
            return self._bucket.opened(self.url, self._options)
        return fsspec.filesystem(self.protocol, **self._options)

    @cached_property
    def _http(self) -> HttpFiles:
        unknown = sorted(set(self._options) - {"headers"})
        if unknown:
            raise UsageError(f"{self.url}: storage options are {{'headers': ...}}, not {unknown}")
        given: Any = self._options.get("headers", {})
        return HttpFiles(self.url, {**given, **self._login})

    @cached_property
    def _bucket(self) -> Bucket:
        return bucket_of(self.protocol)

    def _call(
        self, verb: str, path: str, *arguments: Any, size_bytes: int = 0, **options: Any
    ) -> Any:
        """Call a method of the filesystem; patiently where it is asynchronous, hence remote."""
        full, what = self.full(path), f"{_TOLD[verb]} {path}".rstrip()
        if not self._fs.async_impl:
            with self.errors(what):
                return getattr(self._fs, verb)(full, *arguments, **options)
        call = functools.partial(getattr(self._fs, f"_{verb}"), full, *arguments, **options)
        return self._wait(call, what, size_bytes)

    def errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Turn a folder's OSErrors in the block into StorageError or AccessError."""
        return local_errors(f"{self.url}: {what}")

    def _wait(self, call: Callable[[], Awaitable[T]], what: str, size_bytes: int = 0) -> T:
        answer: T = fsspec.asyn.sync(
            self._fs.loop,
            retry_async,
            call,
            self._bucket,
            what=f"{self.url}: {what}",
            size_bytes=size_bytes,
        )
        return answer

    def join(self, *parts: str) -> str:
        """Return a relative path."""
        return posixpath.join(*parts)

    def below(self, path: str) -> Location:
        """Return the location of a folder below, with the same options."""
        below = Location(f"{self.url}/{path}", self._options, read_only=self.read_only)
        below._login = self._login
        return below

    def full(self, path: str) -> str:
        """Return the filesystem's own name of a relative path."""
        root = str(self._fs._strip_protocol(self.url))
        return posixpath.join(root, path) if path else root

    def ensure_workspace(self) -> None:
        """Raise NoInputError where nothing is here: a typo in the URL, or nothing ingested yet."""
        if not self.names(""):
            raise NoInputError(f"no workspace at {self.url}: `fadae ingest` makes one")

    def ensure_shared(self, scheduler: str | None) -> None:
        """Raise UsageError where a job cannot run: for reading, or not seen by its workers."""
        self.ensure_writable()
        if self.is_in_process and scheduler:
            raise UsageError(
                f"{self.url} exists inside this process only; workers of {scheduler} cannot see "
                "it. Use a folder or a bucket that all of them share."
            )

    def exists(self, path: str) -> bool:
        """Return whether an object or a folder is there."""
        return bool(self._call("exists", path))

    def size_bytes(self, path: str) -> int:
        """Return an object's size; raises FileNotFoundError."""
        return int(self._call("info", path)["size"])

    def modified_seconds(self, path: str) -> float:
        """Return when an object was last written, in seconds since 1970; FileNotFoundError.

        Minus infinity where the filesystem does not say.
        """
        return _modified_seconds(self._call("info", path))

    def found_below(self, path: str) -> dict[str, Found]:
        """Return all objects below a folder, however deep, by their paths from there."""
        found = self._call("find", path, detail=True)
        start = self.full(path).rstrip("/") + "/"
        return {
            str(name).removeprefix(start): Found(int(told["size"]), _modified_seconds(told))
            for name, told in sorted(found.items())
            if told["type"] == "file"
        }

    def read_bytes(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Return an object's bytes, or a range of them; raises FileNotFoundError."""
        return bytes(self._call("cat_file", path, start=start, end=stop))

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes]:
        """Yield the bytes of many small objects in their order; raises FileNotFoundError."""
        return self.concurrently(self.read_bytes, paths)

    def concurrently(
        self, function: Callable[[Value], Result], values: Iterable[Value]
    ) -> Iterator[Result]:
        """Yield function(value) in order; several at a time where a call costs a round trip."""
        if self.is_local or self.is_in_process:
            yield from map(function, values)
            return
        with ThreadPoolExecutor(_THREADS) as threads:
            for batch in batched(values, 8 * _THREADS):
                yield from threads.map(function, batch)

    def write_bytes(
        self, path: str, data: bytes | memoryview, content_type: str | None = None
    ) -> None:
        """Write an object whole: a reader sees the old bytes or the new ones, never a part.

        `content_type` is what a bucket tells browsers that open the object.
        """
        self.ensure_writable()
        if self.is_local:
            with self.writing(path) as file:
                file.write(data)
            return
        is_told = content_type and not self.is_in_process
        options = self._bucket.typed(content_type) if content_type and is_told else {}
        self._call("pipe_file", path, bytes(data), size_bytes=len(data), **options)

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """Write an object by parts; it appears whole at the block's end, or not at all."""
        self.ensure_writable()
        if not self.is_local:
            # fsspec's own writers complete the object when an exception passes through them.
            with tempfile.NamedTemporaryFile(prefix="fadae-") as spool:
                yield spool
                spool.flush()
                size = spool.seek(0, os.SEEK_END)
                self._put(spool.name, path, size)
            return
        target, what = Path(self.full(path)), f"write {path}"
        with self.errors(what):
            _make_folder(target.parent)
            descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL)
        try:
            # What else the block does fails as it will: only writes are this folder's.
            with io.BufferedWriter(_Written(descriptor, f"{self.url}: {what}")) as file:
                yield file
            with self.errors(what):
                Path(partial).chmod(0o644)
                Path(partial).replace(target)
        except BaseException:  # raised again: what is half written goes
            Path(partial).unlink(missing_ok=True)
            raise

    def _put(self, local: str, path: str, size_bytes: int) -> None:
        if not self._fs.async_impl:
            with self.errors(f"write {path}"):
                self._fs.put_file(local, self.full(path))
            return
        put = functools.partial(self._fs._put_file, local, self.full(path))
        self._wait(put, f"write {path}", size_bytes)

    def create_exclusive(self, path: str, data: bytes) -> bool:
        """Write an object only if it is not there; return whether this call created it.

        On a remote filesystem False may also mean that an earlier attempt of this very call
        succeeded and its answer was lost: go by what the object holds.
        """
        self.ensure_writable()
        if self.is_local:
            with self.errors(f"create {path}"):
                return self._link_exclusive(path, data)
        return self.replace(path, data, None)

    def _link_exclusive(self, path: str, data: bytes) -> bool:
        target = Path(self.full(path))
        _make_folder(target.parent)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=PARTIAL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(partial).chmod(0o644)
            os.link(partial, target)  # fails where the name exists: atomic and whole
        except FileExistsError:
            return False
        finally:
            Path(partial).unlink()
        return True

    def read_version(self, path: str) -> tuple[bytes, str]:
        """Return an object's bytes and the version they are; raises FileNotFoundError."""
        if self._fs.async_impl:
            read = functools.partial(self._bucket.read_version, self._fs, self.full(path))
            return self._wait(read, f"read {path}")
        data = self.read_bytes(path)
        return data, digest(data)

    def find_version(self, path: str) -> tuple[bytes | None, str | None]:
        """Return an object's bytes and the version they are, None both where it is absent."""
        try:
            return self.read_version(path)
        except FileNotFoundError:
            return None, None

    def change(self, path: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Put what a function makes of an object in its place, compared and swapped.

        It is given the bytes, None where there are none, and asked again where another writer was
        quicker. Nothing is written where it returns None, or what is there.
        """
        while True:
            stored, version = self.find_version(path)
            data = change(stored)
            if data is None or data == stored or self.replace(path, data, version):
                return

    def replace(self, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if it still is of a version, None if it is absent; return whether.

        On a remote filesystem False may also mean that an earlier attempt of this very call
        succeeded and its answer was lost: go by what the object holds.
        """
        self.ensure_writable()
        self.ensure_conditions()
        if _conditional.get(self.url):
            replace = functools.partial(
                self._bucket.replace, self._fs, self.full(path), data, version
            )
            return self._wait(replace, f"replace {path}", len(data))
        lock = None
        if self.is_local:
            lock = Path(self.full(LOCK))
            _make_folder(lock.parent)
        with self.errors(f"replace {path}") if self.is_local else contextlib.nullcontext():
            return conditional.replaced(
                lambda: self.read_version(path)[1],
                lambda: self.write_bytes(path, data),
                version,
                lock,
            )

    def has_locks(self) -> bool:
        """Return whether a folder, made where it is missing, has locks; buckets need none."""
        self.ensure_writable()
        if not self.is_local:
            return True
        lock = Path(self.full(LOCK))
        with self.errors("lock"):
            _make_folder(lock.parent)
            return conditional.has_locks(lock)

    def ensure_conditions(self) -> bool:
        """Return whether two drivers cannot overwrite each other; a bucket is asked once a process.

        Raises AccessError where they can, unless its user says that they come singly.
        """
        self.ensure_writable()
        if self.is_local or self.is_in_process:
            return True
        if self.url not in _conditional:
            ignored = self._wait(self._ignored_condition, "look for conditional writes")
            if ignored:
                conditional.ensure_alone(self.url, ignored)
            _conditional[self.url] = not ignored
        return _conditional[self.url]

    async def _ignored_condition(self) -> str:
        path = self.full(f"{PARTIAL}{uuid.uuid4().hex}")  # another one at each attempt
        return await ignored_condition(self._bucket, self._fs, path)

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[IO[bytes]]:
        """Give an object as a local file, to read through once; raises FileNotFoundError."""
        if self.is_local:
            with self.errors(f"read {path}"), Path(self.full(path)).open("rb") as file:
                yield file
            return
        size = self.size_bytes(path)
        with tempfile.TemporaryFile(prefix="fadae-") as spool:
            for start in range(0, size, _RANGE_BYTES):
                spool.write(self.read_bytes(path, start, min(start + _RANGE_BYTES, size)))
            spool.seek(0)
            yield spool

    def names(self, path: str) -> list[str]:
        """Return the sorted names directly below a folder; empty where there is none."""
        try:
            found = self._call("ls", path, detail=False)
        except FileNotFoundError:
            return []
        # A bucket may answer for an emptied folder with the folder itself.
        below = {str(name).rstrip("/") for name in found} - {self.full(path).rstrip("/")}
        names = {posixpath.basename(name) for name in below}
        return sorted(name for name in names if not name.startswith(PARTIAL))

    def delete(self, path: str) -> None:
        """Remove an object, or a folder with all below it; nothing where there is none."""
        self.ensure_writable()
        with contextlib.suppress(FileNotFoundError):
            self._call("rm", path, recursive=True)

    def delete_many(self, paths: Iterable[str]) -> None:
        """Remove objects, many in one request where a bucket offers that; absent ones too."""
        self.ensure_writable()
        for batch in batched(paths, _REMOVED_AT_ONCE):
            full = [self.full(path) for path in batch]
            if self._fs.async_impl and not any(map(has_magic, full)):  # it would look for those
                self._wait(functools.partial(self._fs._rm, full), f"remove {batch[0]} ...")
            else:
                for _ in self.concurrently(self.delete, batch):
                    pass

    def zarr_store(self, path: str, *, read_only: bool = False) -> Any:
        """Return the zarr store of a group below this location, patient where it is remote."""
        if self.is_http:
            return HttpStore(self._http, self.full(path))
        if self.is_local:
            return zarr.storage.LocalStore(self.full(path), read_only=read_only)
        if self.is_in_process:
            url, options = f"{self.url}/{path}", self._options
            return zarr.storage.FsspecStore.from_url(url, options, read_only=read_only)
        filesystem = self._bucket.opened(self.url, self._options, asynchronous=True)
        store = zarr.storage.FsspecStore(filesystem, read_only, self.full(path))
        return RetryingStore(store, self._bucket)


def _modified_seconds(told: Mapping[str, Any]) -> float:
    # Local and Google, S3, Azure, memory.
    names = ("mtime", "LastModified", "last_modified", "created")
    found = next((told[name] for name in names if name in told), -math.inf)
    return found.timestamp() if isinstance(found, datetime) else float(found)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file of that name; to callers it means another thing
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from error


class _Written(io.FileIO):
    """A local file being written, whose failures are told as the workspace's."""

    def __init__(self, descriptor: int, what: str) -> None:
        super().__init__(descriptor, "wb")
        self._what = what

    def write(self, data: Any, /) -> int:
        with local_errors(self._what):
            return super().write(data)
