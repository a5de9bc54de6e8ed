"""The listening room on a workspace in a bucket: it answers as it does on a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote_plus

import pytest

from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.s3 import S3Server
from tests.synthetic import music, write_features, write_run
from tests.web.conftest import LONG, Served, serving

RECORDING = f"recording={quote_plus(LONG)}"


@pytest.fixture(scope="module")
def rooms(
    s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Served]]:
    """The same small workspace served from a folder and from a bucket."""
    folder = Location(str(tmp_path_factory.mktemp("folder") / "room"))
    bucket = Location(f"{s3.url}/room", s3.storage_options)
    for location in (folder, bucket):
        write_features(location, {LONG: music(20, seed=1)})
        write_run(location)
        write_run(location, "modelled", seed=1, widths=(32, 8))
        reconstruct(location, "default")
    with serving(folder) as local, serving(bucket) as remote:
        yield local, remote


@pytest.mark.parametrize(
    "path",
    [
        "workspace",
        "recordings?search=FUGUE",
        f"recording?{RECORDING}",
        f"audio?{RECORDING}&start=7&stop=12&source=original",
        f"audio?{RECORDING}&start=7&stop=12&source=transform&low_hz=400&high_hz=900",
        f"audio?{RECORDING}&start=7&stop=12&source=default",
        f"audio?{RECORDING}&start=7&stop=12&source=modelled",
        f"bands?{RECORDING}&start=0&stop=10&source=original",
        f"bands?{RECORDING}&start=0&stop=10&source=default",
        f"codes?{RECORDING}&start=0&stop=10&run=default",
        f"codes?{RECORDING}&start=0&stop=10&run=modelled",
        "curves?run=default",
    ],
)
def test_a_bucket_answers_as_a_folder_does(rooms: tuple[Served, Served], path: str) -> None:
    here, there = (room.get(f"/api/{path}") for room in rooms)
    assert (here.status, there.status) == (200, 200), there.data
    assert there.data == here.data
    assert _span(there.headers) == _span(here.headers)


def _span(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an answer's headers say of its picture; nothing for a sound."""
    return {name: value for name, value in headers.items() if name.lower().startswith("fadae-")}
