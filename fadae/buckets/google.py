"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec.config
import gcsfs.retry
import google.auth.exceptions
from gcsfs.core import GCSFileSystem

from fadae.buckets.bucket import PASSING_STATUSES, Bucket, Fault, all_of, digest

_OPTIONS: Mapping[str, object] = {"use_listings_cache": False, "requests_timeout": 15}
_BYTES = "application/octet-stream"
# What it warns of stands in the error that follows.
logging.getLogger("google.auth").setLevel(logging.ERROR)


class _GoogleFileSystem(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """gcsfs with one attempt a request, and writes that are right whatever the bytes are.

    Its own upload parts an object from its name by a fixed line, which a file from outside may
    hold; its own removal asks for a hundred in one request, which no other server understands.
    """

    _request = GCSFileSystem._request.__wrapped__  # `retry_async` repeats it

    @staticmethod
    def close_session(loop: Any, session: Any, asynchronous: bool = False) -> None:
        """Let go of the connections as the process ends, when the loop they are of has gone."""
        if session is not None and not session.closed:
            session.connector._close()  # waits for nothing

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        try:
            return bytes(await super()._cat_file(path, start, end, **options))
        except gcsfs.retry.HttpError as error:
            if _status(error) == 416:  # nothing of the object is in that range
                return b""
            raise

    async def _pipe_file(
        self,
        path: str,
        data: bytes,
        mode: str = "overwrite",
        content_type: str = _BYTES,
        **options: Any,
    ) -> None:
        await self.upload(path, data, "0" if mode == "create" else None, content_type)

    async def _put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        bucket, key, _ = self.split_path(rpath)
        with Path(lpath).open("rb") as file:
            headers = {"Content-Type": _BYTES}
            where = {"uploadType": "media", "name": key}
            await self._call("POST", self._uploads(bucket), headers=headers, data=file, **where)

    async def _rm(self, path: str | list[str], recursive: bool = False, **options: Any) -> None:
        paths = {path} if isinstance(path, str) else set(path)
        if recursive:
            paths |= {found for one in list(paths) for found in await self._find(one)}
        await all_of(self._rm_file(one) for one in paths if self.split_path(one)[1])

    async def upload(
        self, path: str, data: bytes, generation: str | None, content_type: str = _BYTES
    ) -> None:
        """Write an object; with a generation, only over that one, "0" for none.

        Raises FileExistsError where the object is of another.
        """
        bucket, key, _ = self.split_path(path)
        boundary = uuid.uuid4().hex.encode()
        told = json.dumps({"name": key, "contentType": content_type}).encode()
        body = b"".join(
            [
                b"--%b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%b\r\n"
                % (boundary, told),
                b"--%b\r\nContent-Type: %b\r\n\r\n" % (boundary, content_type.encode()),
                data,
                b"\r\n--%b--" % boundary,
            ]
        )
        headers = {"Content-Type": f'multipart/related; boundary="{boundary.decode()}"'}
        where = {"uploadType": "multipart", "ifGenerationMatch": generation}
        await self._call("POST", self._uploads(bucket), headers=headers, data=body, **where)

    def _uploads(self, bucket: str) -> str:
        return f"{self._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o"


class GoogleBucket(Bucket):
    """A bucket whose versions are generations."""

    variables = "GOOGLE_APPLICATION_CREDENTIALS, or a workload's identity"
    condition = "ifGenerationMatch"
    nobodys = "1"

    def filesystem(
        self, url: str, options: Mapping[str, object], *, asynchronous: bool = False
    ) -> Any:
        """Return gcsfs's file system, with the credentials that Google's libraries find.

        gcsfs itself would go on as nobody where it finds none, or fails to ask. An emulator
        (STORAGE_EMULATOR_HOST) needs none; `FSSPEC_GS_TOKEN=anon` reads what is public.
        """
        configured = any("token" in fsspec.config.conf.get(name, {}) for name in ("gs", "gcs"))
        token = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default"
        more = {} if configured else {"token": token}
        return _GoogleFileSystem(**{**_OPTIONS, **more, **options}, asynchronous=asynchronous)

    async def read_version(self, filesystem: Any, path: str) -> tuple[bytes, str]:
        """Return an object's bytes and its generation; raises FileNotFoundError.

        A server that tells none keeps to none: its version is what it holds.
        """
        headers, data = await filesystem._call("GET", filesystem.url(path))
        return data, headers.get("X-Goog-Generation") or digest(data)

    async def replace(self, filesystem: Any, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if it still is of a generation, or is absent; return whether."""
        try:
            await filesystem.upload(path, data, version or "0")
        except FileExistsError:
            return False
        return True

    def fault(self, error: BaseException) -> Fault:
        """Return what an error means: gcsfs makes a plain OSError of 403, an HttpError of most."""
        if isinstance(error, gcsfs.retry.HttpError):
            cause = error.__cause__  # a token could not be had: of the way to it, or of the account
            if isinstance(cause, google.auth.exceptions.GoogleAuthError):
                return self.fault(cause)
            return "passing" if _status(error) in PASSING_STATUSES else "refused"
        if isinstance(error, google.auth.exceptions.GoogleAuthError):
            away = google.auth.exceptions.TransportError
            causes = (error, error.__cause__, *error.args)
            is_passing = error.retryable or any(isinstance(cause, away) for cause in causes)
            return "passing" if is_passing else "refused"
        if isinstance(error, gcsfs.retry.ChecksumError):
            return "passing"
        forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden")
        bad = isinstance(error, ValueError) and str(error).startswith("Bad Request")
        if forbidden or bad or isinstance(error, gcsfs.retry.NonRetryableError):
            return "refused"
        return super().fault(error)

    def typed(self, content_type: str) -> dict[str, object]:
        """Return the options of a write that tell browsers what an object is."""
        return {"content_type": content_type}


def _status(error: gcsfs.retry.HttpError) -> int:
    """Return the status of an answer: gcsfs gives a number, or digits."""
    return int(error.code or 0)
