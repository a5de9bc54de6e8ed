"""Ingest on clusters: the cap on transfers holds everywhere, losses change no byte."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fadae.archive.items import ArchiveSource
from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.config.job import Settings
from fadae.embedded.faults import ALWAYS, Fault, Kind, Mischief, Where
from fadae.embedded.server import EmbeddedArchive
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from tests.archive.gates import Gate
from tests.cluster import commands
from tests.hangs import HANG_SECONDS
from tests.stages.ingest.conftest import NAMES, QUICK, Staged


@pytest.mark.slow
def test_the_cap_on_transfers_holds_over_all_workers(item: Path, location: Location) -> None:
    with (
        EmbeddedArchive(item, transfer_seconds=0.3) as archive,
        connect(None, 4, location) as client,
    ):
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        mapper = functools.partial(map_bag, client)
        gate = Gate(archive)
        opener = threading.Thread(target=_open_at, args=(gate, 3))
        opener.start()
        summary = ingest(location, [source], Settings(downloads=3), mapper=mapper)
        opener.join()
        assert summary["ok"] == len(NAMES)
        assert archive.most_transfers == 3


def test_a_worker_killed_in_the_middle_changes_no_byte(
    item: Path, tmp_path: Path, bytes_of: Staged
) -> None:
    undisturbed = Location(str(tmp_path / "undisturbed"))
    with EmbeddedArchive(item) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        ingest(undisturbed, [source])
    disturbed = Location(str(tmp_path / "disturbed"))
    with (
        EmbeddedArchive(item) as archive,
        commands.scheduler(tmp_path) as scheduler,
        commands.worker(scheduler.address, tmp_path, "one"),
        commands.worker(scheduler.address, tmp_path, "two"),
        commands.worker(scheduler.address, tmp_path, "three") as three,
        connect(scheduler.address, None, disturbed) as client,
    ):
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        gate = Gate(archive)
        killer = threading.Thread(target=_open_at, args=(gate, 2, three.kill))
        killer.start()
        mapper = functools.partial(map_bag, client)
        # Two turns: the lost worker's comes back only with the time-out of its lease.
        summary = ingest(disturbed, [source], Settings(downloads=2), mapper=mapper)
        killer.join()
    assert summary["ok"] == len(NAMES)
    assert _without_urls(bytes_of(disturbed)) == _without_urls(bytes_of(undisturbed))


def _open_at(gate: Gate, transfers: int, before: Callable[[], None] = lambda: None) -> None:
    """Let transfers go on once so many are under way and `before` was done."""
    gate.wait(transfers)
    before()
    gate.open()


def _without_urls(files: dict[str, bytes]) -> dict[str, bytes]:
    """The commits say where a recording came from: each archive here has a port of its own."""
    return {name: re.sub(rb"127\.0\.0\.1:\d+", b"archive", data) for name, data in files.items()}


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_is_taken_up_again(
    item: Path, location: Location, tmp_path: Path, bytes_of: Staged
) -> None:
    command = [
        sys.executable,
        "-m",
        "fadae",
        "ingest",
        "little-item",
        "-w",
        location.url,
        "--workers",
        "1",
        "--json",
    ]
    # The last recording never comes: the driver is killed with some recordings there and one not.
    never = Fault(Where.DATANODE, Kind.STALL_BODY, ALWAYS, match="08.ogg", seconds=HANG_SECONDS)
    with EmbeddedArchive(item, [never]) as archive:
        command += ["--archive-url", archive.url]
        driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not any(name.endswith(".pcm") for name in bytes_of(location)):
            assert driver.poll() is None
            time.sleep(0.05)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        before = {k: v for k, v in bytes_of(location).items() if ".partial-" not in k}
        assert not any("08.ogg" in name for name in before if name.endswith(".pcm"))
        archive.mischief = Mischief([])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f'"recordings": {len(NAMES)}, "ok": {len(NAMES)}' in done.stdout
        after = bytes_of(location)
        assert {name: after[name] for name in before} == before
        asked = archive.count()
        subprocess.run(command, capture_output=True, check=True)
        assert archive.count() == asked
        assert asked["datanode"] <= len(NAMES) + 2
