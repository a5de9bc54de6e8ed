"""What many tests need: the shared folder, a real S3 server, free ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import S3Server, s3_server

# Before NumPy or torch start their pools: one thread a process, as workers and ranks run.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def shared_dir() -> Path:
    """The folder of reference vectors and recordings beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("FADAE_SHARED", default))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """A folder of real music; tests that need it skip where it is absent."""
    folder = shared_dir() / "recordings"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """A folder of vectors written by zounds; tests that need it skip where it is absent."""
    folder = shared_dir() / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference vectors at {folder}")
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server: `.url` of its bucket, `.env` for processes, `.storage_options` for here.

    One for all tests of a session: use a prefix of your own below the bucket.
    """
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
