"""Writing an object only if nobody else has meanwhile: what publication rests on.

A bucket does it itself (If-Match, If-None-Match). In a folder a lock, which ends with the process
that holds it, makes one step of comparing and renaming.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fadae.errors import AccessError

log = logging.getLogger("fadae.store")

SINGLE_DRIVER = "FADAE_SINGLE_DRIVER"  # set where a bucket has no conditional writes, see below
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
# A condition that does not hold; on AWS also one that another write is under way to break.
_REFUSED = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
_UNKNOWN = {"NotImplemented", "501"}
_in_process = threading.RLock()


def digest(data: bytes) -> str:
    """Return the version of an object where its store has none: what it holds."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def locked(file: Path | None) -> Iterator[None]:
    """Hold a lock among processes, and among this one's threads; without a file, the latter."""
    with _in_process:
        if file is None:
            yield
            return
        with file.open("ab") as opened:
            if not _flocked(opened):
                _tell_no_locks(file.parent)
            yield


def has_locks(file: Path) -> bool:
    """Return whether the filesystem of a file, made where it is missing, has locks."""
    with file.open("ab") as opened:
        return _flocked(opened)


def _flocked(opened: IO[bytes]) -> bool:
    """Lock an open file; return whether its filesystem has locks."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


@functools.cache
def _tell_no_locks(folder: Path) -> None:
    log.warning("%s has no locks: run one command that writes there at a time", folder)


def replaced(
    read: Callable[[], bytes], write: Callable[[], None], version: str | None, lock: Path | None
) -> bool:
    """Write an object if it still is of a version, None where it is to be absent."""
    with locked(lock):
        try:
            found = digest(read())
        except FileNotFoundError:
            found = None
        if found != version:
            return False
        write()
        return True


async def s3_read(fs: Any, path: str) -> tuple[bytes, str]:
    """Return an object of a bucket and its ETag; raises FileNotFoundError."""
    bucket, key, _ = fs.split_path(path)
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    return await answer["Body"].read(), answer["ETag"]


async def s3_replace(fs: Any, path: str, data: bytes, version: str | None) -> bool:
    """Write an object of a bucket if it still has an ETag, or is absent; return whether."""
    bucket, key, _ = fs.split_path(path)
    condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
    try:
        await fs._call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
    except (FileNotFoundError, FileExistsError):  # what was to be replaced has gone; is there
        return False
    except PermissionError:
        raise
    except OSError as error:
        if _code(error) in _REFUSED:
            return False
        raise
    fs.invalidate_cache(path)
    return True


def _code(error: OSError) -> str:
    """Return what a bucket answered: s3fs keeps it as the cause."""
    cause: Any = error.__cause__ or error.__context__
    return str(getattr(cause, "response", {}).get("Error", {}).get("Code", ""))


async def s3_has_conditions(fs: Any, path: str) -> bool:
    """Return whether a bucket keeps to If-Match: it must not make an object that replaces none."""
    try:
        if not await s3_replace(fs, path, b"", '"00000000000000000000000000000000"'):
            return True
    except OSError as error:
        if _code(error) not in _UNKNOWN:
            raise
        return False
    await fs._rm_file(path)
    return False


def ensure_alone(url: str) -> None:
    """Refuse a store without conditional writes unless its user says that drivers come singly."""
    if not os.environ.get(SINGLE_DRIVER):
        raise AccessError(
            f"{url} has no conditional writes (If-Match), so that two drivers at once could take "
            f"each other's publications back: set {SINGLE_DRIVER}=1 if you never run two at once"
        )
