"""A scheduler and workers started as separate commands: checks, losses, scaling."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.errors import TransientError, UsageError
from fadae.store.location import Location
from tests.cluster import commands, work


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "workspace"))


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[commands.Command]:
    with commands.scheduler(tmp_path) as command:
        yield command


def test_bags_run_and_logs_name_the_worker(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    address = scheduler.address
    with (
        commands.worker(address, tmp_path, "anna") as anna,
        commands.worker(address, tmp_path, "magdalena") as magdalena,
        connect(address, None, location) as client,
    ):
        results = list(map_bag(client, work.named, range(20), label="named"))
        assert sorted(map(int, results)) == list(range(20))
        assert "[anna] number" in anna.wait_for("number")
        assert "[magdalena] number" in magdalena.wait_for("number")
    assert not list(Path(location.url).glob(".cluster-*"))


def test_a_killed_worker_costs_nothing(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    address = scheduler.address
    with (
        commands.worker(address, tmp_path, "one"),
        commands.worker(address, tmp_path, "two") as two,
        connect(address, None, location) as client,
    ):
        results = map_bag(client, work.slow_square, range(100), label="square")
        first = [next(results) for _ in range(20)]
        two.kill()
        assert sorted(first + list(results)) == [n * n for n in range(100)]


def test_a_lost_scheduler_is_transient(location: Location, tmp_path: Path) -> None:
    with (
        commands.scheduler(tmp_path) as lost,
        commands.worker(lost.address, tmp_path, "one"),
        pytest.raises(TransientError, match="lost the Dask scheduler"),
        connect(lost.address, None, location) as client,
    ):
        for count, _ in enumerate(map_bag(client, work.slow_square, range(500), label="sq")):
            if count == 10:
                lost.kill()


def test_a_worker_without_fadae_is_refused(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    hide = "import sys; sys.modules['fadae'] = None"
    with (
        commands.worker(scheduler.address, tmp_path, "bare", code=hide),
        pytest.raises(UsageError, match=r"cannot import fadae .*; install fadae"),
    ):
        connect(scheduler.address, None, location).__enter__()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import fadae; fadae.__version__ = '0.0.1'", "has fadae 0.0.1, this client"),
        (
            "import importlib.metadata as m; real = m.version; "
            "m.version = lambda n: '2000.1' if n == 'dask' else real(n)",
            "has dask 2000.1, this client",
        ),
    ],
)
def test_other_versions_are_refused(
    scheduler: commands.Command, location: Location, tmp_path: Path, code: str, message: str
) -> None:
    with (
        commands.worker(scheduler.address, tmp_path, "old", code=code),
        pytest.raises(UsageError, match=message),
    ):
        connect(scheduler.address, None, location).__enter__()


def unshared(folder: Path) -> tuple[str, ...]:
    """A command's wrapper that gives it a disk of its own at the folder."""
    mounting = ("unshare", "--mount", "--map-root-user")
    able = shutil.which("unshare") and not subprocess.call(
        [*mounting, "mount", "-t", "tmpfs", "none", str(folder)], stderr=subprocess.DEVNULL
    )
    if not able:
        pytest.skip("no mount namespaces here")
    return (*mounting, "sh", "-c", f'mount -t tmpfs none {folder} && exec "$@"', "sh")


def test_a_worker_that_does_not_share_the_disk_is_refused(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    shared = Path(location.url)
    shared.mkdir()
    wrapper = unshared(shared)
    with (
        commands.worker(scheduler.address, tmp_path, "far", wrapper=wrapper),
        pytest.raises(UsageError, match="does not see workspace"),
    ):
        connect(scheduler.address, None, location).__enter__()


def test_a_worker_that_joins_late_is_checked_too(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    shared = Path(location.url)
    shared.mkdir()
    wrapper = unshared(shared)
    with (
        connect(scheduler.address, None, location) as client,
        commands.worker(scheduler.address, tmp_path, "late", wrapper=wrapper),
        pytest.raises(UsageError, match="worker late does not see workspace"),
    ):
        list(map_bag(client, work.square, range(3), label="square"))


def test_a_worker_of_another_version_that_joins_late_is_refused(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    code = "import fadae._version as version; version.__version__ = '0.0.1'"
    with (
        connect(scheduler.address, None, location) as client,
        commands.worker(scheduler.address, tmp_path, "late", code=code),
        pytest.raises(UsageError, match=r"worker late has fadae 0\.0\.1, this client"),
    ):
        list(map_bag(client, work.square, range(3), label="square"))


def test_a_cluster_without_workers_yet_gets_its_work_done(
    scheduler: commands.Command, location: Location, tmp_path: Path
) -> None:
    results: list[int] = []

    def run() -> None:
        with connect(scheduler.address, None, location) as client:
            results.extend(map_bag(client, work.square, range(5), label="square"))

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    with commands.worker(scheduler.address, tmp_path, "late"):
        thread.join()
    assert sorted(results) == [0, 1, 4, 9, 16]


def test_adaptive_scaling_starts_and_stops_workers(location: Location) -> None:
    cluster = LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with cluster:
        cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=2)
        with connect(cluster.scheduler_address, None, location) as client:
            assert sorted(map_bag(client, work.square, range(50), label="square"))[-1] == 49 * 49
            assert client.nthreads()
