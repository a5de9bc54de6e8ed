"""The page for everybody: WCAG AA by axe-core in both themes, and all of it by the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.web.axe import violations
from tests.web.conftest import LONG
from tests.web.visiting import Visit

VIEWS = {
    "listen": "#listen?recording=bach/long%20fugue.ogg&source=default&from=3&to=6&low=400&high=900",
    "generate": "#generate?run=default",
    "map": "#map",
    "runs": "#runs",
    "run": "#run?run=default",
    "compare": "#compare",
}
READY = {
    "map": "#map canvas",
    "runs": "#runs path",
    "run": "#run .compared td",
    "compare": "#comparisons td",
}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_every_view_meets_wcag_aa(visit: Callable[..., Visit], scheme: str, width: int) -> None:
    here = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = here.open()
    for view, address in VIEWS.items():
        page.evaluate("address => { location.hash = address; }", address)
        here.until(f"document.body.dataset.view === '{view}'")
        if view in READY:
            page.wait_for_selector(READY[view])
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert violations(page) == [], view
    page.click("#help-open")
    assert violations(page) == [], "help"


FOCUSED = """() => {
  const here = document.activeElement;
  if (here === document.body) return null;
  const shown = here.matches("input[type=radio]") ? here.nextElementSibling : here;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  const box = shown.getBoundingClientRect();
  return {
    name: here.id || here.value || here.textContent.trim(),
    outlined: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
    inside: box.width > 0 && box.top < innerHeight && box.bottom > 0 && box.left < innerWidth,
  };
}"""


def stops(page: Any, most: int = 80) -> list[str]:
    """Press Tab through the whole page; return the names of what had the focus."""
    names: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None or (names and focused["name"] == names[0]):
            return names
        if not focused["inside"]:  # what came since has pushed it out: it has the focus once more
            page.evaluate("() => { const one = document.activeElement; one.blur(); one.focus(); }")
            focused = page.evaluate(FOCUSED)
        assert focused["outlined"] and focused["inside"], focused
        names.append(focused["name"])
    raise AssertionError(f"the focus never leaves: {names}")


def test_tab_goes_through_all_in_order_and_out_again(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.open(**{"from": "3", "to": "6"})
    names = stops(page)
    ids = [name for name in names if page.query_selector(f"[id='{name}']")]
    assert names[0] == "Skip to the content"
    order = ["search", "whole", "overview-frame", "from", "clear", "share", "play", "only"]
    assert [name for name in ids if name in order] == order
    for view in ("generate", "map", "runs", "run", "compare"):
        page.evaluate("address => { location.hash = address; }", VIEWS[view])
        page.wait_for_selector(READY.get(view, "#generate-run"))
        page.locator(".skip").focus()
        assert len(stops(page)) >= 9, view


def test_the_keyboard_alone_reaches_and_plays(visit: Callable[..., Visit]) -> None:
    here = visit()
    page = here.go()
    page.wait_for_selector("#stage-full", state="visible")
    page.keyboard.press("Tab")
    assert page.locator(".skip").evaluate("skip => skip.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "stage"
    assert here.address() == {}, "skipping goes nowhere"
    page.keyboard.press("Space")
    here.until("document.body.dataset.player === 'playing'")
    page.keyboard.press("Space")
    here.until("document.body.dataset.player === 'paused'")
    page.locator("#recordings a").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.querySelector('.title').textContent") == "Air"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.id") == LONG
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    here.until("document.getElementById('title').textContent === 'Air'")
    page.locator("#help-open").focus()
    page.keyboard.press("Enter")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    assert page.evaluate("document.activeElement.id") == "help-open", "the focus comes back"
