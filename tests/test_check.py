"""`fadae check`: what it finds, what to do about it, and how it ends."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster
from packaging.specifiers import SpecifierSet

from fadae import check, preflight
from fadae.audio import sandbox as sandboxes
from fadae.check import Finding, decoder, versions
from fadae.cluster import worker_addresses
from fadae.embedded.server import EmbeddedArchive
from fadae.preflight import WorkerFacts, of_workers
from fadae.retry import RetryPolicy
from fadae.store import Location, remote_zarr
from tests.command import fadae, summary
from tests.s3 import S3Server

HERE = ["versions", "decoder", "memory", "temporary", "devices"]
GOOD = WorkerFacts(2**32, 10**10, True, Finding("decoder", "ok", "all parts"))


@pytest.fixture(autouse=True)
def no_idle_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_idle", [])


def test_the_installation_of_the_tests_is_a_good_one() -> None:
    assert versions().state == "ok", versions().says


def test_a_release_that_does_not_fit_is_named() -> None:
    assert check._problem("numpy", SpecifierSet("<1")).endswith("required <1")
    assert check._problem("no-such-library", SpecifierSet()) == "no no-such-library"
    assert check._problem("numpy", SpecifierSet(">=1")) == ""


def test_a_wall_with_gaps_is_weak_and_each_gap_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandboxes, "_without", {"Landlock", "seccomp"})
    found = decoder()
    assert (found.state, found.says.partition(";")[0]) == ("weak", "descriptors, limits")
    assert "5.13" in found.remedy
    assert "x86_64" in found.remedy


def test_the_command_prints_a_line_a_check() -> None:
    told = fadae("check")
    assert told.returncode == 0
    assert [line.split()[1] for line in told.stdout.splitlines()] == HERE


@pytest.mark.parametrize(("states", "code"), [(("away",), 75), (("away", "wrong", "ok"), 2)])
def test_the_worst_finding_decides_the_end(
    monkeypatch: pytest.MonkeyPatch, states: tuple[check.State, ...], code: int
) -> None:
    found = [Finding(f"check {state}", state, "said", "do this") for state in states]
    monkeypatch.setattr(check, "CHECKS", tuple((lambda one=one: one) for one in found))
    told = fadae("check", "--json")
    assert told.returncode == code
    assert [row["state"] for row in summary(told)["checks"]] == list(states)
    assert "said; do this" in told.stderr


def test_a_decoder_that_does_not_work_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "soxr.py").write_text("class ResampleStream: pass")
    monkeypatch.syspath_prepend(tmp_path)
    found = decoder()
    assert (found.state, found.remedy) == ("wrong", check._INSTALL)
    assert "TypeError" in found.says


def states(found: list[Finding]) -> dict[str, str]:
    return {one.check: one.state for one in found}


def test_little_memory_and_a_full_disk_are_weak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert check.memory().state == check.disk("disk", tmp_path).state == "ok"
    monkeypatch.setattr(check, "LEAST_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(check, "LEAST_DISK_BYTES", 2**60)
    assert check.memory().remedy.endswith("2 GiB or more")
    assert check.disk("disk", tmp_path, "there").remedy == "free 2 GB or more there"


def test_a_driver_of_which_torch_sees_no_gpu_is_weak(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert check.devices(tmp_path).says == "no GPU"
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (check.devices(tmp_path).state, check.devices(tmp_path).check) == ("weak", "devices")


def test_a_folder_is_tried_and_nothing_stays_there(tmp_path: Path) -> None:
    told = fadae("check", "-w", str(tmp_path / "not" / "yet"), "--json")
    assert told.returncode == 0, told.stderr
    rows = {row["check"]: row for row in summary(told)["checks"]}
    assert list(rows) == [*HERE, "workspace", "clock", "disk", "locks"]
    for verb in ("list", "write", "read", "replace", "lock", "remove"):
        assert verb in rows["workspace"]["says"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"1")
    assert set(states(preflight.workspace(Location(str(tmp_path)))).values()) == {"ok"}
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_cannot_be_one_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = fadae("check", "-w", str(tmp_path / "file" / "below"))
    assert told.returncode == 2
    assert "workspace: cannot list: " in told.stderr
    assert "Not a directory" in told.stderr
    assert "write and delete there" in told.stderr


def test_a_folder_where_root_too_may_not_write_is_wrong() -> None:
    (found,) = preflight.workspace(Location("/sys/kernel"))
    assert (found.state, found.says.partition(":")[0]) == ("wrong", "cannot write")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder_is_wrong(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        (found,) = preflight.workspace(Location(str(tmp_path)))
    finally:
        tmp_path.chmod(0o700)
    assert (found.state, found.says.partition(":")[0]) == ("wrong", "cannot write")


def test_a_bucket_is_tried_and_nothing_stays_there(s3: S3Server) -> None:
    location = Location(f"{s3.url}/checked", s3.storage_options)
    found = preflight.workspace(location)
    assert states(found) == {"workspace": "ok", "clock": "ok"}
    assert found[0].says.endswith("list, write, read, replace under a condition, remove")
    assert location.found_below("") == {}


@pytest.mark.parametrize(("may", "cannot"), [("Read,List", "write"), ("Read,Write", "list")])
def test_a_bucket_of_too_few_rights_is_wrong_and_the_right_is_named(
    may: str, cannot: str, s3: S3Server
) -> None:
    s3.allow(f"only-{cannot}", may)
    options = {**s3.storage_options, "key": f"only-{cannot}"}
    (found,) = preflight.workspace(Location(f"{s3.url}/rights", options))
    assert found.state == "wrong"
    assert found.says.startswith(f"cannot {cannot}: ")
    assert "Access Denied" in found.says
    assert found.remedy == "give the job list, read, write and delete there"


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_a_bucket_that_refuses_is_wrong(wrong: str, s3: S3Server) -> None:
    location = Location(f"{s3.url}/refused", {**s3.storage_options, wrong: "wrong"})
    (found,) = preflight.workspace(location)
    assert found.state == "wrong"
    assert found.says.startswith("cannot list: ")
    assert "credentials" in found.says


def test_a_bucket_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_zarr, "POLICY", RetryPolicy(total_seconds=0.2))
    options = {"key": "fadae", "secret": "fadae", "endpoint_url": "http://127.0.0.1:9"}
    (found,) = preflight.workspace(Location("s3://fadae/away", options))
    assert (found.state, found.remedy) == ("away", "try again")


@pytest.mark.parametrize(("skew", "state"), [(-59.0, "ok"), (61.0, "weak"), (-61.0, "weak")])
def test_clocks_a_minute_apart_are_weak(skew: float, state: str) -> None:
    assert preflight.clock(skew).state == state


def test_the_clock_is_the_one_that_the_store_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = time.time
    monkeypatch.setattr("fadae.preflight.time.time", lambda: now() - 3600)
    (found,) = (f for f in preflight.workspace(Location(str(tmp_path))) if f.check == "clock")
    assert found.state == "weak"
    assert "ahead" in found.says


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        memory_limit="1 GiB",
        dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_is_asked_what_its_workers_have(scheduler: str, tmp_path: Path) -> None:
    told = fadae("check", "--scheduler", scheduler, "-w", str(tmp_path / "new"), "--json")
    assert told.returncode == 0, told.stderr
    rows = {row["check"]: row for row in summary(told)["checks"]}
    own = ["scheduler", *(f"workers{what}" for what in ("", "' memory", "' disk", "' ports"))]
    assert [name for name in rows if name not in HERE][4:] == [
        *own,
        "workers' view",
        "workers' decoder",
    ]
    assert rows["workers' memory"]["state"] == "weak"
    assert rows["workers' memory"]["says"].startswith("1.0 GiB on tcp://")
    assert rows["workers"]["says"].startswith("1, ")
    assert list(tmp_path.iterdir()) == []


async def _reached(peers: list[str], dask_worker: Any = None) -> str:
    return await preflight._unreached(dask_worker, peers)


def test_a_worker_says_which_other_one_it_cannot_reach(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "REACH_SECONDS", 1.0)
    with Client(scheduler) as client:
        (own,) = worker_addresses(client, 10)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            gone = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        for peers, unreached in (([own], ""), ([gone, own], gone), ([scheduler, own], "")):
            assert client.run(_reached, sorted(peers)) == {own: unreached}


def test_workers_of_another_version_are_wrong(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.__version__", "0.0.1")
    (found,) = preflight.cluster(scheduler, None)
    assert found.state == "wrong"
    assert "has fadae 0.0.1" in found.says


def test_no_scheduler_may_come_back_and_no_address_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fadae.cluster.client.CONNECT_SECONDS", 0.3)
    assert states(preflight.cluster("tcp://127.0.0.1:9", None)) == {"scheduler": "away"}
    assert states(preflight.cluster("what://is this", None)) == {"scheduler": "wrong"}
    memory = Location("memory://here")
    assert states(preflight.cluster("tcp://127.0.0.1:9", memory)) == {"scheduler": "wrong"}


def test_the_worst_worker_decides() -> None:
    weak = Finding("decoder", "weak", "no seccomp", "another container")
    bad = WorkerFacts(2**30, 10**9, False, weak, unreached="a")
    found = of_workers({"a": GOOD, "b": bad}, "s3://bucket")
    lines = {one.check: one.line() for one in found}
    assert lines["workers' memory"].endswith("1.0 GiB on b: raise --memory-limit to 2 GiB")
    assert "1.0 GB free on b" in lines["workers' disk"]
    assert "1 of 2 cannot reach another, first b a: " in lines["workers' ports"]
    assert lines["workers' view"].startswith("wrong")
    assert "first b" in lines["workers' view"]
    assert "on 1 of 2: no seccomp: another container" in lines["workers' decoder"]
    assert set(states(of_workers({"a": GOOD}, "s3://bucket")).values()) == {"ok"}
    assert states(of_workers({}, "")) == {"workers": "weak"}
    assert states(of_workers({"a": GOOD, "b": ImportError("fadae")}, "")) == {"workers": "wrong"}


def test_the_archive_is_asked_once_and_only_on_request() -> None:
    with EmbeddedArchive([]) as archive:
        assert fadae("check", "--archive-url", archive.url).returncode == 0
        assert archive.requests == []
        told = fadae("check", "--archive-url", archive.url, "--archive")
        assert told.returncode == 0
        assert "set --contact" in told.stdout
        assert len(archive.requests) == 1
        url = archive.url
        assert preflight.archive(url, "me@example.org").state == "ok"
    assert preflight.archive(url, "me@example.org").state == "away"
    assert preflight.archive("ftp://archive", "").state == "wrong"


def test_a_decoder_that_does_not_start_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path))
    found = decoder()
    assert (found.state, found.says.partition(":")[0]) == ("wrong", "it does not start here")
