"""Requests and milliseconds of a 1-second slice from S3 where every request takes 20 ms longer.

A real S3 server behind a proxy that counts requests and holds each back. Limits: at most two
requests a chunk and two chunks an array; four round trips in a row, hence 200 ms.
"""

from __future__ import annotations

import asyncio
import functools
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fadae
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.s3 import S3Server, s3_server
from tests.synthetic import music, write_features, write_run

LATENCY_SECONDS = 0.020
MOST_REQUESTS = 4
MOST_SECONDS = 0.2
_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n", re.MULTILINE)


class SlowProxy(threading.Thread):
    """Forwards connections to the server, every request 20 ms late; `.requests` names them."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.requests: list[str] = []
        self._target, self._ready = port, threading.Event()
        self.port = 0

    def run(self) -> None:
        asyncio.run(self._serve())

    def started(self) -> SlowProxy:
        self.start()
        self._ready.wait(10)
        return self

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            self._pass_on(reader, there_writer, slow=True),
            self._pass_on(there_reader, writer, slow=False),
            return_exceptions=True,
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow: bool
    ) -> None:
        while data := await reader.read(1 << 20):
            if slow and (found := _REQUEST.findall(data)):
                self.requests += [f"{verb.decode()} {path.decode()}" for verb, path in found]
                await asyncio.sleep(LATENCY_SECONDS)
            writer.write(data)
            await writer.drain()
        writer.close()


def measured(proxy: SlowProxy, what: str, call: Callable[[], Any], rounds: int = 7) -> bool:
    """Print requests and the median time of a call; return whether both keep their limits."""
    times, requests = [], 0
    for _ in range(rounds):
        proxy.requests.clear()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        requests = len(proxy.requests)
    seconds = statistics.median(times)
    print(f"{what:<44} {requests:>3} requests {1e3 * seconds:7.0f} ms")
    return requests <= MOST_REQUESTS and seconds <= MOST_SECONDS


def run(server: S3Server) -> bool:
    """Fill a bucket, then measure slices of it through the proxy."""
    direct = Location(f"{server.url}/slices", server.storage_options)
    write_features(direct, {"a/music.ogg": music(500)})
    write_run(direct)
    reconstruct(direct)
    proxy = SlowProxy(server.port + 3).started()
    options = {**server.storage_options, "endpoint_url": f"http://127.0.0.1:{proxy.port}"}
    start = time.perf_counter()
    workspace = fadae.open(direct.url, options)
    workspace.recording("a/music.ogg")
    opened = time.perf_counter() - start
    print(
        f"{'open, and find the recording (once)':<44} {len(proxy.requests):>3} requests "
        f"{1e3 * opened:7.0f} ms"
    )
    workspace.audio("a/music.ogg", (0, 1), "default")  # lists the reconstructions once
    _ = workspace.features
    span = (347.7, 348.7)  # across the border of two blocks, the dearest there is
    kept = [
        measured(
            proxy,
            f"audio, 1 s, {source}{where}",
            functools.partial(workspace.audio, "a/music.ogg", at, source),
        )
        for source in ("original", "transform", "default")
        for where, at in ((", within a chunk", (101, 102)), (", across two blocks", span))
    ]

    def selected() -> None:
        chosen = workspace.select("a/music.ogg", (101, 102), (400, 900))
        chosen["features"].to_numpy()

    measured(proxy, "select 1 s x 400-900 Hz and read", selected)
    return all(kept)


def main() -> int:
    """Return 1 where a slice needs more requests or time than it may."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        return int(not run(server))


if __name__ == "__main__":
    sys.exit(main())
