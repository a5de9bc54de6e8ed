"""Every kind of store that a workspace can be in, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from fadae.store.location import Location
from tests.s3 import S3Server
from tests.stores import Store

STORES = ("folder", "memory", "s3", "moto", "google", "azure")
_drawn = itertools.count()


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Location]:
    """What opens one empty place anew, as another driver would."""
    place = f"place{next(_drawn)}"
    if request.param == "folder":
        return lambda: Location(str(tmp_path))
    if request.param == "memory":
        return lambda: Location(f"memory://{place}")
    server: S3Server | Store = request.getfixturevalue(request.param)
    return lambda: Location(f"{server.url}/{place}", server.storage_options)
