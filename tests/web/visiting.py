"""A visit to the listening room in Chromium: the page, what it asked for, what it complained of."""

from __future__ import annotations

import shutil
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.web.conftest import LONG, Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SLOW_MS = 200_000  # so late that no busy machine comes nearest
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


def playing(visit: Visit, source: str) -> None:
    visit.until(
        f"document.body.dataset.player === 'playing' && document.body.dataset.heard === '{source}'"
    )


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
