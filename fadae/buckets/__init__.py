"""The kinds of bucket: S3, Google Cloud Storage, Azure Blob; each is loaded where it is in use."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.buckets.bucket import Bucket, bucket_of, digest, ignored_condition, one_line
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.buckets.bucket": [
                "Bucket",
                "bucket_of",
                "digest",
                "ignored_condition",
                "one_line",
            ],
        },
    )

__all__ = ["Bucket", "bucket_of", "digest", "ignored_condition", "one_line"]
