"""The same bytes on a real S3 server, through throttling, resets, stalls and a restart."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from fadae.errors import TransientError
from fadae.extract import extract, extract_shard
from fadae.store import patience
from fadae.store.dataset import FeatureSet
from fadae.store.location import Location
from fadae.store.verify import verify
from tests.proxy import FaultProxy
from tests.s3 import S3Server, s3_server
from tests.store.staged import RATE_HZ, stage_all, tree

LENGTHS = {"a/1 ü?#": 100 * RATE_HZ, "z/9": 3}
MORE = {"b/0": 40_000}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of features.zarr in a local folder, after growth."""
    folder = tmp_path_factory.mktemp("local")
    _ingest_and_extract(Location(str(folder)))
    return tree(folder / "features.zarr")


def _ingest_and_extract(location: Location) -> None:
    stage_all(location, LENGTHS)
    extract(location)
    stage_all(location, MORE, first_seed=10)
    extract(location)


def downloaded(location: Location, to: Path) -> dict[str, str]:
    location._fs.get(location.full("features.zarr"), str(to), recursive=True)
    return tree(to)


def options_through(proxy: FaultProxy, server: S3Server) -> dict[str, Any]:
    """Options to reach the server through the proxy, impatient with stalls."""
    return {
        **server.storage_options,
        "endpoint_url": proxy.url,
        "config_kwargs": {"connect_timeout": 2, "read_timeout": 2, "retries": {"max_attempts": 1}},
    }


def test_s3_holds_the_bytes_of_a_folder(
    s3: S3Server, expected: dict[str, str], tmp_path: Path
) -> None:
    location = Location(f"{s3.url}/plain", s3.storage_options)
    _ingest_and_extract(location)
    assert downloaded(location, tmp_path / "copy") == expected
    dataset = xr.open_zarr(f"{s3.url}/plain/features.zarr", storage_options=s3.storage_options)
    assert dataset.recording_id.values.tolist() == [*sorted(LENGTHS), *MORE]
    location._fs.pipe_file(location.full("features.zarr/features/c/0/0"), b"")
    assert verify(location, recompute=extract_shard)["shards_repaired"] == 1
    assert downloaded(location, tmp_path / "again") == expected


@pytest.mark.parametrize("fault", ["throttle", "reset", "cut", "stall"])
def test_faults_on_the_way_change_no_byte(
    fault: str,
    s3: S3Server,
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "ATTEMPT_SECONDS", 3.0)  # what ends a stalled upload
    with FaultProxy(s3.port + 3) as proxy:
        location = Location(f"{s3.url}/{fault}", options_through(proxy, s3))
        times = 3 if fault == "stall" else 20
        proxy.arm(*[fault] * times, spread=0.25, seed=1)
        _ingest_and_extract(location)
        assert proxy.armed == 0, "not all faults struck"
    direct = Location(location.url, s3.storage_options)
    assert downloaded(direct, tmp_path / "copy") == expected


def test_a_restart_of_the_server_is_outlived(expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    with s3_server(tmp_path / "s3") as server:
        location = Location(f"{server.url}/w", server.storage_options)
        stage_all(location, LENGTHS)
        restart = threading.Timer(0.3, server.restart, [1.0])
        restart.start()
        try:
            extract(location)
        finally:
            restart.join()
        stage_all(location, MORE, first_seed=10)
        extract(location)
        assert downloaded(location, tmp_path / "copy") == expected


def test_a_server_that_stays_away_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.5)
    with FaultProxy(1) as proxy:  # nothing listens there
        options = {"key": "k", "secret": "s", "endpoint_url": proxy.url}
        with pytest.raises(TransientError, match="run the same command again"):
            Location("s3://fadae/away", options).read_bytes("x")
        with pytest.raises(TransientError):
            FeatureSet.open(Location("s3://fadae/away", options))


def test_one_of_many_creators_wins(s3: S3Server) -> None:
    location = Location(f"{s3.url}/exclusive", s3.storage_options)
    won: list[int] = []

    def create(number: int) -> None:
        if location.create_exclusive("plan", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [location.read_bytes("plan")] == [f"{number}".encode() for number in won]


def test_an_upload_that_fails_in_the_middle_writes_nothing(s3: S3Server) -> None:
    location = Location(f"{s3.url}/parts", s3.storage_options)
    with pytest.raises(KeyError), location.writing("x/y") as file:
        file.write(b"part")
        raise KeyError
    assert not location.exists("x/y")
    with location.writing("x/y") as file:
        file.write(b"whole")
    assert location.read_bytes("x/y", 1, 3) == b"ho"
    assert location.names("x") == ["y"]
    location.delete("x")
    assert location.names("x") == []
