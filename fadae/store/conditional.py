"""Writing an object only if nobody else has meanwhile: what publication rests on.

A bucket does it itself (`fadae.buckets`). In a folder a lock, which ends with the process that
holds it, makes one step of comparing and renaming.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from fadae.errors import AccessError

log = logging.getLogger("fadae.store")

SINGLE_DRIVER = "FADAE_SINGLE_DRIVER"  # set where a bucket has no conditional writes, see below
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_in_process = threading.RLock()


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
    find: Callable[[], str], write: Callable[[], None], version: str | None, lock: Path | None
) -> bool:
    """Write an object if it still is of the version that is found, None where it is absent."""
    with locked(lock):
        try:
            found = find()
        except FileNotFoundError:
            found = None
        if found != version:
            return False
        write()
        return True


def ensure_alone(url: str, ignored: str) -> None:
    """Refuse a store that ignores conditions unless its user says that drivers come singly."""
    if not os.environ.get(SINGLE_DRIVER):
        raise AccessError(
            f"{url} has no conditional writes ({ignored}), so that two drivers at once could "
            f"take each other's publications back: set {SINGLE_DRIVER}=1 if you never run two at "
            "once"
        )
