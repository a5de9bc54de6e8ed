"""What a notebook shows: escaped, of bounded size, and alive without a server."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import pickle
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

import fadae
from fadae.errors import UsageError
from fadae.query import Recording, Workspace
from fadae.query.notebook import EXCERPT_SECONDS, markup_of
from fadae.store.location import Location
from tests.synthetic import RATE_HZ, music, write_features, write_run

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m'
LONG, SHORT = "a/<script>long</script>.ogg", "a/short.ogg"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    many = {f"b/{n}.ogg": music(0.4, seed=n) for n in range(25)}
    titles = {LONG: HOSTILE, SHORT: HOSTILE * 1000}
    write_features(location, {LONG: music(120), SHORT: music(3, seed=9), **many}, titles=titles)
    write_run(location, holdout=0.5, summary={"holdout_nmse_db": -3.0})
    return fadae.open(location.url)


class Page(HTMLParser):
    """The tags of some markup, and the texts between them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def data_of(page: Page, tag: str) -> bytes:
    (source,) = [str(attributes["src"]) for name, attributes in page.tags if name == tag]
    found = re.fullmatch(r"data:\w+/\w+;base64,(.*)", source)
    assert found is not None, "the page itself holds it"
    return base64.b64decode(found[1], validate=True)


def test_nothing_from_outside_becomes_markup(workspace: Workspace) -> None:
    first = workspace.recording(LONG)
    shown: list[Any] = [
        workspace,
        workspace.recordings,
        first,
        workspace.codec(),
        workspace.run_table(),
    ]
    for one in shown:
        page = Page(one._repr_html_())
        assert not {"script", "iframe"} & {tag for tag, _ in page.tags}
        assert all(not name.startswith("on") for _, told in page.tags for name in told)
        assert [tag for tag, _ in page.tags].count("img") == (one is first)
        assert "\x1b" not in page.words
    assert "<script>alert(1)</script>" in Page(first._repr_html_()).words


def test_a_recording_is_seen_and_heard(workspace: Workspace) -> None:
    page = Page(workspace.recording(LONG)._repr_html_())
    samples, rate_hz = soundfile.read(io.BytesIO(data_of(page, "audio")))
    assert (len(samples), rate_hz) == (EXCERPT_SECONDS * RATE_HZ, RATE_HZ)
    assert np.corrcoef(samples, workspace.audio(LONG, (0, EXCERPT_SECONDS)))[0, 1] > 0.95
    picture = imread(io.BytesIO(data_of(page, "img")), format="png")
    raster = workspace.rasterize(LONG, (0, EXCERPT_SECONDS))
    assert picture.shape[:2] == raster.shape
    low = picture[-1, :, :3].sum(1)  # the lowest band below
    assert np.corrcoef(low, raster[0])[0, 1] > 0.8
    assert "original, 0:00 to 0:10 of 2:00" in page.words
    assert "0:00 to 0:03 of 0:03" in Page(workspace.recording(SHORT)._repr_html_()).words


def test_a_part_is_shown_from_any_source(workspace: Workspace) -> None:
    shown = workspace.show(LONG, (30, 32), "default", (500, 1000))
    page = Page(shown._repr_html_())
    assert (shown.seconds, shown.source) == (2, "default") and "base64" not in repr(shown)
    samples, _ = soundfile.read(io.BytesIO(data_of(page, "audio")))
    assert len(samples) == 2 * RATE_HZ
    assert "default, 0:30 to 0:32 of 2:00" in page.words
    with pytest.raises(UsageError, match="61 s are too many for a page to hold: at most 60"):
        workspace.show(LONG, (0, 61))


def test_what_is_shown_stays_small(workspace: Workspace) -> None:
    recordings = workspace.recordings
    assert len(recordings[0]._repr_html_()) < 300_000
    shown = Page(recordings._repr_html_())
    assert [tag for tag, _ in shown.tags].count("tr") == 1 + 20
    assert "20 of 27 recordings" in shown.words
    assert len(recordings._repr_html_()) < 20_000


def test_a_rate_without_a_format_is_said(workspace: Workspace) -> None:
    raster = workspace.rasterize(SHORT, (0, 1))
    said = Page(markup_of(raster, np.zeros(300_000, np.float32), 300_000, "all"))
    assert "cannot write 300000 Hz audio as ogg" in said.words
    assert [tag for tag, _ in said.tags].count("img") == 1


def test_a_copy_of_a_recording_still_tells_its_fields(workspace: Workspace) -> None:
    one = workspace.recording(SHORT)
    for same in (copy.copy(one), pickle.loads(pickle.dumps(one)), dataclasses.replace(one)):
        assert same == one and isinstance(same, Recording)
    assert "_show" not in dataclasses.asdict(one)
    tags = [tag for tag, _ in Page(dataclasses.replace(one)._repr_html_()).tags]
    assert "table" in tags and "audio" not in tags


def test_recordings_become_a_data_frame(workspace: Workspace) -> None:
    frame = workspace.recordings.to_pandas()
    assert frame.loc[LONG, "seconds"] == pytest.approx(120)
    assert list(frame.index) == [one.id for one in workspace.recordings]
    chosen = workspace.recordings.to_pandas(workspace.recordings.rows("short"))
    assert list(chosen.index) == [SHORT] and chosen.loc[SHORT, "row"] == 1


def test_an_empty_workspace_is_shown_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("empty")
    (home / "runs").mkdir()
    words = Page(fadae.open(str(home))._repr_html_()).words
    assert "recordings0" in words
