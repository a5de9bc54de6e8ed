"""A small workspace with hostile titles, and the listening room served on it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
import uvicorn
from starlette.types import ASGIApp

from fadae.compare import result
from fadae.similarity import SEGMENTS, make_packs
from fadae.stages.reconstruct import reconstruct
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.web.app import create_app
from fadae.web.guard import hosts_for
from fadae.web.server import server_config
from fadae.web.session import WorkspaceSession
from tests.compare.test_result import code, comparison
from tests.hangs import HANG_SECONDS
from tests.synthetic import music, write_features, write_run

if TYPE_CHECKING:
    from tests.web.visiting import Visit

LONG, SHORT, HOSTILE = "bach/long fugue.ogg", "bach/air.ogg", 'evil/<img src=x onerror="hit()">.ogg'
HOSTILE_TITLE = '"><script>window.hit=1</script><img src=x onerror="window.hit=1">\u202e\x00 title'
TITLES = {LONG: "A long fugue", SHORT: "Air", HOSTILE: HOSTILE_TITLE}


@pytest.fixture(scope="session")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Three recordings, a reconstructed run, a run with only a model, one still in training."""
    location = Location(str(tmp_path_factory.mktemp("room")))
    recordings = {LONG: music(80, seed=1), SHORT: music(7.3, seed=2), HOSTILE: music(3, seed=3)}
    gone = "http://127.0.0.1:9/download/bach/air.ogg"  # as `fadae demo` leaves it
    write_features(location, recordings, titles=TITLES, urls={SHORT: gone})
    scored = {"holdout_nmse_db": -5.0, "pca_nmse_db": -7.25, "pca_components": 16}
    write_run(location, holdout=0.5, summary=scored)
    write_run(location, "modelled", seed=1, widths=(32, 8))
    location.write_bytes("runs/training/config.json", b"{}")
    reconstruct(location, "default")
    make_packs(FeatureSet.open(location), SEGMENTS)  # as `fadae similar` does
    own, opus = code("default", 6.0, snr_db=18.25), code("Opus", 8.0, snr_db=7.5)
    result.write(location, comparison(own, opus))
    return location


@dataclass(frozen=True)
class Served:
    """A room that is served: its address and how to ask it."""

    address: str
    server: uvicorn.Server

    def get(self, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        """Return the answer to one request, on a connection of its own."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with urllib3.PoolManager(retries=False) as pool:
            return pool.request(method, self.address + path, headers=given)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Return a bare connection, for what no client would send."""
        port = int(self.address.rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", port), HANG_SECONDS, (source, 0))

    def json(self, path: str) -> Any:
        """Return the JSON of an answer that must be a 200."""
        answer = self.get(path)
        assert answer.status == 200, answer.data
        return json.loads(answer.data)


@contextlib.contextmanager
def serving(
    location: Location, look_seconds: float = 0.0, token: str | None = None
) -> Iterator[Served]:
    """Serve a workspace in a thread of this process."""
    app = create_app(WorkspaceSession(location, look_seconds), hosts_for("127.0.0.1"), token)
    with serving_app(app) as served:
        yield served


@contextlib.contextmanager
def serving_app(app: ASGIApp, root_path: str = "") -> Iterator[Served]:
    """Serve an app in a thread of this process."""
    server = uvicorn.Server(server_config(app, root_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def room(location: Location) -> Iterator[Served]:
    with serving(location, look_seconds=5.0) as served:
        yield served


@pytest.fixture
def empty_room(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "staging").mkdir()
    with serving(Location(str(tmp_path))) as served:
        yield served


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from tests.web.visiting import CHROMIUM, FLAGS

    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, room: Served) -> Iterator[Callable[..., Visit]]:
    from tests.web.visiting import Visit

    contexts = []

    def enter(**options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        return Visit(context.new_page(), room)

    yield enter
    for context in contexts:
        context.close()
