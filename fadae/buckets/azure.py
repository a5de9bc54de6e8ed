"""Azure Blob Storage, through adlfs; also with a hierarchical namespace (Data Lake)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient
from fsspec.asyn import get_loop

from fadae.buckets.bucket import PASSING_STATUSES, Bucket, Fault, all_of

_OPTIONS: Mapping[str, object] = {"use_listings_cache": False, "max_concurrency": 4}
# What it warns of stands in the error that follows.
logging.getLogger("azure.identity").setLevel(logging.ERROR)


class _Transport(AioHttpTransport):  # type: ignore[misc]  # Any where aiohttp is not typed
    """Connections that adlfs can close as the process ends, when the loop they are of has gone."""

    session: Any

    async def close(self) -> None:
        """Let go of the connections."""
        if self.session is not None:
            self.session.connector._close()  # waits for nothing; s3fs and gcsfs do the same
            self.session = None


class _AzureFileSystem(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs has no types
    """adlfs with one attempt a request, one level a listing, and failures told as they are."""

    @property
    def loop(self) -> Any:
        """The event loop that adlfs closes the client in, at the process' end."""
        return super().loop or get_loop()

    def do_connect(self) -> None:
        """Make the client, of a connection string or of an account and its credential."""
        transport = _Transport(connection_timeout=5, read_timeout=15)
        # One attempt a request: `retry_async` repeats it; Azure's own pauses begin at 15 s.
        client: Any = {"transport": transport, "retry_total": 0}
        if self.connection_string:
            made = BlobServiceClient.from_connection_string(self.connection_string, **client)
        elif self.account_name:
            host = getattr(self, "account_host", f"{self.account_name}.blob.core.windows.net")
            credential = self.credential or self.account_key or self.sas_token
            made = BlobServiceClient(f"https://{host}", credential=credential, **client)
        else:
            raise ValueError("no storage account is named")
        if self.account_name not in (None, made.account_name):
            raise ValueError(
                f"the URL or AZURE_STORAGE_ACCOUNT_NAME names the storage account "
                f"{self.account_name}, the connection string {made.account_name}"
            )
        self.service_client = made

    def split_path(self, path: str, *more: Any, **options: Any) -> tuple[str, str, None]:
        """Return the container, the blob and no version of a path."""
        plain = self._strip_protocol(path) if "://" in path else path
        container, _, key = plain.strip("/").partition("/")
        return container, key, None

    async def _ls(self, path: str, detail: bool = False, **options: Any) -> list[Any]:
        container, key, _ = self.split_path(path)
        below = f"{key}/" if key else ""
        client = self.service_client.get_container_client(container)
        with _answers(path):
            walked = client.walk_blobs(name_starts_with=below, include=["metadata"], delimiter="/")
            found = await self._details([one async for one in walked])
        by_name = {one["name"]: one for one in found}  # a folder may be a blob and a prefix
        if key and not by_name and not await self._exists(path):
            raise FileNotFoundError(path)
        return list(by_name.values()) if detail else sorted(by_name)

    async def _find(
        self, path: str, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        container, key, _ = self.split_path(path)
        below = f"{key}/" if key else ""
        client = self.service_client.get_container_client(container)
        with _answers(path):
            listed = client.list_blobs(name_starts_with=below, include=["metadata"])
            told = await self._details([one async for one in listed])
        found = {one["name"]: one for one in told if withdirs or one["type"] == "file"}
        return found if detail else sorted(found)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        if (start or 0) < 0 or (end or 0) < 0:  # Azure has no ranges from the end
            start, end, _ = slice(start, end).indices((await self._info(path))["size"])
        if end is not None and end <= (start or 0):
            return b""
        length = None if end is None else end - (start or 0)
        return (await self.download(path, start or 0, length))[0]

    async def download(
        self, path: str, start: int = 0, length: int | None = None
    ) -> tuple[bytes, str]:
        """Return a blob's bytes from a place on, and its ETag; raises FileNotFoundError."""
        client = self.service_client.get_blob_client(*self.split_path(path)[:2])
        with _answers(path):
            try:
                stream = await client.download_blob(
                    start, length, max_concurrency=self.max_concurrency
                )
            except HttpResponseError as error:
                if error.status_code == 416:  # nothing of the blob is in that range
                    return b"", ""
                raise
            return await stream.readall(), stream.properties.etag

    async def _pipe_file(
        self, path: str, value: bytes, overwrite: bool = True, mode: str = "", **options: Any
    ) -> None:
        await self.upload(path, value, overwrite=overwrite and mode != "create", **options)

    async def _put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        with Path(lpath).open("rb") as file:
            await self.upload(rpath, file, overwrite=True)

    async def upload(self, path: str, data: Any, **options: Any) -> None:
        """Write a blob. Raises FileExistsError where a condition in the options does not hold."""
        client = self.service_client.get_blob_client(*self.split_path(path)[:2])
        with _answers(path):
            await client.upload_blob(data, max_concurrency=self.max_concurrency, **options)

    async def _rm(self, path: str | list[str], recursive: bool = False, **options: Any) -> None:
        paths = {path} if isinstance(path, str) else set(path)
        folders = list[str]()
        if recursive:
            for one in list(paths):
                found = await self._find(one, withdirs=True, detail=True)
                paths |= {name for name, told in found.items() if told["type"] == "file"}
                folders += [name for name, told in found.items() if told["type"] != "file"]
        # With a hierarchical namespace a folder is a blob, to be removed once it is empty.
        files = sorted(paths, key=lambda one: one.count("/"), reverse=True)
        above = [one for one in files if any(name.startswith(f"{one}/") for name in folders)]
        await all_of(self._rm_file(one) for one in files if one not in above)
        for one in [*sorted(folders, reverse=True), *above]:
            await all_of([self._rm_file(one)])

    async def _rm_file(self, path: str, **options: Any) -> None:
        container, key, _ = self.split_path(path)
        if key:
            with _answers(path):
                await self.service_client.get_blob_client(container, key).delete_blob()


@contextlib.contextmanager
def _answers(path: str) -> Iterator[None]:
    """Tell of what is not there, is there already or has changed as a folder does."""
    try:
        yield
    except ResourceNotFoundError as error:
        raise FileNotFoundError(path) from error
    except ResourceExistsError as error:
        raise FileExistsError(path) from error
    except HttpResponseError as error:
        if error.status_code == 412:
            raise FileExistsError(path) from error
        raise


class AzureBucket(Bucket):
    """A container whose versions are ETags."""

    variables = (
        "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with "
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or a workload's identity"
    )
    condition = "If-Match"
    nobodys = '"0x0"'

    def filesystem(
        self, url: str, options: Mapping[str, object], *, asynchronous: bool = False
    ) -> Any:
        """Return adlfs's file system; a URL may name the account: abfss://CONTAINER@ACCOUNT..."""
        named = _AzureFileSystem._get_kwargs_from_urls(url)
        return _AzureFileSystem(**{**_OPTIONS, **named, **options}, asynchronous=asynchronous)

    async def read_version(self, filesystem: Any, path: str) -> tuple[bytes, str]:
        """Return a blob's bytes and its ETag; raises FileNotFoundError."""
        found: tuple[bytes, str] = await filesystem.download(path)
        return found

    async def replace(self, filesystem: Any, path: str, data: bytes, version: str | None) -> bool:
        """Write a blob if it still has an ETag, or is absent; return whether."""
        options: dict[str, object] = {"overwrite": version is not None}
        if version is not None:
            options |= {"etag": version, "match_condition": MatchConditions.IfNotModified}
        try:
            await filesystem.upload(path, data, **options)
        except FileExistsError:
            return False
        return True

    def fault(self, error: BaseException) -> Fault:
        """Return what an error means, by the status of an answer where there is one."""
        if isinstance(error, ServiceRequestError | ServiceResponseError | DecodeError):
            return "passing"
        if isinstance(error, HttpResponseError) and error.status_code:
            return "passing" if error.status_code in PASSING_STATUSES else "refused"
        if isinstance(error, AzureError):  # no token to be had, a key that is none
            return "refused"
        if isinstance(error, ValueError) and "storage account" in str(error):
            return "refused"
        return super().fault(error)

    def typed(self, content_type: str) -> dict[str, object]:
        """Return the options of a write that tell browsers what an object is."""
        return {"content_settings": ContentSettings(content_type=content_type)}
