"""Recordings in a folder or bucket: every audio file below a URL that fsspec understands."""

from __future__ import annotations

import contextlib
import posixpath
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.utils import get_protocol

from fadae.archive.connection import retry
from fadae.archive.rate_limit import DEFAULT_POLICY, RequestPolicy
from fadae.archive.source import Page, Slot
from fadae.archive.text import clean_text, is_valid_name
from fadae.buckets import Bucket, bucket_of
from fadae.errors import (
    NoInputError,
    PermanentFailure,
    RecordingFailure,
    TransientError,
    TransientFailure,
    UsageError,
)
from fadae.records import Failure, Track

PAGE_FILES = 100
AUDIO_SUFFIXES = frozenset(
    """.aac .ac3 .aif .aifc .aiff .ape .au .caf .flac .m4a .m4b .mka .mp2 .mp3 .mpc .oga .ogg
    .opus .shn .snd .spx .tta .voc .w64 .wav .wma .wv""".split()  # noqa: SIM905 - one line, not 28
)
_LEADS_OUT = "a symbolic link leads out of the folder; --follow-links allows it"
_DEFINITE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """All audio files below a folder or bucket, as one item named like the folder.

    url: a local path, or a URL such as s3://bucket/prefix. Credentials come from the environment
    of each process. Files are audio by their suffix; hidden ones are passed over.
    """

    url: str
    request_policy: RequestPolicy = DEFAULT_POLICY
    follow_links: bool = False
    """Also take files that a symbolic link below a local folder leads to elsewhere."""

    def __post_init__(self) -> None:
        """Make a local path absolute: workers may run elsewhere."""
        if self._is_local:
            path = self.url.removeprefix("file://").removeprefix("local://")
            object.__setattr__(self, "url", str(Path(path).expanduser().absolute()))

    @property
    def item(self) -> str:
        """The folder's name, which stands in its recordings' ids.

        >>> FolderSource("s3://bucket/bach/organ/").item
        'organ'
        """
        name = posixpath.basename(self.url.rstrip("/"))
        return clean_text(name.partition("://")[2] or name, 100) or "folder"

    def selection(self) -> dict[str, Any]:
        """Return what is asked for."""
        values = {"source": "folder", "url": self.url}
        return {**values, "follow_links": True} if self.follow_links else values

    def pages(self, after: Page | None = None) -> Iterator[Page]:
        """Yield the files' names below the folder, sorted, in pages of 100.

        Raises UsageError for a folder that cannot be read, NoInputError where it holds no audio,
        TransientError where the bucket does not answer.
        """
        if after is not None and after.is_last:
            return
        names = self._names()
        if not names:
            raise NoInputError(f"no audio files below {self.url}")
        number = 0
        if after is not None:
            number = after.number + 1
            names = [name for name in names if name > after.resume]
        for start in range(0, max(1, len(names)), PAGE_FILES):
            entries = tuple(names[start : start + PAGE_FILES])
            is_last = start + PAGE_FILES >= len(names)
            yield Page(number, entries, "" if is_last else entries[-1])
            number += 1

    def tracks(self, page: Page, slot: Slot | None = None) -> Iterator[Track | Failure]:
        """Yield a page's files as tracks; a Failure for a name that is no text or leads out."""
        for name in page.entries:
            reason = _LEADS_OUT
            if not is_valid_name(name):
                reason = "the file's name is not valid UTF-8"
            elif not self._leads_out(name):
                title = clean_text(PurePosixPath(name).stem)
                yield Track(self.item, name, title, url=f"{self.url.rstrip('/')}/{name}")
                continue
            yield Failure.of(clean_text(f"{self.item}/{name}"), PermanentFailure(reason))

    def fetch(self, track: Track, to: Path) -> None:
        """Copy a file. Raises TransientFailure or PermanentFailure."""
        retry(partial(self._copy, track.file, to), self.request_policy)

    def _leads_out(self, name: str) -> bool:
        """Return whether a symbolic link takes a local file out of the folder, unless allowed."""
        if self.follow_links or not self._is_local:
            return False
        root = Path(self.url).resolve()
        return not (root / name).resolve().is_relative_to(root)

    @property
    def _is_local(self) -> bool:
        return get_protocol(self.url) in ("file", "local")

    @property
    def _bucket(self) -> Bucket:
        return bucket_of(get_protocol(self.url))

    def _filesystem(self) -> tuple[Any, str]:
        """Return the filesystem and the folder's path in it."""
        if self._is_local:
            filesystem = fsspec.filesystem("file")
        else:
            filesystem = self._bucket.opened(self.url, {})
        return filesystem, str(filesystem._strip_protocol(self.url)).rstrip("/")

    def versions(self) -> Iterator[tuple[str, str]]:
        """Yield the audio files' names, sorted, and of each what changes when it does.

        Its size, and when it was written or its ETag. Raises what `pages` raises, but for a folder
        that is empty.
        """
        filesystem, root = self._filesystem()
        filesystem.invalidate_cache()
        for path, told in sorted(self._found(filesystem, root).items()):
            if _is_audio(name := path[len(root) :].lstrip("/")):
                marks = ("size", "mtime", "ETag", "LastModified", "created")
                yield name, " ".join(str(told[mark]) for mark in marks if mark in told)

    def _names(self) -> list[str]:
        """Return the audio files' paths below the folder, sorted."""
        filesystem, root = self._filesystem()
        names = (path[len(root) :].lstrip("/") for path in self._found(filesystem, root))
        return sorted(name for name in names if _is_audio(name))

    def _found(self, filesystem: Any, root: str) -> dict[str, dict[str, Any]]:
        """Return all files below the folder, and what their filesystem tells of each."""

        def listed(deadline: float) -> tuple[dict[str, dict[str, Any]], bool]:
            with self._classified(self.url):
                paths: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
                return paths, not paths and not filesystem.isdir(root)

        try:
            paths, is_missing = retry(listed, self.request_policy)
        except PermanentFailure as error:
            raise UsageError(f"cannot read folder {error}") from error
        except RecordingFailure as error:
            raise TransientError(f"{error}; run the same command again") from error
        if is_missing:
            raise UsageError(f"no folder {self.url}")
        return paths

    def _copy(self, name: str, to: Path, deadline: float) -> None:
        filesystem, root = self._filesystem()
        path = f"{root}/{name}"
        # A name comes back from a stored listing: it must not lead out of the folder.
        if ".." in name.split("/"):
            raise PermanentFailure("the file's name leads out of the folder")
        if self._leads_out(name):
            raise PermanentFailure(_LEADS_OUT)
        with self._classified(name):
            info = filesystem.info(path)
            if info["type"] != "file" and not (self._is_local and Path(path).is_file()):
                raise PermanentFailure("not a regular file")
            if info["size"] > self.request_policy.file_bytes:
                raise PermanentFailure(
                    f"larger than the limit of {self.request_policy.file_bytes} bytes"
                )
            if self._is_local:
                shutil.copyfile(path, to)
                return
            with filesystem.open(path, "rb") as source, to.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        if to.stat().st_size != info["size"]:
            raise TransientFailure(f"only {to.stat().st_size} of {info['size']} bytes arrived")

    @contextlib.contextmanager
    def _classified(self, what: str) -> Iterator[None]:
        """Turn a filesystem's errors into failures."""
        try:
            yield
        except RecordingFailure:
            raise
        except _DEFINITE as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise PermanentFailure(f"{clean_text(what)}: {clean_text(reason)}") from error
        except Exception as error:  # of libraries unloaded as yet: `fault` sorts them
            fault = self._bucket.fault(error)
            if fault == "own":
                raise
            failure = TransientFailure if fault == "passing" else PermanentFailure
            raise failure(f"{clean_text(what)}: {clean_text(repr(error))}") from error


def _is_audio(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
