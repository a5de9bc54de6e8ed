"""Compare-and-swap of one object: of any number of writers with one version, one wins."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fadae.buckets import bucket_of, ignored_condition
from fadae.errors import AccessError
from fadae.preflight import workspace
from fadae.store.conditional import SINGLE_DRIVER, ensure_alone
from fadae.store.location import Location
from tests.stores import deaf_google

WRITERS, TIMES = 4, 5


def count_up(location: Location, times: int = TIMES) -> None:
    """Add one some times, each as often as others come before."""
    for _ in range(times):
        while True:
            data, version = location.read_version("n")
            if location.replace("n", b"%d" % (int(data) + 1), version):
                break


def test_a_version_is_that_of_what_was_read(opened: Callable[[], Location]) -> None:
    location = opened()
    with pytest.raises(FileNotFoundError):
        location.read_version("a")
    location.write_bytes("another", b"0")
    _, anothers = location.read_version("another")
    assert not location.replace("a", b"0", anothers)
    assert location.replace("a", b"1", None)
    assert not location.replace("a", b"0", anothers)
    location.delete("another")
    assert not location.replace("a", b"2", None)
    data, version = location.read_version("a")
    assert data == b"1"
    assert opened().replace("a", b"2", version)
    assert not location.replace("a", b"3", version)
    assert location.read_bytes("a") == b"2"
    location.delete("a")
    assert not location.replace("a", b"3", version)
    assert location.names("") == []  # nor is anything left of asking


def test_no_writer_takes_back_what_another_wrote(opened: Callable[[], Location]) -> None:
    location, start = opened(), threading.Barrier(WRITERS)
    location.write_bytes("n", b"0")

    def count(one: Location) -> bool:
        start.wait()
        first = one.replace("first", b"", None) + one.create_exclusive("other", b"")
        count_up(one)
        return bool(first)

    with ThreadPoolExecutor(WRITERS) as threads:
        first = list(threads.map(count, [opened() for _ in range(WRITERS)]))
    assert location.read_bytes("n") == b"%d" % (WRITERS * TIMES)
    assert 1 <= sum(first) <= 2
    location.delete_many(["n", "first", "other"])


def test_nor_does_another_process(tmp_path: Path) -> None:
    """They wait for each other's start: both are there before either counts."""
    location = Location(str(tmp_path))
    location.write_bytes("n", b"0")
    code = (
        "import sys; from fadae.store.location import Location\n"
        "from tests.store.test_conditional import count_up\n"
        "print(flush=True), sys.stdin.readline(), count_up(Location(sys.argv[1]), 100)"
    )
    top = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, cwd=top, stdin=pipe, stdout=pipe) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    assert location.read_bytes("n") == b"200"


def test_a_bucket_that_ignores_conditions_is_refused_unless_one_driver_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that takes a condition and does as if there were none."""
    with deaf_google(tmp_path) as server:
        location = Location(f"{server.url}/deaf", server.storage_options)
        for verb in (
            location.ensure_conditions,
            lambda: location.replace("a", b"1", None),
            lambda: location.create_exclusive("a", b"1"),
        ):
            with pytest.raises(AccessError) as told:
                verb()
            assert "\n" not in str(told.value)
            assert "(ifGenerationMatch: it replaces what is there already)" in str(told.value)
            assert f"set {SINGLE_DRIVER}=1" in str(told.value)
        assert location.names("") == []
        (finding,) = [one for one in workspace(location) if one.check == "workspace"]
        assert finding.state == "wrong"
        monkeypatch.setenv(SINGLE_DRIVER, "1")
        assert not location.ensure_conditions()
        assert location.create_exclusive("a", b"1")
        assert not location.create_exclusive("a", b"2")
        assert not location.replace("a", b"3", "another")
        assert location.replace("a", b"4", location.read_version("a")[1])
        assert location.read_bytes("a") == b"4"
        assert [one.state for one in workspace(location)] == ["weak", "ok"]


def test_a_store_without_any_conditions_is_refused() -> None:
    ignored = asyncio.run(ignored_condition(bucket_of("sftp"), None, "place/x"))
    with pytest.raises(AccessError, match=r"no conditional writes \(fadae knows none"):
        ensure_alone("sftp://host/place", ignored)
