"""The jobs as an operator runs them: on one cluster, each losing a worker midway."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.archive.items import ArchiveSource
from fadae.embedded.server import EmbeddedArchive
from fadae.stages.extract import extract
from fadae.stages.ingest.driver import ingest
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.archive.gates import Gate
from tests.audio.sounds import music, save
from tests.cluster import commands
from tests.store.staged import tree
from tests.synthetic import write_run

JOBS = Path(__file__).resolve().parents[2] / "jobs"
ITEM = "six-pieces"
FILES = [f"{number} piece.flac" for number in range(6)]
BLOCKS = 4  # six recordings of 589 frames
# Kill -9 in place of a worker's third write: half of its first block's objects are there.
DIES_IN_A_BLOCK = "from tests.store.driver import die_at; die_at(3)"


@pytest.fixture(scope="module")
def item(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings long enough that every worker has a block to extract."""
    folder = tmp_path_factory.mktemp("items") / ITEM
    for seed, name in enumerate(FILES):
        save(folder / name, music(200, rate_hz=11025, seed=seed), rate_hz=11025)
    return folder


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers; give its address. Every job brings a third worker."""
    folder.mkdir()
    with (
        commands.scheduler(folder) as scheduler,
        commands.worker(scheduler.address, folder, "one"),
        commands.worker(scheduler.address, folder, "two"),
    ):
        yield scheduler.address


@contextlib.contextmanager
def submitted(job: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of jobs/*.py while the block runs."""
    command = [sys.executable, str(JOBS / f"{job}.py"), *arguments, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def summary_of(job: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = job.communicate()
    assert job.returncode == 0, err
    summary: dict[str, Any] = json.loads(out.splitlines()[-1])
    return summary


def undisturbed(url: str, archive: EmbeddedArchive) -> Location:
    """A workspace made by this process alone."""
    location = Location(url)
    ingest(location, [ArchiveSource((ITEM,), url=archive.url)])
    extract(location)
    write_run(location)
    reconstruct(location)
    return location


def ingested_with_a_loss(folder: Path, address: str, url: str, archive: EmbeddedArchive) -> None:
    """Ingest; the third worker is lost in its first transfer, and the logs say who did what."""
    gate = Gate(archive)
    with (
        commands.worker(address, folder, "three") as three,
        submitted(
            "ingest", ITEM, "-w", url, "--archive-url", archive.url, "--scheduler", address
        ) as job,
    ):
        gate.wait(3)  # each worker has one thread, hence one transfer
        three.kill()
        gate.open()
        summary = summary_of(job)
        assert (summary["recordings"], summary["ok"]) == (len(FILES), len(FILES))
    logs = "".join(path.read_text() for path in folder.glob("worker-*.log"))
    ingested = re.findall(rf"\[(\w+)\] ingested {ITEM}/(.+?):", logs)
    assert sorted(file for _, file in ingested) == FILES
    assert {worker for worker, _ in ingested} == {"one", "two"}


def blocks_written_with_a_loss(job_name: str, folder: Path, address: str, url: str) -> None:
    """Extract or reconstruct; the third worker is lost in its first block."""
    with (
        commands.worker(address, folder, f"three-{job_name}", code=DIES_IN_A_BLOCK) as three,
        submitted(job_name, "-w", url, "--scheduler", address) as job,
    ):
        summary = summary_of(job)
        assert three.process.wait() == -signal.SIGKILL
        assert (summary["shards_written"], summary["shards_kept"]) == (BLOCKS, 0)


@pytest.mark.slow
def test_jobs_on_a_cluster_that_loses_workers_change_no_byte(item: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "disturbed")
    with EmbeddedArchive(item) as archive:  # one for both: commits hold its address
        expected = undisturbed(str(tmp_path / "undisturbed"), archive)
        folder = tmp_path / "cluster"
        with cluster(folder) as address:
            ingested_with_a_loss(folder, address, url, archive)
            blocks_written_with_a_loss("extract", folder, address, url)
            write_run(Location(url))
            blocks_written_with_a_loss("reconstruct", folder, address, url)
    assert tree(Path(url)) == tree(Path(expected.url))
