"""Amazon S3 and what speaks like it: SeaweedFS, MinIO, Ceph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import botocore.exceptions
import fsspec

from fadae.buckets.bucket import Bucket, Fault

# One range request an object spares the HEAD before every whole-object GET; time-outs bound a
# stalled connection, which by default hangs for 400 s. Retrying is `retry_async`'s: botocore's own
# five attempts below it would only multiply the waits.
_OPTIONS: Mapping[str, object] = {
    "max_concurrency": 1,
    "use_listings_cache": False,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 15,
        "max_pool_connections": 32,
        "retries": {"mode": "legacy", "max_attempts": 1},
    },
}
# A condition that does not hold; on AWS also one that another write is under way to break.
_CHANGED = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
_UNKNOWN = {"NotImplemented", "501"}
_PASSING = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.MetadataRetrievalError,
)
_REFUSED = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.NoRegionError,
    botocore.exceptions.ConfigParseError,
    botocore.exceptions.ParamValidationError,
)


class S3Bucket(Bucket):
    """A bucket whose versions are ETags."""

    variables = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE ..."
    condition = "If-Match"
    nobodys = '"00000000000000000000000000000000"'

    def filesystem(
        self, url: str, options: Mapping[str, object], *, asynchronous: bool = False
    ) -> Any:
        """Return s3fs's file system."""
        more = {"asynchronous": True} if asynchronous else {}
        return fsspec.filesystem("s3", **more, **{**_OPTIONS, **options})

    async def read_version(self, filesystem: Any, path: str) -> tuple[bytes, str]:
        """Return an object's bytes and its ETag; raises FileNotFoundError."""
        bucket, key, _ = filesystem.split_path(path)
        answer = await filesystem._call_s3("get_object", Bucket=bucket, Key=key)
        return await answer["Body"].read(), answer["ETag"]

    async def replace(self, filesystem: Any, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if it still has an ETag, or is absent; return whether."""
        bucket, key, _ = filesystem.split_path(path)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            await filesystem._call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
        except (FileNotFoundError, FileExistsError):  # what was to be replaced has gone; is there
            return False
        except PermissionError:
            raise
        except OSError as error:
            if _code(error) in _CHANGED:
                return False
            if _code(error) in _UNKNOWN:
                raise NotImplementedError from error
            raise
        filesystem.invalidate_cache(path)
        return True

    def fault(self, error: BaseException) -> Fault:
        """Return what an error means: s3fs makes OSErrors of a server's answers, 503 included."""
        if isinstance(error, _REFUSED):
            return "refused"
        if isinstance(error, ValueError) and "Invalid endpoint" in str(error):
            return "refused"  # botocore has no class for it
        return "passing" if isinstance(error, _PASSING) else super().fault(error)

    def typed(self, content_type: str) -> dict[str, object]:
        """Return the options of a write that tell browsers what an object is."""
        return {"ContentType": content_type}


def _code(error: OSError) -> str:
    """Return what a bucket answered: s3fs keeps it as the cause."""
    cause: Any = error.__cause__ or error.__context__
    return str(getattr(cause, "response", {}).get("Error", {}).get("Code", ""))
