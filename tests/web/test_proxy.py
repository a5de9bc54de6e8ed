"""The listening room behind nginx, under a path of its own and with TLS; several rooms on one."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from fadae.errors import UsageError
from fadae.store.listing import publish_listing
from fadae.store.location import Location
from fadae.web.app import create_app
from fadae.web.chooser import page
from fadae.web.guard import hosts_for
from fadae.web.session import WorkspaceSession
from tests import command
from tests.nginx import documented, nginx
from tests.web.conftest import LONG, Served, serving, serving_app
from tests.web.visiting import Visit, playing

TOKEN = "a-token.of_letters~and-0123456789"
HOST = "music.example"


@contextlib.contextmanager
def _behind(folder: Path, app: Any, host: str = HOST, proto: str = "$scheme") -> Iterator[str]:
    """Serve an app behind nginx; yield the address that visitors know."""
    (folder / "root").mkdir()
    with serving_app(app, "/fadae") as room:
        rules = documented(1).replace("http://127.0.0.1:8642", room.address)
        rules = rules.replace("$host", host).replace("$scheme", proto)
        with nginx(folder, server=rules) as url:
            yield f"{url}/fadae"


def test_a_page_under_a_path_shows_and_plays(
    browser: Any, location: Location, tmp_path: Path
) -> None:
    session = WorkspaceSession(Location(location.url, read_only=True), 5.0)
    app = create_app(session, hosts_for("127.0.0.1"))
    with _behind(tmp_path, app, "$host") as address:
        context = browser.new_context()
        visit = Visit(context.new_page(), Served(address, None))  # type: ignore[arg-type]
        opened = visit.open(LONG)
        opened.click("#play")
        playing(visit, "original")
        visit.until("window.starts.some(one => one.head.some(sample => sample !== 0))")
        context.close()
    assert visit.complaints == []
    asked = [url for url in visit.asked if url.startswith("http")]
    assert asked
    assert all(url.startswith(f"{address}/") for url in asked)


def test_several_rooms_are_under_paths_of_their_own(location: Location, tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(Path(location.url) / "comparisons", hostile / "comparisons")
    sessions = {
        "room": WorkspaceSession(location, 5.0),
        "img": WorkspaceSession(Location(str(hostile)), 5.0),
    }
    app = create_app(sessions, hosts_for("127.0.0.1", [HOST]))
    with (
        _behind(tmp_path, app, proto="https") as address,
        urllib3.PoolManager(retries=False) as pool,
    ):
        text = pool.request("GET", f"{address}/").data.decode()
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "<img" not in text
        assert 'href="room/"' in text
        told = [
            json.loads(pool.request("GET", f"{address}/{name}/api/workspace").data)
            for name in sessions
        ]
        assert [one["recordings"] for one in told] == [3, 0]
        sound = f"room/api/audio?recording={LONG.replace(' ', '%20')}&start=0&stop=1"
        assert pool.request("GET", f"{address}/{sound}").data[:4] == b"RIFF"
        assert pool.request("GET", f"{address}/img/static/js/main.js").status == 200
        assert pool.request("GET", f"{address}/other/").status == 404
        bare = pool.request("GET", f"{address}/room", redirect=False)
        assert bare.headers["Location"] == f"https://{HOST}/fadae/room/"


def test_a_token_and_a_name_hold_behind_a_proxy(location: Location, tmp_path: Path) -> None:
    app = create_app(WorkspaceSession(location, 5.0), hosts_for("127.0.0.1", [HOST]), TOKEN)
    with (
        _behind(tmp_path, app, proto="https") as address,
        urllib3.PoolManager(retries=False) as pool,
    ):
        assert pool.request("GET", f"{address}/").status == 401
        login = pool.request("GET", f"{address}/?token={TOKEN}", redirect=False)
        assert (login.status, login.headers["Location"]) == (303, "./")
        cookie = login.headers["Set-Cookie"]
        assert "Path=/fadae" in cookie
        assert "Secure" in cookie
        shown = {"Cookie": cookie.partition(";")[0]}
        assert pool.request("GET", f"{address}/", headers=shown).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "workspace",
        "recordings?search=FUGUE",
        "recording?recording=bach/air.ogg",
        "audio?recording=bach/air.ogg&start=1&stop=3&source=original",
        "audio?recording=bach/air.ogg&start=1&stop=3&source=default",
        "codes?recording=bach/air.ogg&start=0&stop=3&run=default",
        "curves?run=default",
        "comparison?name=default",
    ],
)
def test_a_workspace_behind_a_web_server_is_shown_as_one_in_a_folder(
    room: Served, far_room: Served, path: str
) -> None:
    here, there = (one.get(f"/api/{path}") for one in (room, far_room))
    assert (here.status, there.status) == (200, 200), there.data
    if path == "workspace":  # the name of the folder differs, and the state is of its bytes
        told = [json.loads(one.data) for one in (here, there)]
        assert {**told[0], "name": ""} == {**told[1], "name": ""}
    else:
        assert there.data == here.data


@pytest.fixture(scope="module")
def far_room(location: Location, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("far")
    (folder / "root").mkdir()
    (folder / "root/room").symlink_to(location.url)
    publish_listing(location)  # the fixture's comparison was written past `compare`
    with nginx(folder) as url, serving(Location(f"{url}/room"), look_seconds=5.0) as served:
        yield served


def test_an_unknown_name_is_refused_behind_a_proxy_too(location: Location, tmp_path: Path) -> None:
    app = create_app(WorkspaceSession(location, 5.0), hosts_for("127.0.0.1", [HOST]))
    with _behind(tmp_path, app, "evil.example") as address:
        assert urllib3.request("GET", f"{address}/", retries=False).status == 403


def test_a_read_only_room_writes_nothing(location: Location) -> None:
    closed = Location(location.url, read_only=True)
    with pytest.raises(UsageError, match="to be read, not written"):
        closed.write_bytes("x", b"")
    with pytest.raises(UsageError, match="to be read, not written"):
        closed.below("runs").delete("default")


@pytest.mark.parametrize("path", ["fadae", "/fadae/", "/a b", "//evil"])
def test_a_path_that_is_none_is_refused(location: Location, path: str) -> None:
    ended = command.fadae("serve", location.url, "--port", "0", "--root-path", path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)


def test_the_page_of_rooms_holds_whatever_they_are_called() -> None:
    assert "<script>" not in page({"a": "<script>hit()</script>", "b": '"&'})
