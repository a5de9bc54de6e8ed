"""Blind tests: what is played, what a listener may know, the answers, and what came of them."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import urllib3
import uvicorn
from scipy import stats

import fadae
from fadae.errors import NoInputError, UsageError
from fadae.store.location import Location
from fadae.web.blind import BlindTest
from fadae.web.blind_app import create_blind_app
from fadae.web.blind_plan import BlindConfig, low_passed, plan
from fadae.web.blind_results import COLUMNS, ResultsFile, binomial_p, screened
from fadae.web.guard import hosts_for
from tests.command import fadae as command
from tests.web.axe import violations
from tests.web.conftest import HOSTILE, LONG, SHORT, Served, serving_app
from tests.web.visiting import RECORD_STARTS, SLOW_MS

Kind = Literal["abx", "mushra"]
NAMES = ("original", "default", "transform", "modelled", "reference", "anchor", "Air", "bach")


def config(kind: Kind = "abx", trials: int = 4, seed: int = 3, **more: Any) -> BlindConfig:
    sources = ("original", "default") if kind == "abx" else ("default", "transform")
    return BlindConfig(
        **{"kind": kind, "sources": sources, "trials": trials, "seconds": 1.0, "seed": seed, **more}
    )


@contextlib.contextmanager
def blind(location: Location, file: Path, asked: BlindConfig) -> Iterator[Served]:
    """Serve a test in a thread of this process."""
    test = BlindTest(fadae.open(location.url), asked, file, "ears")
    with serving_app(create_blind_app(test, hosts_for("127.0.0.1"))) as served:
        yield served


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


# --- what is played ---


def test_parts_come_from_what_every_run_held_out(location: Location) -> None:
    workspace = fadae.open(location.url)
    held_out = set(workspace.split("default").held_out)
    trials = plan(workspace, config(trials=40))
    assert {trial.recording for trial in trials} == held_out == {SHORT, HOSTILE}
    for trial in trials:
        end = trial.start_seconds + 1.0
        assert trial.start_seconds >= 0 and end <= workspace.recording(trial.recording).seconds
    assert plan(workspace, config(trials=40)) == trials
    assert plan(workspace, config(trials=40, seed=4)) != trials
    every = plan(workspace, config(trials=40, everything=True))
    assert {trial.recording for trial in every} == {LONG, SHORT, HOSTILE}
    with pytest.raises(NoInputError, match=r"held out by all of modelled.*--all"):
        plan(workspace, config(sources=("original", "modelled")))


def test_x_and_the_order_are_drawn_anew_in_each_trial(location: Location) -> None:
    workspace = fadae.open(location.url)
    trials = plan(workspace, config(trials=100))
    assert all(set(one.signals[:2]) == {"original", "default"} for one in trials)
    assert all(one.signals[2] in one.signals[:2] for one in trials)
    for seen in (
        [one.signals[0] == "original" for one in trials],
        [one.signals[2] == one.signals[0] for one in trials],
    ):
        assert 25 < sum(seen) < 75
    orders = {one.signals for one in plan(workspace, config("mushra", trials=30))}
    assert len(orders) > 10
    assert {frozenset(one) for one in orders} == {
        frozenset(["default", "transform", "reference", "anchor 3.5 kHz"])
    }


def test_the_anchor_keeps_what_lies_below_and_its_time() -> None:
    rate_hz, count = 11025, 11025
    seconds = np.arange(count) / rate_hz

    def left_db(hz: float) -> float:
        tone = np.sin(2 * np.pi * hz * seconds).astype(np.float32)
        inside = slice(1000, -1000)
        passed = low_passed(tone, 3500.0, rate_hz)[inside]
        if hz < 3500:
            assert np.abs(passed - tone[inside]).max() < 0.02, "in time with what came"
        return float(10 * np.log10(np.mean(passed**2) / np.mean(tone[inside] ** 2)))

    assert max(abs(left_db(hz)) for hz in (100, 1000, 3000, 3450)) < 0.1
    assert left_db(4000) < -50 and left_db(5000) < -55


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (config(sources=("original", "nobody")), "no source 'nobody'"),
        (config(sources=("default", "default")), "named twice"),
        (config("mushra", sources=("original",)), "hides the original"),
    ],
)
def test_what_cannot_be_compared_is_said(
    location: Location, tmp_path: Path, asked: BlindConfig, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        BlindTest(fadae.open(location.url), asked, tmp_path / "a.csv")
    assert not [*tmp_path.iterdir()], "nothing is begun"


# --- results ---


@pytest.mark.parametrize("trials", [1, 16, 200])
def test_p_is_scipys(trials: int) -> None:
    for correct in {0, 1, trials // 2, trials - 1, trials}:
        expected = stats.binomtest(correct, trials, 0.5, alternative="greater").pvalue
        assert binomial_p(correct, trials) == pytest.approx(expected, rel=1e-12)


def test_who_does_not_hear_the_reference_is_left_out() -> None:
    counts, rule = screened({"reference": [100] * 17 + [89] * 3, "anchor 7 kHz": [90] * 20})
    assert counts and "below 90 in 3 of 20 trials" in rule and "counts" in rule
    assert not screened({"reference": [100] * 16 + [89] * 4})[0]
    assert not screened({"reference": [100] * 20, "anchor 7 kHz": [91] * 4 + [0] * 16})[0]


def test_rows_are_added_whole_and_to_their_own_kind(tmp_path: Path) -> None:
    file = tmp_path / "abx.csv"
    row: dict[str, object] = dict.fromkeys(COLUMNS["abx"], 1)
    ResultsFile(file, "abx").append([row | {"recording": '=cmd|"/c"!A1\n\ud800', "a": 'a,"b'}])
    file.write_bytes(file.read_bytes() + b"2026,abx,cut o")  # a computer went off
    other = ResultsFile(file, "abx")
    other.append([row])
    rows = rows_of(file)
    assert [len(one) for one in rows] == [17, 17, 17]
    assert rows[0]["recording"] == '\'=cmd|"/c"!A1\n?'
    assert rows[0]["a"] == 'a,"b'
    assert rows[2]["trial"] == "1"
    with pytest.raises(UsageError, match="holds something else"):
        ResultsFile(file, "mushra")
    with pytest.raises(UsageError, match="cannot write"):
        ResultsFile(tmp_path / "none" / "a.csv", "abx")


# --- what a listener may know ---


def post(room: Served, body: object, **headers: str) -> urllib3.BaseHTTPResponse:
    given = {"Origin": room.address, "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("POST", f"{room.address}/api/answer", body=data, headers=given)


@pytest.mark.parametrize("kind", ["abx", "mushra"])
def test_nothing_says_what_plays_before_the_end(
    location: Location, tmp_path: Path, kind: Kind
) -> None:
    marks_seen: set[str] = set()
    with blind(location, tmp_path / "r.csv", config(kind, trials=2)) as room:
        for trial in (1, 2):
            state = room.json("/api/trial")
            assert room.json("/api/trial") == state, "a page that is loaded again goes on"
            marks = state["marks"]
            assert len(set(marks)) == len(marks) == (3 if kind == "abx" else 5)
            assert not marks_seen & set(marks)
            answers = [room.get(f"/api/clip?mark={mark}") for mark in marks]
            told = [dict(one.headers) for one in answers]
            for headers in told:
                headers.pop("date")
            assert all(headers == told[0] for headers in told), "one size, one kind, no tag"
            assert len({len(one.data) for one in answers}) == 1
            assert len({one.data for one in answers}) == (2 if kind == "abx" else 4)
            told_so_far = json.dumps([state, told]).replace("default-src", "")
            assert not [name for name in NAMES if name in told_so_far]
            old = [room.get(f"/api/clip?mark={mark}").status for mark in marks_seen]
            assert old == [404] * len(marks_seen)
            marks_seen |= set(marks)
            given = {marks[2]: marks[0]} if kind == "abx" else dict.fromkeys(marks[1:], 50)
            answer = post(room, {"trial": trial, "answers": given, "heard": marks})
            assert answer.status == 200, answer.data
        assert json.loads(answer.data)["over"]
        assert room.json("/api/trial")["results"]["sources"]
    page = (Path(fadae.__file__).parent / "web/static/blind.html").read_text("utf-8")
    assert not [name for name in NAMES if name in page]


def test_only_the_page_itself_answers_and_only_rightly(location: Location, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    with blind(location, file, config(trials=2)) as room:
        a, b, x = marks = room.json("/api/trial")["marks"]
        right = {"trial": 1, "answers": {x: b}, "heard": marks}
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Content_Type": "text/plain"},
            {"Host": "evil.example"},
        ):
            assert post(room, right, **headers).status == 403, headers
        assert room.get("/api/answer").status == 405
        assert room.get("/api/trial", "POST", Origin=room.address).status == 405
        for wrong in (
            {**right, "heard": [a, b]},
            {**right, "answers": {x: x}},
            {**right, "answers": {a: b}},
            {**right, "answers": [x]},
            {**right, "trial": 2},
            {},
            [1],
            b"{",
            b"[" * 9000,
            b'"' + b"x" * 20_000 + b'"',
        ):
            assert post(room, wrong).status == 400, wrong
        assert rows_of(file) == []
        assert post(room, right).status == 200
        assert post(room, right).status == 400, "a second window answers nothing twice"
        assert len(rows_of(file)) == 1
    with blind(location, tmp_path / "m.csv", config("mushra", trials=1)) as room:
        marks = room.json("/api/trial")["marks"]
        for rating in (-1, 101, 50.5, "50", True, None):
            given = {"trial": 1, "answers": dict.fromkeys(marks[1:], rating), "heard": marks}
            assert post(room, given).status == 400, rating


# --- in a browser ---


@pytest.fixture
def listening(browser: Any) -> Iterator[Callable[..., Any]]:
    contexts = []

    def enter(room: Served, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(SLOW_MS)
        page.add_init_script(RECORD_STARTS)
        page.goto(room.address)
        page.wait_for_selector("#next")
        return page

    yield enter
    for context in contexts:
        context.close()


def next_trial(page: Any, trial: int, over: bool) -> None:
    page.wait_for_selector("h1:text('over')" if over else f"#progress:text('Trial {trial + 1} ')")


def test_a_whole_abx_by_the_keyboard(
    listening: Callable[..., Any], location: Location, tmp_path: Path
) -> None:
    file, trials = tmp_path / "abx.csv", 5
    with blind(location, file, config(trials=trials)) as room:
        page = listening(room, color_scheme="light")
        assert violations(page) == []
        for trial in range(1, trials + 1):
            page.keyboard.press("Enter")
            assert page.inner_text("#missing") == "3 still to be played"
            for key in "abx":
                page.keyboard.press(key)
                page.wait_for_selector(f"button[aria-keyshortcuts={key}][aria-pressed=true]")
            page.keyboard.press("1" if trial % 2 else "2")
            page.wait_for_selector("#next:enabled")
            page.keyboard.press("Enter")
            next_trial(page, trial, trial == trials)
        told = page.inner_text(".result")
        assert violations(page) == []
        starts = page.evaluate("window.starts")
    for trial in range(trials):  # all three begin together: a switch moves nothing
        together = starts[3 * trial : 3 * trial + 3]
        assert len({one["when"] for one in together}) == 1
        assert {one["offset"] for one in together} == {0}
        assert {one["seconds"] for one in together} == {1.0}
    rows = rows_of(file)
    assert [row["answer"] for row in rows] == ["a", "b", "a", "b", "a"]
    assert [row["listener"] for row in rows] == ["ears"] * trials
    right = 0
    for number, row in enumerate(rows, 1):
        right += row["answer"] == row["x"]
        assert row["correct"] == str(int(row["answer"] == row["x"]))
        expected = stats.binomtest(right, number, 0.5, alternative="greater").pvalue
        assert float(row["p_so_far"]) == pytest.approx(expected, rel=1e-12)
    signals = [one.signals for one in plan(fadae.open(location.url), config(trials=trials))]
    assert [(row["a"], row["b"], row[row["x"]]) for row in rows] == signals
    assert told == f"{right} of {trials} right, p = {float(rows[-1]['p_so_far']):.4f}"


def test_a_whole_mushra_by_mouse_and_keyboard(
    listening: Callable[..., Any], location: Location, tmp_path: Path
) -> None:
    file, trials = tmp_path / "mushra.csv", 2
    asked = config("mushra", trials=trials)
    orders = [one.signals for one in plan(fadae.open(location.url), asked)]
    wanted = {"reference": 100, "transform": 80, "default": 20, "anchor 3.5 kHz": 60}
    with blind(location, file, asked) as room:
        page = listening(room, color_scheme="dark", viewport={"width": 390, "height": 844})
        for trial in range(1, trials + 1):
            assert page.locator("input[type=range]:enabled").count() == 0, "what is not heard"
            page.click("button:has-text('Reference')")
            for place, name in enumerate(orders[trial - 1], 1):
                slider = f"#rating-{place}"
                if trial == 1:
                    page.click(f"button:text('Sound {place}')")
                    page.fill(slider, str(wanted[name]))
                else:
                    page.keyboard.press(str(place))
                    page.wait_for_selector(f"{slider}:focus")
                    for _ in range(wanted[name] // 10):
                        page.keyboard.press("PageUp")
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
            if trial == 1:
                assert violations(page) == []
            page.wait_for_selector("#next:enabled")
            if trial == 1:
                page.click("#next")
            else:
                page.keyboard.press("Enter")
            next_trial(page, trial, trial == trials)
        assert violations(page) == []
        table = page.locator("tbody tr").all_inner_texts()
        assert "0 of 2 trials" in page.inner_text("#stage")
    rows = rows_of(file)
    assert [row["signal"] for row in rows] == [name for order in orders for name in order]
    assert all(int(row["rating"]) == wanted[row["signal"]] for row in rows)
    assert [row["place"] for row in rows] == ["1", "2", "3", "4"] * trials
    ranked = sorted(wanted, key=lambda name: -wanted[name])
    assert [line.split("\t")[0] for line in table] == ranked


# --- the command ---


def test_the_command_ends_with_the_test(location: Location, tmp_path: Path) -> None:
    file = tmp_path / "my.csv"
    asked = ["--abx", "original", "transform", "--all", "--trials", "2", "--seconds", "1"]
    asked += ["--results", str(file), "--seed", "5", "--port", "0", "--json"]
    started = subprocess.Popen(
        [sys.executable, "-m", "fadae", "listen", "-w", location.url, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/", started.stdout.readline())
        assert found
        room = Served(found[1], uvicorn.Server(uvicorn.Config("none")))
        for trial in (1, 2):
            a, _, x = marks = room.json("/api/trial")["marks"]
            given = {"trial": trial, "answers": {x: a}, "heard": marks}
            assert post(room, given).status == 200
        printed, complained = started.communicate()
    finally:
        started.kill()
    assert started.returncode == 0, complained
    summary = json.loads(printed.splitlines()[-1])
    rows = rows_of(file)
    assert (summary["trials"], summary["seed"]) == (2, 5)
    assert summary["correct"] == sum(row["correct"] == "1" for row in rows)
    assert summary["p"] == float(rows[-1]["p_so_far"])


def test_a_test_of_nothing_is_one_line(location: Location) -> None:
    ended = command("listen", "-w", location.url, "--abx", "original", "default", "more")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == ["fadae: a blind test is --abx RUN RUN or --mushra RUN..."]
