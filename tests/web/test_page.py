"""The page in a real Chromium: browse, play, switch, seek, select, generate, deep links."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import fadae
from fadae.config import TrainConfig
from fadae.stages.extract import extract
from fadae.store.location import Location
from fadae.training.launch import train
from tests.store.staged import stage
from tests.synthetic import music
from tests.web.conftest import LONG, SHORT, serving
from tests.web.visiting import RATE_HZ, Visit, pixels, playing


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


def test_the_page_opens_on_the_first_recording(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go()
    page.wait_for_selector("#stage-full", state="visible")
    assert page.inner_text("#title") == "A long fugue"
    assert page.inner_text("#recordings a[aria-current] .title") == "A long fugue"
    assert here.address() == {}, "an address that names nothing means it"
    assert page.inner_text("#code .name") == "The code between: 64 bytes"
    assert page.inner_text("#code-size") == "a row of 0.34 s, 1.5 kbps"
    assert not page.get_attribute("#overview-frame", "class").endswith("failed")
    page.goto(f"{here.room.address}/#runs")
    page.goto(f"{here.room.address}/#listen?search=air")
    here.until("document.querySelectorAll('#recordings a').length === 1")
    assert page.inner_text("#title") == "A long fugue", "what is on the stage stays"
    found = visit()
    found.go(search="air")
    found.until("document.getElementById('title').textContent === 'Air'")


def test_the_whole_recording_is_a_waveform_and_a_file(
    visit: Callable[..., Visit], location: Location
) -> None:
    here = visit()
    page = here.open(SHORT, source="default")
    here.until("!document.querySelector('#overview-frame.loading')")
    assert not here.asked_for("bark")
    (asked,) = here.asked_for("waveform")
    assert (asked["source"], asked["columns"]) == ("default", "1600")
    seen = pixels(page, "#overview")
    page.click("#overview-kind")
    here.until("!document.querySelector('#overview-frame.loading')")
    assert here.asked_for("bark") and pixels(page, "#overview") != seen
    with page.expect_download() as taken:
        page.click("#whole")
    assert taken.value.suggested_filename == "Air (default).flac"
    samples, rate_hz = soundfile.read(taken.value.path(), dtype="float32")
    assert rate_hz == RATE_HZ
    expected = fadae.open(location.url).audio(SHORT, source="default")
    assert np.abs(samples - expected).max() <= 1 / 32768


def test_more_like_a_selection_is_played_from_where_it_is_found(
    visit: Callable[..., Visit], location: Location
) -> None:
    found = fadae.open(location.url).similar(SHORT, slice(1, 4), 8)
    here = visit()
    page = here.open(SHORT, **{"from": "1", "to": "4"})
    page.click("#more")
    page.wait_for_selector("#alike li")
    assert page.evaluate("document.activeElement.id") == "alike"
    assert page.inner_text("#alike-title") == "Like Air, 0:01 to 0:04"
    assert page.locator("#alike li").count() == len(found)
    other = next(one for one in found if one.id == LONG)
    page.click("#alike a:text('A long fugue')")
    here.until("document.getElementById('title').textContent === 'A long fugue'")
    assert float(here.address()["from"]) == pytest.approx(other.start_seconds, abs=1e-3)
    assert page.locator("#alike").is_hidden(), "that was like the other recording"


def test_the_map_sounds_under_the_pointer_and_by_the_keyboard(
    visit: Callable[..., Visit], location: Location
) -> None:
    points = fadae.open(location.url).corpus_map().points
    here = visit()
    page = here.go()
    page.click("nav a[data-view=map]")
    here.until("document.getElementById('map-lead').textContent.startsWith('3 recordings')")
    box = page.locator("#map").bounding_box()

    def rest_on(x: float, y: float) -> None:
        half_x, half_y = box["width"] / 2, box["height"] / 2
        page.mouse.move(
            box["x"] + half_x + x * (half_x - 12), box["y"] + half_y - y * (half_y - 12)
        )

    rest_on(points[0].x, points[0].y)
    here.until("document.getElementById('map-point').textContent !== ''")
    assert not here.asked_for("audio"), "nobody has asked to hear anything yet"
    page.click("#map-hear")
    playing(here, "original")
    rest_on(points[1].x, points[1].y)
    here.until("document.getElementById('map-point').textContent.startsWith('Air')")
    here.until("document.getElementById('playing').textContent === 'Air'")
    playing(here, "original")
    assert [one["recording"] for one in here.asked_for("audio")][:2] == [LONG, SHORT]
    page.locator("#map").focus()
    before = page.inner_text("#map-point")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    assert page.inner_text("#map-point") != before
    page.click("#map-open")
    page.wait_for_selector("#stage-full", state="visible")
    assert here.address()["from"]
    assert not here.complaints


def test_runs_are_drawn_together_and_each_has_a_page(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go("training")  # as links of earlier versions call it
    page.wait_for_selector(".chart path.series-1")
    rows = page.locator("#runs tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["default", "modelled", "training"]
    assert "64" in rows[0] and "1.5" in rows[0]
    told = page.locator(".chart svg").first.get_attribute("aria-label")
    assert told == "Held-out NMSE (dB): default from −1 to −5; modelled from −1 to −5"  # noqa: RUF001
    assert page.locator(".choices ~ p").inner_text() == "No finished steps yet: training."
    page.uncheck(".choices input[value=modelled]")
    here.until("!document.querySelector('.chart path.series-1')")
    page.click("#runs a:text('default')")
    page.wait_for_selector(".compared table")
    assert page.title() == "Run default \N{MIDDLE DOT} fadae"
    assert "64 bytes a row, 1.5 kbps" in page.locator("#run .facts").inner_text()
    page.click("#run a:text('Listen')")
    here.until("document.querySelector('#sources input:checked')?.value === 'default'")
    page.goto(f"{here.room.address}/#run?run=nobody")
    page.wait_for_selector("#run .empty")
    assert not here.complaints


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
    for _ in range(2):  # the time is drawn with the next frame
        page.evaluate("new Promise(requestAnimationFrame)")
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
    here.until("location.hash.includes('high=')")
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
    link = {
        "source": "default",
        "at": "12.5",
        "from": "12",
        "to": "15",
        "low": "400",
        "high": "900",
        "zoom": "10",
    }
    page = here.open(LONG, **link)
    here.until("document.getElementById('now').textContent === '0:12.5'")
    assert page.locator("#sources input:checked").input_value() == "default"
    assert [page.input_value(f"#{name}") for name in ("from", "to", "low", "high")] == [
        "12.00",
        "15.00",
        "400",
        "900",
    ]
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
    assert page.inner_text("#duration") == "0:03.0"
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


def test_a_model_offers_methods_of_its_own(visit: Callable[..., Visit], tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    stage(location, SHORT, music(5, seed=2), rate_hz=RATE_HZ)
    extract(location, preset="critical")
    train(location, TrainConfig(run="counted", model="tables", ranks=1, holdout=0.0))
    with serving(location) as room:
        here = visit()
        here.room = room
        page = here.go("generate", run="counted", method="random", seed=1, seconds=2)
        page.wait_for_selector("input[value=random]", state="attached")
        methods = page.locator("#generate-methods input")
        assert [one.input_value() for one in methods.all()] == ["random", "walk"]
        assert page.is_checked("input[value=random]")
        assert "random bytes" in page.inner_text("#method-note")
        page.check("input[value=walk]", force=True)
        assert "given the row before" in page.inner_text("#method-note")
        page.click("#generate .primary")
        here.until("document.querySelector('#generated .name').textContent.includes('seed 1')")
        assert here.address()["method"] == "walk"
        assert not here.complaints


def test_nothing_is_written_where_somebody_types(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open()
    page.click("#low")
    page.keyboard.type("400")
    page.click("#high")
    page.keyboard.type("600")
    assert page.input_value("#high") == "600"
    page.click("#to")
    page.keyboard.type("6")
    page.click("#from")
    page.keyboard.type("2")
    assert page.input_value("#from") == "2"
    page.keyboard.press("Enter")
    here.until("location.hash.includes('from=2&to=6&low=400&high=600')")
    page.click("#to")
    page.keyboard.type("0")
    here.page.evaluate("location.hash = location.hash.replace('from=2', 'from=3')")
    here.until("document.getElementById('from').value === '3.00'")
    assert page.input_value("#to") == "6.000", "what is being typed stays"


def test_the_ends_nobody_gave_stay_open(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open()
    page.fill("#low", "900")
    page.press("#low", "Enter")
    playing(here, "original")
    assert [page.input_value(f"#{name}") for name in ("from", "to", "high")] == ["", "", ""]
    assert page.get_attribute("#to", "placeholder") == "80.00"
    assert {k: v for k, v in here.address().items() if k in ("from", "to", "low", "high")} == {
        "low": "900"
    }
    assert float(here.asked_for("audio")[-1]["high_hz"]) > 3000


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("high", "3069006", "The bands reach from"),
        ("low", "5000", "The bands reach from"),
        ("high", "100", "The bands reach from"),
        ("high", "-5", "numbers from 0 up"),
        ("from", "80", "ends at 80.00 seconds"),
        ("from", "6", "must end after it starts"),
        ("to", "0", "must end after it starts"),
        ("low", "1000", "must lie above"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(
    visit: Callable[..., Visit], field: str, text: str, said: str
) -> None:
    here = visit()
    selected = {"from": "2", "to": "6", "low": "400", "high": "900"}
    page = here.open(**selected)
    page.fill(f"#{field}", text)
    page.press(f"#{field}", "Enter")
    assert said in page.inner_text("#trouble")
    assert page.get_attribute(f"#{field}", "aria-invalid") == "true"
    assert {name: here.address()[name] for name in selected} == selected
    page.fill(f"#{field}", selected[field])
    page.press(f"#{field}", "Enter")
    assert page.get_attribute(f"#{field}", "aria-invalid") is None


def test_between_asks_for_two_recordings(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go("generate")
    page.check("input[value=interpolate]", force=True)
    for first in ("", "   "):
        page.fill("#generate-first", first)
        page.click("#generate .primary")
        assert page.evaluate("document.activeElement.id") == "generate-first"
    assert not here.asked_for("generated")
    assert page.locator("#trouble").is_hidden()
    page.check("input[value=walk]", force=True)
    page.fill("#generate-seed", "")
    page.click("#generate .primary")
    assert page.evaluate("document.activeElement.id") == "generate-seed"
    assert not here.asked_for("generated")


def test_the_clock_is_of_what_is_loaded(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(SHORT, at=5.2)
    here.until("document.getElementById('now').textContent === '0:05.2'")
    assert page.inner_text("#duration") == "0:07.2"
    page.click("nav a[data-view=generate]")
    here.until("document.getElementById('duration').textContent === '0:00.0'")
    page.wait_for_timeout(100)
    assert page.inner_text("#now") == "0:00.0"


def test_what_a_run_held_out_is_marked(visit: Callable[..., Visit], location: Location) -> None:
    split = fadae.open(location.url).split("default")
    assert split.held_out
    assert split.trained
    here = visit()
    page = here.open(split.held_out[0], source="default")
    assert page.inner_text("#role") == "held out"
    marked = page.locator("#recordings a:has(.badge:visible)")
    assert [one.get_attribute("data-id") for one in marked.all()] == split.held_out
    page.locator("#sources input[value=modelled]").check(force=True)
    here.until("document.querySelector('#lower .name').textContent.endsWith('modelled')")
    assert page.locator("#recordings .badge:visible, #role:visible").count() == 0, "it has no split"
    trained = visit()
    trained.open(split.trained[0])
    assert trained.page.inner_text("#role") == "trained"
    assert trained.page.inner_text("#badge-note") == "held out by default"
    page = trained.go("run", run="default")
    page.wait_for_selector(".run .means")
    told = page.locator("#run").inner_text()
    means = fadae.open(location.url).pooled_scores("default")
    held_out, trained_on = means["held_out_nmse_db"], means["trained_nmse_db"]
    for words, nmse_db in (
        ("Held-out recordings", held_out),
        ("Recordings trained on", trained_on),
    ):
        level = f"{nmse_db:.1f}".replace("-", "\N{MINUS SIGN}")
        assert f"{words}: NMSE {level} dB" in told
    assert "PCA with 16 components does better on held-out frames: -7.25 dB" in told


def test_comparisons_are_seen_and_read(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go("compare")
    page.wait_for_selector(".compared table")
    assert (
        "18.25 [18.25, 18.25]"
        in page.locator(".compared tr:has-text('default (bytes)')").inner_text()
    )
    assert page.locator(".compared script").count() == 0, "titles stay text"
    here.until("document.querySelector('.compared img').naturalWidth > 0")
    assert page.title() == "Compare \N{MIDDLE DOT} fadae"
    assert not page.locator(".transport").is_visible()


def test_a_dead_source_is_no_link(visit: Callable[..., Visit]) -> None:
    page = visit().open(SHORT)
    assert page.locator("#about a").all_inner_texts() == ["licence"]
    assert "ingested from a local server (127.0.0.1:9)" in page.inner_text("#about")
    page = visit().open(LONG)
    assert page.locator("#about a").all_inner_texts() == ["licence", "source"]
