"""The jobs as an operator runs them: each on a cluster of its own that loses a worker midway."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
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
def cluster(folder: Path, *, code: str = "") -> Iterator[tuple[str, commands.Command]]:
    """Start a scheduler and three workers; give its address and the third, which runs `code`."""
    folder.mkdir()
    with (
        commands.scheduler(folder) as scheduler,
        commands.worker(scheduler.address, folder, "one"),
        commands.worker(scheduler.address, folder, "two"),
        commands.worker(scheduler.address, folder, "three", code=code) as three,
    ):
        yield scheduler.address, three


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


def ingested_with_a_loss(folder: Path, url: str, archive: EmbeddedArchive) -> None:
    """Ingest; the third worker is lost in its first transfer, and the logs say who did what."""
    with (
        cluster(folder) as (address, three),
        submitted(
            "ingest", ITEM, "-w", url, "--archive-url", archive.url, "--scheduler", address
        ) as job,
    ):
        while archive.transfers < 3 and job.poll() is None:
            time.sleep(0.02)
        assert archive.transfers == 3, "each worker has one thread, hence one transfer"
        three.kill()
        summary = summary_of(job)
        assert (summary["recordings"], summary["ok"]) == (len(FILES), len(FILES))
    logs = "".join(path.read_text() for path in folder.glob("worker-*.log"))
    ingested = re.findall(rf"\[(\w+)\] ingested {ITEM}/(.+?):", logs)
    assert sorted(file for _, file in ingested) == FILES
    assert {worker for worker, _ in ingested} == {"one", "two"}


def blocks_written_with_a_loss(job_name: str, folder: Path, url: str) -> None:
    """Extract or reconstruct; the third worker is lost in its first block."""
    with (
        cluster(folder, code=DIES_IN_A_BLOCK) as (address, three),
        submitted(job_name, "-w", url, "--scheduler", address) as job,
    ):
        summary = summary_of(job)
        assert three.process.wait() == -signal.SIGKILL
        assert (summary["shards_written"], summary["shards_kept"]) == (BLOCKS, 0)


def test_jobs_on_clusters_that_lose_workers_and_restart_change_no_byte(
    item: Path, tmp_path: Path
) -> None:
    url = str(tmp_path / "disturbed")
    with EmbeddedArchive(item) as archive:  # one for both: commits hold its address
        expected = undisturbed(str(tmp_path / "undisturbed"), archive)
        archive.transfer_seconds = 1.0
        ingested_with_a_loss(tmp_path / "ingesting", url, archive)
    blocks_written_with_a_loss("extract", tmp_path / "extracting", url)
    write_run(Location(url))
    blocks_written_with_a_loss("reconstruct", tmp_path / "reconstructing", url)
    assert tree(Path(url)) == tree(Path(expected.url))
