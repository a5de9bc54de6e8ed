"""Compare-and-swap of one object: of any number of writers with one version, one wins."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fadae.errors import AccessError
from fadae.store import conditional
from fadae.store.conditional import SINGLE_DRIVER
from fadae.store.location import Location
from tests.s3 import S3Server

WRITERS, TIMES = 4, 5
_drawn = itertools.count()


@pytest.fixture(params=["folder", "memory", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Location]:
    """What opens one place anew, as another driver would."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        return lambda: Location(f"{server.url}/conditional", server.storage_options)
    place = str(tmp_path) if request.param == "folder" else f"memory://conditional{next(_drawn)}"
    return lambda: Location(place)


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
    assert not location.replace("a", b"0", "another")
    assert location.replace("a", b"1", None)
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


def test_a_bucket_without_conditions_is_refused_unless_one_driver_is_promised(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of SeaweedFS itself with its conditions left out on the way to it."""
    answer = conditional.s3_replace

    async def deaf(fs: object, path: str, data: bytes, version: str | None) -> bool:
        await fs._pipe_file(path, data)  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(conditional, "s3_replace", deaf)
    location = Location(f"{s3.url}/deaf", s3.storage_options)
    with pytest.raises(AccessError, match=f"no conditional writes .*set {SINGLE_DRIVER}=1"):
        location.ensure_conditions()
    with pytest.raises(AccessError, match="no conditional writes"):
        location.replace("a", b"1", None)
    assert location.names("") == []
    monkeypatch.setenv(SINGLE_DRIVER, "1")
    assert location.replace("a", b"1", None)
    monkeypatch.setattr(conditional, "s3_replace", answer)
    other = Location(f"{s3.url}/hears", s3.storage_options)
    monkeypatch.delenv(SINGLE_DRIVER)
    other.ensure_conditions()
