"""The page in every light: both themes, a phone, hostile titles, trouble, ears instead of eyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.web.conftest import HOSTILE, HOSTILE_TITLE
from tests.web.visiting import Visit, pixels, playing


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
    page = visit().go("run", run="default")
    page.wait_for_selector(".chart path.train_loss")
    told = page.locator(".chart svg").first.get_attribute("aria-label")
    assert told == "Loss: training from 1 to 0.2; held out from 1.2 to 0.24"


def test_hostile_titles_stay_text_and_nothing_leaves_the_page(
    visit: Callable[..., Visit],
) -> None:
    here = visit()
    page = here.open(HOSTILE)
    page.click("#play")
    playing(here, "original")
    for view in ("generate", "map", "runs"):
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


CUT = """() => [...document.querySelectorAll(
         "figcaption > *, #about, #scores, nav a, .brand, #now, #duration, .run, .panel label")]
     .filter((e) => e.checkVisibility())
     .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible"
                    || e.getBoundingClientRect().right > innerWidth
                    || e.matches("nav a, .brand") && e.getClientRects()[0].height > 48)
     .map((e) => e.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_text_is_cut_at_any_width(visit: Callable[..., Visit], width: int, scheme: str) -> None:
    here = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    for view in ("listen", "generate", "map", "runs", "run", "compare"):
        listen, run = view == "listen", {"run": "default"} if view == "run" else {}
        page = here.open(source="default", at=12.6) if listen else here.go(view, **run)
        page.wait_for_timeout(200)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.evaluate(CUT) == [], view


@pytest.mark.parametrize("view", ["listen", "generate", "map", "runs"])
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
    headings = page.locator("h1:visible").all_inner_texts()
    assert headings == ["Recordings", "A long fugue"]
    slider = page.locator("#overview-frame")
    assert slider.get_attribute("aria-valuetext") == "0:05 of 1:20"
    slider.focus()
    page.keyboard.press("ArrowRight")
    here.until("document.getElementById('overview-frame').ariaValueNow === '6.0'")
    page.click("#play")
    playing(here, "original")
    assert page.inner_text("#announcer") == "Playing Original"


def test_the_slider_works_without_the_other_keys(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(at=5)
    page.click("#help-open")
    page.locator("#keys-on").uncheck()
    page.locator("#help button").click()
    page.locator("#overview-frame").focus()
    page.keyboard.press("ArrowRight")
    here.until("document.getElementById('now').textContent === '0:06.0'")
    page.keyboard.press("End")
    here.until("document.getElementById('now').textContent === '1:20.0'")
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    page.wait_for_timeout(200)
    assert page.inner_text("#now") == "1:20.0"


def test_the_focus_goes_with_the_view_on_a_phone(visit: Callable[..., Visit]) -> None:
    here = visit(viewport={"width": 390, "height": 844})
    page = here.go()
    page.locator("#recordings a").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#title:has-text('Air')")
    assert page.evaluate("document.activeElement.id") == "stage"
    page.locator("#to-shelf").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.querySelector('.title').textContent") == "Air"
