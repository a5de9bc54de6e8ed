"""What each kind of bucket has of its own: options, errors, writes under a condition."""

from __future__ import annotations

import abc
import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import fsspec
import fsspec.utils

from fadae.errors import AccessError, StorageError, UsageError

Fault = Literal["refused", "passing", "own"]
"""What an error means: it comes again, it may go away, it is not of the bucket."""

# What a server says that is busy, or failing: the same request may succeed later.
PASSING_STATUSES = frozenset({408, 429, *range(500, 600)})
_REMOVED_AT_ONCE = 32
_LONGEST_TEXT = 400  # of an error, in characters: Azure's tell of eight ways to be somebody
_REFUSED = (PermissionError, IsADirectoryError, NotADirectoryError)


def digest(data: bytes) -> str:
    """Return the version of an object where its store has none: what it holds."""
    return hashlib.sha256(data).hexdigest()


class Bucket(abc.ABC):
    """A kind of object store; a path is "bucket/key", as fsspec has it."""

    variables: ClassVar[str]
    """The environment variables that credentials come from, for whoever has to set them."""
    condition: ClassVar[str]
    """What a write under a condition is asked by."""
    nobodys: ClassVar[str]
    """A version that no object has."""

    @abc.abstractmethod
    def filesystem(
        self, url: str, options: Mapping[str, object], *, asynchronous: bool = False
    ) -> Any:
        """Return fsspec's file system for a URL.

        asynchronous: for the event loop that it is first used in, zarr's say, instead of fsspec's.
        """

    @abc.abstractmethod
    async def read_version(self, filesystem: Any, path: str) -> tuple[bytes, str]:
        """Return an object's bytes and their version; raises FileNotFoundError."""

    @abc.abstractmethod
    async def replace(self, filesystem: Any, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if it still is of a version, None if it is absent; return whether.

        Raises NotImplementedError where the bucket says that it knows no conditions.
        """

    def fault(self, error: BaseException) -> Fault:
        """Return what an error of this file system means."""
        import aiohttp  # where something failed, which may be never

        if isinstance(error, _REFUSED):
            return "refused"
        return "passing" if isinstance(error, OSError | aiohttp.ClientError) else "own"

    def typed(self, content_type: str) -> dict[str, object]:
        """Return the options of a write that tell browsers what an object is."""
        return {}

    def opened(self, url: str, options: Mapping[str, object], *, asynchronous: bool = False) -> Any:
        """Return `filesystem`; raises AccessError, StorageError or UsageError."""
        try:
            return self.filesystem(url, options, asynchronous=asynchronous)
        except Exception as error:  # of libraries unloaded as yet: `fault` sorts them
            match self.fault(error):
                case "refused":
                    raise self.refused(f"open {url}", error) from error
                case "passing":
                    raise StorageError(f"open {url}: {one_line(error)}; try again") from error
            if isinstance(error, ValueError | ImportError):
                raise UsageError(f"cannot use {url}: {one_line(error)}") from error
            raise

    def refused(self, what: str, error: BaseException) -> AccessError:
        """Return what a user is told whom the bucket refuses something."""
        return AccessError(
            f"{what}: {one_line(error)}; check the URL, its credentials ({self.variables}) "
            "and their rights"
        )


class OtherBucket(Bucket):
    """Any other remote file system of fsspec: it has no conditions that fadae knows how to ask."""

    variables = "where its fsspec package looks for them"
    condition = "fadae knows none for this kind of store"
    nobodys = ""

    def filesystem(
        self, url: str, options: Mapping[str, object], *, asynchronous: bool = False
    ) -> Any:
        """Return fsspec's file system for a URL."""
        more = {"asynchronous": True} if asynchronous else {}
        return fsspec.filesystem(fsspec.utils.get_protocol(url), **more, **options)

    async def read_version(self, filesystem: Any, path: str) -> tuple[bytes, str]:
        """Return an object's bytes and their digest; raises FileNotFoundError."""
        data = bytes(await filesystem._cat_file(path))
        return data, digest(data)

    async def replace(self, filesystem: Any, path: str, data: bytes, version: str | None) -> bool:
        """Raise NotImplementedError."""
        raise NotImplementedError


# Of each protocol: the class, the package it needs and the extra of fadae's that brings it.
_S3 = ("s3", "S3Bucket", "s3fs", "")
_GOOGLE = ("google", "GoogleBucket", "gcsfs", "gcs")
_AZURE = ("azure", "AzureBucket", "adlfs", "azure")
_KINDS = {"s3": _S3, "s3a": _S3, "gs": _GOOGLE, "gcs": _GOOGLE} | dict.fromkeys(
    ("az", "abfs", "abfss"), _AZURE
)


@functools.cache
def bucket_of(protocol: str) -> Bucket:
    """Return the kind of bucket of a URL's protocol; raises UsageError where it is not installed.

    >>> bucket_of("s3").condition, bucket_of("sftp").condition
    ('If-Match', 'fadae knows none for this kind of store')
    """
    if protocol not in _KINDS:
        return OtherBucket()
    module, name, package, extra = _KINDS[protocol]
    try:
        kind: type[Bucket] = getattr(import_module(f"fadae.buckets.{module}"), name)
    except ImportError as error:
        install = f"fadae[{extra}]" if extra else package
        raise UsageError(
            f"{protocol}:// needs {package} ({one_line(error)}): pip install '{install}'"
        ) from error
    return kind()


async def ignored_condition(bucket: Bucket, filesystem: Any, path: str) -> str:
    """Return what a bucket does other than asked of writes under a condition; empty: nothing.

    A server that ignores conditions answers as one that keeps to them until two writers meet: so
    each kind of answer is asked for, of an object of its own, which is removed.
    """
    try:
        made = await bucket.replace(filesystem, path, b"1", None)
    except NotImplementedError:
        return bucket.condition
    try:
        again = await bucket.replace(filesystem, path, b"2", None)
        stale = await bucket.replace(filesystem, path, b"3", bucket.nobodys)
        _, version = await bucket.read_version(filesystem, path)
        fresh = await bucket.replace(filesystem, path, b"4", version)
    finally:
        await filesystem._rm([path])
    if again or stale:
        of = "what is there already" if again else "another version"
        return f"{bucket.condition}: it replaces {of}"
    if not (made and fresh):
        return f"{bucket.condition}: it refuses what is {'of that version' if made else 'absent'}"
    return ""


async def all_of(removals: Iterable[Awaitable[None]]) -> None:
    """Await removals, some at a time; what has gone already is removed."""
    slots = asyncio.Semaphore(_REMOVED_AT_ONCE)

    async def one(removal: Awaitable[None]) -> None:
        async with slots:
            try:
                await removal
            except FileNotFoundError:
                return

    await asyncio.gather(*map(one, removals))


def one_line(error: BaseException) -> str:
    """Return an error's text in one line, cut where it is long, or its name where it has none.

    >>> one_line(OSError("No\\n such\\tbucket.")), one_line(TimeoutError())
    ('No such bucket', 'TimeoutError()')
    """
    text = " ".join(str(error).split()).rstrip(".") or repr(error)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."
