"""The page in a real Chromium: browse, play, switch, seek, select, generate; nothing gets out."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest

import fadae
from fadae.store.location import Location
from tests.web.conftest import HOSTILE, HOSTILE_TITLE, LONG, SHORT, Served

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
SLOW_MS = 20_000
RATE_HZ = 11025

# What the page hands to the sound card: when, from where in which buffer.
RECORD_STARTS = """
window.starts = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  const head = [...this.buffer.getChannelData(0).slice(0, 400)];
  window.starts.push({ when, offset: offset || 0, head, seconds: this.buffer.duration });
  return start.apply(this, arguments);
};
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """A page of the room, and all that it asked for and complained about."""

    def __init__(self, page: Any, room: Served) -> None:
        self.page, self.room = page, room
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(SLOW_MS)
        page.add_init_script(RECORD_STARTS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, view: str = "listen", **parameters: Any) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        self.page.goto(f"{self.room.address}/#{view}{query}")
        self.page.wait_for_selector("#recordings a", state="attached")
        return self.page

    def open(self, recording: str = LONG, **parameters: Any) -> Any:
        page = self.go(recording=recording, **parameters)
        page.wait_for_selector("#stage-full", state="visible")
        return page

    def asked_for(self, name: str) -> list[dict[str, str]]:
        urls = [urlsplit(url) for url in self.asked]
        found = [url for url in urls if url.path == f"/api/{name}"]
        return [{k: v[0] for k, v in parse_qs(url.query).items()} for url in found]

    def address(self) -> dict[str, str]:
        """What the address bar says."""
        _, _, query = urlsplit(self.page.url).fragment.partition("?")
        return {name: values[0] for name, values in parse_qs(query).items()}

    def until(self, expression: str) -> None:
        """Wait for an expression to hold; asked from outside, as the page's policy forbids eval."""
        deadline = time.monotonic() + SLOW_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            self.page.wait_for_timeout(40)

    def seconds(self) -> float:
        minutes, seconds = self.page.inner_text("#now").split(":")
        return 60 * int(minutes) + float(seconds)


