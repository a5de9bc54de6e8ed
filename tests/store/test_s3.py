"""The same bytes on a real S3 server, through throttling, resets, stalls and a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import fadae
from fadae.errors import AccessError, StorageError, TransientError
from fadae.prune import prune
from fadae.retry import RetryPolicy
from fadae.stages.extract import extract, extract_shard
from fadae.store import remote_zarr
from fadae.store.features import FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.layout import fixed_array, new_group
from fadae.store.location import Location
from fadae.store.verify import verify
from tests.proxy import FaultProxy
from tests.s3 import S3Server, s3_server
from tests.store.staged import RATE_HZ, stage_all, tree

LENGTHS = {"a/1 ü?#": 100 * RATE_HZ, "z/9": 3}
MORE = {"b/0": 40_000}
# Of a group with one small array, to read through zarr.
ROOT = json.loads(new_group([fixed_array("a", "x", np.zeros(3), {})], {})["zarr.json"])


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
    assert {path[-5:] for path in location.found_below("staging")} == {".json", "w/all"}
    dataset = xr.open_zarr(f"{s3.url}/plain/features.zarr", storage_options=s3.storage_options)
    assert dataset.recording_id.values.tolist() == [*sorted(LENGTHS), *MORE]
    location._fs.pipe_file(location.full("features.zarr/features/c/0/0"), b"")
    assert verify(location, recompute=extract_shard)["shards_repaired"] == 1
    assert downloaded(location, tmp_path / "again") == expected


def test_sizes_and_pruning_on_s3_are_those_of_a_folder(s3: S3Server, tmp_path: Path) -> None:
    bucket = Location(f"{s3.url}/pruned", s3.storage_options)
    pruned, sizes = [], []
    for location in (Location(str(tmp_path)), bucket):
        for number in range(3):
            stage_all(location, {f"a/{number}": 4000}, first_seed=number)
            extract(location, keep_staging=True)
        location.write_bytes("features.zarr/audio/c/9/0", b"left over")
        told = prune(location, dry_run=True, abandoned_seconds=-60)
        done = prune(location, abandoned_seconds=-60)
        assert told.kinds == done.kinds and verify(location)["problems"] == []
        pruned.append(done.kinds)
        opened = fadae.open(location.url, None if location.is_local else s3.storage_options)
        sizes.append(opened.info()["sizes"])
    assert pruned[0] == pruned[1] and pruned[0]["blocks"]["objects"] == 1
    assert pruned[0]["staging"]["bytes"] == 3 * 8000 and pruned[0]["index"]["objects"] > 0
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("fault", ["throttle", "reset", "cut", "stall"])
def test_faults_on_the_way_change_no_byte(
    fault: str,
    s3: S3Server,
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_zarr, "ATTEMPT_SECONDS", 3.0)  # what ends a stalled upload
    with FaultProxy(s3.port + 3) as proxy:
        location = Location(f"{s3.url}/{fault}", options_through(proxy, s3))
        times = 3 if fault == "stall" else 20
        proxy.arm(*[fault] * times, spread=0.25, seed=1)
        _ingest_and_extract(location)
        assert proxy.armed == 0, "not all faults struck"
    direct = Location(location.url, s3.storage_options)
    assert downloaded(direct, tmp_path / "copy") == expected


@pytest.mark.slow
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_zarr, "POLICY", RetryPolicy(total_seconds=0.5))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_away_is_a_transient_error() -> None:
    with FaultProxy(1) as proxy:  # nothing listens there
        options = {"key": "k", "secret": "s", "endpoint_url": proxy.url}
        with pytest.raises(TransientError, match="run the same command again"):
            Location("s3://fadae/away", options).read_bytes("x")
        with pytest.raises(StorageError):
            FeatureSet.open(Location("s3://fadae/away", options))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["reset", "stall"])
def test_a_call_that_takes_long_says_so_once(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert remote_zarr.SECONDS_UNTIL_TOLD < 5
    monkeypatch.setattr(remote_zarr, "SECONDS_UNTIL_TOLD", 0.2)
    monkeypatch.setattr(remote_zarr, "ATTEMPT_SECONDS", 1.0)
    monkeypatch.setattr(remote_zarr._Notice, "last_told", float("-inf"))
    with FaultProxy(1) as proxy:
        proxy.arm(*[fault] * 1000)
        options = {"key": "k", "secret": "s", "endpoint_url": proxy.url}
        location = Location(f"s3://fadae/{fault}", options)
        for _ in range(2):
            with pytest.raises(StorageError):
                location.read_bytes("x")
    told = [r.getMessage() for r in caplog.records if "retrying" in r.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(f"{location.url}: read x: still failing after")


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_refused_credentials_are_told_at_once(wrong: str, s3: S3Server) -> None:
    with FaultProxy(s3.port + 3) as proxy:
        options = {**options_through(proxy, s3), wrong: "wrong"}
        location = Location(f"{s3.url}/forbidden", options)
        verbs: list[Callable[[], object]] = [
            lambda: location.read_bytes("x"),
            lambda: location.names(""),
            lambda: location.write_bytes("x", b"1"),
            lambda: location.delete("x"),
            lambda: FrameStore(location, "g", ROOT).read("a"),
        ]
        for number, verb in enumerate(verbs, start=1):
            with pytest.raises(AccessError, match="check the URL, its credentials"):
                verb()
            assert proxy.requests <= 2 * number, "asked again"  # a body may come by itself
        with pytest.raises(AccessError):
            location.create_exclusive("x", b"1")


def test_a_bucket_without_credentials_is_one_line_and_2(s3: S3Server) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL_S3": s3.endpoint_url}
    env |= {"HOME": "/nonexistent"}
    for stage in ("info", "train", "ingest"):
        done = subprocess.run(
            [sys.executable, "-m", "fadae", stage, "-w", f"{s3.url}/w"],
            env=env,
            capture_output=True,
            text=True,
        )
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert f"fadae: {s3.url}/w: " in last
        assert "Unable to locate credentials" in last


def test_an_address_that_is_none_is_told(s3: S3Server) -> None:
    options = {**s3.storage_options, "endpoint_url": "127.0.0.1:8333"}
    with pytest.raises(AccessError, match="Invalid endpoint"):
        Location(f"{s3.url}/w", options).names("")


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
