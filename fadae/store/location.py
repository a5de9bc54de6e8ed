"""A workspace's URL prefix on a shared filesystem, and the few verbs its objects need.

Local folders and s3:// are the two kinds that many processes share; memory:// serves inside one
process. Only the URL travels between processes: storage options stay where they were given, and
workers take theirs from the environment.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

import fsspec
import zarr.storage
from fsspec.utils import get_protocol

from fadae.errors import UsageError

# One range request an object spares the HEAD before
# every whole-object GET; time-outs bound a stalled connection, which by default hangs for 400 s.
S3_OPTIONS: dict[str, Any] = {
    "max_concurrency": 1,
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 15, "max_pool_connections": 32},
}


class Location:
    """One URL prefix and the objects below it, addressed by relative "/" paths.

    >>> Location("memory://example").join("runs", "default")
    'runs/default'
    """

    def __init__(self, url: str, storage_options: dict[str, Any] | None = None) -> None:
        """Take a folder or URL; a local path becomes absolute. Nothing is read or created."""
        self.protocol = get_protocol(url)
        if self.protocol in ("file", "local"):
            path = url.removeprefix("file://").removeprefix("local://")
            url = str(Path(path).expanduser().absolute())
        self.url = url.rstrip("/") or "/"
        self._options = storage_options or {}

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
    def is_in_process(self) -> bool:
        """Whether only this process can see it (memory://)."""
        return self.protocol == "memory"

    @cached_property
    def _fs(self) -> Any:
        options = dict(self._options)
        if self.protocol in ("s3", "s3a"):
            options = {**S3_OPTIONS, **options}
        try:
            return fsspec.filesystem(self.protocol, **options)
        except (ValueError, ImportError) as error:
            raise UsageError(f"cannot use workspace {self.url}: {error}") from error

    def join(self, *parts: str) -> str:
        """Return a relative path."""
        return posixpath.join(*parts)

    def full(self, path: str) -> str:
        """Return the filesystem's own name of a relative path."""
        return posixpath.join(str(self._fs._strip_protocol(self.url)), path) if path else self.url

    def exists(self, path: str) -> bool:
        """Return whether an object or a folder is there."""
        found: bool = self._fs.exists(self.full(path))
        return found

    def read_bytes(self, path: str) -> bytes:
        """Return an object's bytes; raises FileNotFoundError."""
        return bytes(self._fs.cat_file(self.full(path)))

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write an object whole: a reader sees the old bytes or the new ones, never a part."""
        if self.is_local:
            with self.writing(path) as file:
                file.write(data)
        else:
            self._fs.pipe_file(self.full(path), data)

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """Write an object by parts; it appears whole at the block's end, or not at all."""
        if not self.is_local:
            with self._fs.transaction, self._fs.open(self.full(path), "wb") as file:
                yield file
            return
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            Path(partial).chmod(0o644)
            Path(partial).replace(target)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise

    def create_exclusive(self, path: str, data: bytes) -> bool:
        """Write an object only if it is not there; return whether this call created it."""
        if self.is_local:
            return self._link_exclusive(path, data)
        try:
            self._fs.pipe_file(self.full(path), data, mode="create")
        except FileExistsError:
            return False
        except OSError:
            # SeaweedFS answers a lost race with a plain error (errno 22): look who won.
            if self.exists(path):
                return False
            raise
        return True

    def _link_exclusive(self, path: str, data: bytes) -> bool:
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.link(partial, target)  # fails where the name exists: atomic and whole
        except FileExistsError:
            return False
        finally:
            Path(partial).unlink()
        return True

    def open(self, path: str) -> IO[bytes]:
        """Return an object opened for reading by parts, seekable."""
        file: IO[bytes] = self._fs.open(self.full(path), "rb")
        return file

    def names(self, path: str) -> list[str]:
        """Return the sorted names directly below a folder; empty where there is none."""
        try:
            found = self._fs.ls(self.full(path), detail=False)
        except FileNotFoundError:
            return []
        names = {posixpath.basename(str(name).rstrip("/")) for name in found}
        return sorted(name for name in names if not name.startswith(".partial-"))

    def delete(self, path: str) -> None:
        """Remove an object, or a folder with all below it; nothing where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self.full(path), recursive=True)

    def zarr_store(self, path: str, *, read_only: bool = False) -> Any:
        """Return the zarr store of a group below this location."""
        if self.is_local:
            return zarr.storage.LocalStore(self.full(path), read_only=read_only)
        if self.is_in_process:
            return zarr.storage.FsspecStore.from_url(
                f"{self.url}/{path}", read_only=read_only, storage_options=self._options
            )
        options = {**S3_OPTIONS, **self._options}
        return zarr.storage.FsspecStore.from_url(
            f"{self.url}/{path}", storage_options=options, read_only=read_only
        )
