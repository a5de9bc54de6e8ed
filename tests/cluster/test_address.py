"""Where a scheduler is: behind TLS, in a file that it writes, at a gateway."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

from fadae.cluster.address import Scheduler, find_scheduler
from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.config import cluster_of
from fadae.errors import TransientError, UsageError
from fadae.store.location import Location
from tests.cluster import commands, work
from tests.hangs import HANG_SECONDS

ROLES = ("client", "scheduler", "worker")


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """Return a new certificate, signed by itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make certificates with")
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    return str(cert), str(key)


def tls(cert: str, key: str, ca: str | None = None) -> dict[str, str]:
    """Return Dask's settings for one certificate in all roles."""
    settings = {"distributed.comm.tls.ca-file": ca or cert}
    for role in ROLES:
        settings[f"distributed.comm.tls.{role}.cert"] = cert
        settings[f"distributed.comm.tls.{role}.key"] = key
    return settings


def variables(settings: dict[str, str]) -> dict[str, str]:
    return {
        "DASK_" + key.upper().replace(".", "__").replace("-", "_"): value
        for key, value in settings.items()
    }


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "workspace"))


def test_a_cluster_behind_tls(location: Location, tmp_path: Path) -> None:
    settings = tls(*certificate(tmp_path, "ours"))
    environment = variables(settings)
    with (
        commands.scheduler(
            tmp_path, arguments=("--protocol", "tls"), environment=environment
        ) as scheduler,
        commands.worker(scheduler.address, tmp_path, "one", environment=environment),
    ):
        address = scheduler.address
        assert address.startswith("tls://")
        with dask.config.set(settings), connect(address, None, location) as client:
            assert sorted(map_bag(client, work.square, range(5), label="sq")) == [0, 1, 4, 9, 16]
        others = tls(*certificate(tmp_path, "theirs"))
        with (
            dask.config.set(others),
            pytest.raises(UsageError, match="do not trust each other's certificates"),
        ):
            connect(address, None, location).__enter__()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs a certificate: set distributed.comm.tls.ca-file .*__TLS__CA_FILE=FILE"),
        ({"ca-file": "{ours}"}, "set distributed.comm.tls.client.cert .*CLIENT__CERT=FILE"),
        ({"ca-file": "{folder}/none.crt", "client.cert": "{ours}"}, "cannot read .*none.crt"),
        ({"ca-file": "{text}", "client.cert": "{text}"}, "distributed.comm.tls of Dask's"),
    ],
)
def test_tls_without_what_it_needs(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    (tmp_path / "text").write_text("no certificate")
    (tmp_path / "ours").write_text("never read")
    places = {name: str(tmp_path / name) for name in ("ours", "text")}
    found = {
        f"distributed.comm.tls.{key}": value.format(folder=tmp_path, **places)
        for key, value in settings.items()
    }
    with dask.config.set(found), pytest.raises(UsageError, match=said):
        find_scheduler("tls://127.0.0.1:8786")


def test_what_must_be_encrypted_is() -> None:
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(UsageError, match="is not encrypted; Dask"),
    ):
        find_scheduler("tcp://127.0.0.1:8786")


def test_a_scheduler_that_writes_its_address_later(location: Location, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    found: list[Scheduler] = []
    waiting = threading.Thread(
        target=lambda: found.append(find_scheduler(f"file:{file}", HANG_SECONDS))
    )
    waiting.start()
    with (
        commands.scheduler(tmp_path, arguments=("--scheduler-file", str(file))) as scheduler,
        commands.worker(scheduler.address, tmp_path, "one"),
        connect(cluster_of(None, str(file)), None, location) as client,
    ):
        waiting.join()
        assert found == [Scheduler(scheduler.address)]
        assert sorted(map_bag(client, work.square, range(3), label="square")) == [0, 1, 4]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "folder").mkdir()
    for name, text in {
        "empty": "",
        "text": "tcp://127.0.0.1:8786",
        "list": '["tcp://127.0.0.1:8786"]',
        "number": '{"address": 8786}',
        "deep": "[" * 100_000,
        "itself": f'{{"address": "file:{tmp_path}/itself"}}',
    }.items():
        (tmp_path / name).write_text(text)
    yield tmp_path


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("none", TransientError, "no scheduler has written it within 0 s"),
        ("empty", TransientError, "no scheduler has written it within 0 s"),
        ("none/none", UsageError, "there is no folder"),
        ("folder", UsageError, "Is a directory"),
        ("text", UsageError, "not what `dask scheduler --scheduler-file` writes"),
        ("list", UsageError, "not what `dask scheduler"),
        ("number", UsageError, "not what `dask scheduler"),
        ("deep", UsageError, "not what `dask scheduler"),
        ("itself", UsageError, "not what `dask scheduler"),
    ],
)
def test_a_file_that_holds_no_address(
    files: Path, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        find_scheduler(f"file:{files / name}", seconds=0)


@pytest.mark.skipif(
    importlib.util.find_spec("ucxx") is not None, reason="Dask can connect by ucx here"
)
def test_a_way_to_connect_that_dask_knows_by_name_only() -> None:
    with pytest.raises(UsageError, match="cannot connect by ucx"):
        find_scheduler("ucx://10.0.0.1:8786")


@pytest.mark.skipif(
    importlib.util.find_spec("dask_gateway") is not None, reason="Dask Gateway's client is here"
)
def test_a_gateway_without_its_client() -> None:
    with pytest.raises(UsageError, match=r"gateway://bach needs .* pip install 'fadae\[gateway\]'"):
        find_scheduler("gateway://bach")


@pytest.mark.parametrize(
    ("status", "state", "error", "said"),
    [
        (200, "RUNNING", None, ""),
        (200, "PENDING", TransientError, "the cluster is pending"),
        (200, "FAILED", UsageError, "the cluster is failed"),
        (404, "", UsageError, "said so"),
        (409, "", UsageError, "said so"),
        (403, "", UsageError, "the gateway refuses"),
        (500, "", TransientError, "does not answer .said so"),
        (503, "", TransientError, "does not answer"),
    ],
)
def test_a_cluster_of_a_gateway(
    status: int, state: str, error: type[Exception] | None, said: str
) -> None:
    pytest.importorskip("dask_gateway", reason="the extra `gateway` is not here")
    with gateway(status, state) as address, dask.config.set({"gateway.address": address}):
        if error is None:
            found = find_scheduler("gateway://bach").address
            assert found == f"{address}/bach".replace("http:", "gateway:")
        else:
            with pytest.raises(error, match=said):
                find_scheduler("gateway://bach")


@contextlib.contextmanager
def gateway(status: int, state: str) -> Iterator[str]:
    """Answer as Dask Gateway's server does when it is asked for a cluster; yield its address."""
    report = {
        "name": "bach",
        "options": {},
        "status": state,
        "start_time": 1000,
        "stop_time": None,
        "dashboard_route": None,
        "tls_cert": "a certificate",
        "tls_key": "its key",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/clusters/bach"
            body = json.dumps(report if status == 200 else {"error": "said so"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