@pytest.fixture
def visit(browser: Any, room: Served) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def enter(**options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        return Visit(context.new_page(), room)

    yield enter
    for context in contexts:
        context.close()


def playing(visit: Visit, source: str) -> None:
    visit.until(f"document.body.dataset.player === 'playing' && "
                f"document.body.dataset.heard === '{source}'")  # fmt: skip


def test_search_finds_and_a_click_opens(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go()
    assert page.locator("#recordings a").count() == 3
    page.fill("#search", "fugue")
    here.until("document.querySelectorAll('#recordings a').length === 1")
    assert page.inner_text("#found") == "1 found"
    page.click("#recordings a")
    page.wait_for_selector("#stage-full", state="visible")
    assert page.inner_text("#title") == "A long fugue"
    assert page.title() == "A long fugue · fadae"
    assert here.address() == {"recording": LONG, "search": "fugue"}
    page.fill("#search", "nothing like it")
    here.until("document.querySelector('#recordings .none')")
    page.go_back()
    here.until("!location.hash.includes('recording')")


def test_play_and_pause(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open()
    page.click("#play")
    playing(here, "original")
    here.until("document.getElementById('now').textContent > '0:00.8'")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.keyboard.press("Tab")  # off the button: Space would press it
    page.locator("#stage").focus()
    page.keyboard.press("Space")
    here.until("document.body.dataset.player === 'paused'")
    stopped = here.seconds()
    page.wait_for_timeout(300)
    assert here.seconds() == stopped > 0.7
    assert float(here.address()["at"]) == pytest.approx(stopped, abs=0.11)


def test_a_switch_keeps_the_place_to_the_sample(
    visit: Callable[..., Visit], location: Location
) -> None:
    here = visit()
    page = here.open(at=3.2)
    for round_of in ("fetched", "measured"):  # first the slices come, then nothing waits for them
        page.click("#play")
        for source in ("default", "transform", "modelled", "original"):
            page.locator(f"#sources input[value={source}]").check(force=True)
            playing(here, source)
            page.wait_for_timeout(300)
        if round_of == "fetched":
            page.click("#play")
            page.locator("#stage").focus()
            page.keyboard.press("Home")
            page.evaluate("window.starts = []")
    heard = page.evaluate("window.starts")
    workspace = fadae.open(location.url)
    anchors, sources = [], []
    for node in heard:
        source, place = locate(workspace, node["head"])
        sources.append(source)
        anchors.append(place + node["offset"] - node["when"])
        assert node["seconds"] == pytest.approx(5, abs=1e-6)
    assert {"original", "transform", "default", "modelled"} == set(sources)
    # One line through all of them: the place on the tape less the audio clock never changes.
    assert np.ptp(anchors) * RATE_HZ < 1


def locate(workspace: fadae.Workspace, head: list[float]) -> tuple[str, float]:
    """Return the source and the place of a slice, by its samples."""
    for source in ("original", "transform", "default", "modelled"):
        for place in range(0, 80, 5):
            samples = workspace.audio(LONG, slice(place, place + 1), source=source)[: len(head)]
            if np.abs(samples - head).max() <= 1.01 / 32768:
                return source, float(place)
    raise AssertionError("a slice that no source holds")


def test_long_recordings_come_by_slices(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open()
    page.click("#play")
    playing(here, "original")
    asked = here.asked_for("audio")
    assert asked[0]["start"] == "0"
    assert all(float(one["stop"]) - float(one["start"]) <= 5 for one in asked)
    assert len(asked) <= 3
    page.locator("#overview-frame").click(position={"x": 600, "y": 20})
    playing(here, "original")
    assert here.seconds() > 40
    assert len(here.asked_for("audio")) <= 6
    shown = {one["start"] for one in here.asked_for("bands")}
    assert len(shown) <= 6


def test_keys_seek_switch_and_mark(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(at=10)
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    here.until("document.getElementById('now').textContent === '0:11.0'")
    page.keyboard.press("Shift+ArrowRight")
    here.until("document.getElementById('now').textContent === '0:21.0'")
    page.keyboard.press("[")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("]")
    here.until("location.hash.includes('to=22')")
    assert (here.address()["from"], here.address()["to"]) == ("21", "22")
    page.keyboard.press("Escape")
    here.until("!location.hash.includes('from')")
    page.keyboard.press("3")
    here.until("location.hash.includes('source=default')")
    page.keyboard.press("j")
    here.until("document.getElementById('title').textContent === 'Air'")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.locator("#keys-on").uncheck()
    page.locator("#help button").click()
    page.keyboard.press("k")
    page.keyboard.press("/")
    page.wait_for_timeout(200)
    assert page.inner_text("#title") == "Air"


def test_a_drag_selects_seconds_and_bands_and_plays_only_those(
    visit: Callable[..., Visit],
) -> None:
    here = visit()
    page = here.open()
    box = page.locator("#upper .frame").bounding_box()
    x, y = box["x"], box["y"]
    page.mouse.move(x + box["width"] * 0.25, y + box["height"] * 0.25)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.3, y + box["height"] * 0.5, steps=4)
    page.mouse.move(x + box["width"] * 0.35, y + box["height"] * 0.75, steps=4)
    page.mouse.up()
    address = here.address()
    assert float(address["from"]) == pytest.approx(5, abs=0.1)
    assert float(address["to"]) == pytest.approx(7, abs=0.1)
    assert 300 < float(address["low"]) < float(address["high"]) < 3000
    assert float(page.input_value("#from")) == pytest.approx(float(address["from"]), abs=0.01)
    assert page.locator("#upper .chosen").is_visible()
    page.click("#play")
    playing(here, "original")
    page.wait_for_timeout(2600)
    assert float(address["from"]) <= here.seconds() <= float(address["to"]) + 0.1, "it loops"
    for asked in here.asked_for("audio"):
        assert float(asked["start"]) >= float(address["from"]) - 1e-3
        assert float(asked["stop"]) <= float(address["to"]) + 1e-3
        assert float(asked["low_hz"]) == pytest.approx(float(address["low"]), abs=0.1)
    page.click("#only")
    playing(here, "original")
    here.until("Number(document.getElementById('now').textContent.split(':')[1]) > 7.3")
    page.click("#clear")
    assert page.input_value("#from") == ""
    page.fill("#from", "1")
    page.fill("#to", "2")
    page.press("#to", "Enter")
    here.until("location.hash.includes('from=1&to=2')")
    assert "low_hz" not in page.get_attribute("#save", "href")


def test_deep_links_bring_everything_back(visit: Callable[..., Visit]) -> None:
    here = visit()
    link = {"source": "default", "at": "12.5", "from": "12", "to": "15", "low": "400",
            "high": "900", "zoom": "10"}  # fmt: skip
    page = here.open(LONG, **link)
    here.until("document.getElementById('now').textContent === '0:12.5'")
    assert page.locator("#sources input:checked").input_value() == "default"
    assert [page.input_value(f"#{name}") for name in ("from", "to", "low", "high")] == [
        "12.00", "15.00", "400", "900",
    ]  # fmt: skip
    assert page.get_attribute("#only", "aria-pressed") == "true"
    assert re.fullmatch(r"0:1[12] . 0:2[12]", page.inner_text("#shown"))
    assert here.address() == {"recording": LONG, **link}
    broken = visit()
    broken.open(SHORT, source="nobody", at="x", low="-3", high="1e999", zoom="7")
    assert broken.page.locator("#sources input:checked").input_value() == "original"
    assert not broken.complaints


def test_what_is_generated_is_seen_and_heard(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go("generate", run="default", seed=7, seconds=3)
    page.click("#generate .primary")
    page.wait_for_selector("#generated", state="visible")
    playing(here, "generated")
    assert page.inner_text("#duration") == "0:03"
    assert "seed 7" in page.inner_text("#generated .name")
    assert page.evaluate("painted => new Set(painted).size > 20", pixels(page, "#generated canvas"))
    page.click("#another")
    here.until("!location.hash.includes('seed=7&')")
    assert page.evaluate("window.starts.length") >= 1
    page.check("input[value=interpolate]", force=True)
    page.fill("#generate-first", LONG)
    page.fill("#generate-second", SHORT)
    page.click("#generate .primary")
    here.until("document.querySelector('#generated .name').textContent.includes('between')")
    assert not here.complaints


def pixels(page: Any, selector: str) -> list[int]:
    values: list[int] = page.evaluate(
        """selector => {
          const canvas = document.querySelector(selector);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [...new Uint32Array(data.buffer).filter((_, i) => i % 97 === 0)];
        }""",
        selector,
    )
    return values


def test_pictures_are_painted_in_both_themes(visit: Callable[..., Visit]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        here = visit(color_scheme=scheme)
        page = here.open()
        here.until("!document.querySelector('.frame.loading')")
        for frame in ("#overview", "#upper canvas", "#lower canvas", "#code canvas"):
            seen[scheme, frame] = np.asarray(pixels(page, frame), dtype=np.uint32).view(np.uint8)
            assert len(np.unique(seen[scheme, frame])) > 30, (scheme, frame)
    assert seen["light", "#upper canvas"].mean() > seen["dark", "#upper canvas"].mean() + 60


def test_training_curves_are_drawn_and_told(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go("training")
    page.wait_for_selector(".chart path.train_loss")
    told = page.locator(".chart svg").first.get_attribute("aria-label")
    assert "training from 1 to 0.2" in told
    assert page.locator(".run").count() == 3


def test_hostile_titles_stay_text_and_nothing_leaves_the_page(
    visit: Callable[..., Visit],
) -> None:
    here = visit()
    page = here.open(HOSTILE)
    page.click("#play")
    playing(here, "original")
    for view in ("generate", "training"):
        page.click(f"nav a[data-view={view}]")
        page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert page.text_content("#title") == HOSTILE_TITLE
    assert page.locator("#stage img, #recordings img, script:not([src])").count() == 0
    assert not here.complaints, "the content security policy had nothing to stop"
    assert all(url.startswith(here.room.address) for url in here.asked)


def test_a_recording_that_is_not_there_is_said_plainly(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go(recording="no/such.ogg")
    page.wait_for_selector("#trouble", state="visible")
    assert "no/such.ogg" in page.inner_text("#trouble")


def test_a_server_that_went_away_is_said_and_waited_for(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(at=1)
    page.route("**/api/audio?*", lambda route: route.abort())
    page.click("#play")
    page.wait_for_selector("#trouble", state="visible")
    assert "The sound stopped" in page.inner_text("#trouble")
    page.unroute("**/api/audio?*")
    page.click("#play")
    playing(here, "original")


@pytest.mark.parametrize("view", ["listen", "generate", "training"])
def test_a_phone_shows_all_without_scrolling_sideways(
    visit: Callable[..., Visit], view: str
) -> None:
    here = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = here.open() if view == "listen" else here.go(view)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, .segments label, a.button, nav a")]
             .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 30)
             .map((e) => e.outerHTML)"""
    )
    assert small == []
    if view == "listen":
        page.tap("#to-shelf")
        assert page.locator("#recordings").is_visible()
        page.tap("#recordings li:nth-child(2) a")
        page.wait_for_selector("#title:has-text('Air')")
        page.tap("#play")
        playing(here, "original")


def test_everything_has_a_name_for_who_cannot_see_it(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(at=5)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(
               "button, input, select, a, [role=slider], [role=img]")]
             .filter((e) => e.checkVisibility())
             .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim()
                              || e.labels?.length || e.getAttribute("aria-labelledby")))
             .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    slider = page.locator("#overview-frame")
    assert slider.get_attribute("aria-valuetext") == "0:05 of 1:20"
    slider.focus()
    page.keyboard.press("ArrowRight")
    here.until("document.getElementById('overview-frame').ariaValueNow === '6.0'")
    page.click("#play")
    playing(here, "original")
    assert page.inner_text("#announcer") == "Playing Original"
