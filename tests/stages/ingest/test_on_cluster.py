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

from fadae.archive.items import ArchiveSource
from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.config.job import Settings
from fadae.embedded.server import EmbeddedArchive
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from tests.cluster import commands
from tests.stages.ingest.conftest import NAMES, QUICK, Staged


def test_the_cap_on_transfers_holds_over_all_workers(item: Path, location: Location) -> None:
    with (
        EmbeddedArchive(item, transfer_seconds=0.3) as archive,
        connect(None, 4, location) as client,
    ):
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        mapper = functools.partial(map_bag, client)
        summary = ingest(location, [source], Settings(downloads=3), mapper=mapper)
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
        EmbeddedArchive(item, transfer_seconds=0.5) as archive,
        commands.scheduler(tmp_path) as scheduler,
        commands.worker(scheduler.address, tmp_path, "one"),
        commands.worker(scheduler.address, tmp_path, "two"),
        commands.worker(scheduler.address, tmp_path, "three") as three,
        connect(scheduler.address, None, disturbed) as client,
    ):
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        killer = threading.Thread(target=_kill_when, args=(three, lambda: archive.transfers >= 2))
        killer.start()
        mapper = functools.partial(map_bag, client)
        # Two turns: the lost worker's comes back only with the time-out of its lease.
        summary = ingest(disturbed, [source], Settings(downloads=2), mapper=mapper)
        killer.join()
    assert summary["ok"] == len(NAMES)
    assert _without_urls(bytes_of(disturbed)) == _without_urls(bytes_of(undisturbed))


def _kill_when(worker: commands.Command, condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)
    worker.kill()


def _without_urls(files: dict[str, bytes]) -> dict[str, bytes]:
    """The commits say where a recording came from: each archive here has a port of its own."""
    return {name: re.sub(rb"127\.0\.0\.1:\d+", b"archive", data) for name, data in files.items()}


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
    with EmbeddedArchive(item, transfer_seconds=0.3) as archive:
        command += ["--archive-url", archive.url]
        driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not any(name.endswith(".pcm") for name in bytes_of(location)):
            time.sleep(0.05)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        before = {k: v for k, v in bytes_of(location).items() if ".partial-" not in k}
        assert 0 < len([name for name in before if name.endswith(".json")]) < len(NAMES) + 1
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f'"recordings": {len(NAMES)}, "ok": {len(NAMES)}' in done.stdout
        after = bytes_of(location)
        assert {name: after[name] for name in before} == before
        asked = archive.count()
        subprocess.run(command, capture_output=True, check=True)
        assert archive.count() == asked
        assert asked["datanode"] <= len(NAMES) + 2
