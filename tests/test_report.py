"""The report opens from disk and from a bucket, and hostile titles stay text."""

from __future__ import annotations

import io
import json
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

import fadae
from fadae.compare import result
from fadae.errors import UsageError
from fadae.report import report
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.compare.test_result import code, comparison
from tests.s3 import S3Server
from tests.synthetic import music, write_features, write_run

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\udce9$\\frac{"
HOSTILE_CODE = "<i>default"
NAMES = {"../../etc/passwd": HOSTILE, "b/x onerror=alert(1).ogg": ""}


class Tags(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def fill(location: Location) -> None:
    write_features(
        location,
        {name: music(4, seed=n) for n, name in enumerate(NAMES)},
        titles={name: title.replace("\udce9", "é") for name, title in NAMES.items()},
    )
    write_run(location)
    reconstruct(location)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    fill(Location(str(folder)))
    return folder


def test_every_file_the_page_names_is_there_and_whole(folder: Path) -> None:
    summary = report(fadae.open(str(folder)), seconds=3)
    page = Path(summary["index"])
    assert page.parent == folder / "reports" / "default"
    tags = Tags()
    tags.feed(page.read_text("utf-8"))
    named = [attrs["src"] for _, attrs in tags.found if "src" in attrs]
    assert len(named) == 1 + 2 * 4
    for name in named:
        assert name is not None and "/" not in name
        data = (page.parent / name).read_bytes()
        if name.endswith(".ogg"):
            samples, rate_hz = soundfile.read(io.BytesIO(data))
            assert (len(samples), rate_hz) == (3 * 11025, 11025)
        else:
            assert data.startswith(b"\x89PNG")
    assert {p.name for p in page.parent.iterdir()} == {*named, "index.html", "scores.json"}
    scores = json.loads((page.parent / "scores.json").read_text())
    assert len(scores["recordings"]) == 2 and scores["recordings"][0]["nmse_db"] is not None


def test_comparisons_are_part_of_the_page(folder: Path) -> None:
    location = Location(str(folder))
    drawn = "comparison-default.png"
    own, opus = code(HOSTILE_CODE, 6.0, snr_db=18.25), code("Opus", 8.0, snr_db=7.5)
    result.write(location, comparison(own, opus))
    page = Path(report(fadae.open(str(folder)), seconds=1, limit=1)["index"])
    location.delete("comparisons")
    text = page.read_text("utf-8")
    picture = (page.parent / drawn).read_bytes()
    (page.parent / drawn).unlink()  # the folder is that of other tests too
    assert f'src="{drawn}"' in text and picture.startswith(b"\x89PNG")
    assert "<td>18.25 [18.25, 18.25]</td>" in text and "1 of 2 recordings" in text
    assert "<i>" not in text


def test_the_page_tells_held_out_from_trained(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {f"a/{n}.ogg": music(3, seed=n) for n in range(3)})
    pca = {"holdout_nmse_db": -1.5, "pca_nmse_db": -7.25, "pca_components": 16}
    write_run(location, "only", holdout=0.5, summary=pca)
    told = reconstruct(location)
    write_features(location, {"c/new.ogg": music(3, seed=9)})
    reconstruct(location)
    index = Path(report(fadae.open(location.url), seconds=1)["index"])
    page = index.read_text("utf-8")
    document = json.loads((index.parent / "scores.json").read_text())
    split = fadae.open(location.url).split("only")
    known = {**dict.fromkeys(split.held_out, True), **dict.fromkeys(split.trained, False)}
    assert {True, False} == set(known.values())
    for row in document["recordings"]:
        assert row["held_out"] is known.get(row["id"])
    for name in ("held_out_nmse_db", "trained_nmse_db", "held_out_audio_snr_db"):
        assert document[name] == told[name]
        assert f"{told[name]:.2f} dB" in page
    assert page.count("<td>yes</td>") == len(split.held_out)
    assert page.count("<td>no</td>") == len(split.trained) and page.count("<td>-</td>") == 1
    assert "PCA with 16 components does better on held-out frames: -7.25 dB" in page


def test_hostile_titles_stay_text(folder: Path) -> None:
    page = Path(report(fadae.open(str(folder)), seconds=1)["index"]).read_text("utf-8")
    tags = Tags()
    tags.feed(page)
    assert "script" not in {tag for tag, _ in tags.found}
    assert not any(name.startswith("on") for _, attrs in tags.found for name in attrs)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for _, attrs in tags.found:
        link = attrs.get("href") or ""
        assert link.startswith(("#", "https://", "scores.json")) or not link


def test_the_same_report_twice_is_the_same_bytes(folder: Path) -> None:
    def written() -> dict[str, bytes]:
        index = Path(report(fadae.open(str(folder)), limit=1, seconds=1)["index"])
        return {path.name: path.read_bytes() for path in index.parent.iterdir()}

    assert written() == written()


def test_recordings_can_be_chosen_and_must_be_there(folder: Path) -> None:
    workspace = fadae.open(str(folder))
    summary = report(workspace, recordings=["../../etc/passwd"], seconds=1)
    assert summary["recordings"] == 1
    assert not list(folder.parent.rglob("passwd*"))  # a name is never a path
    with pytest.raises(UsageError, match="no recording"):
        report(workspace, recordings=["nobody"])
    with pytest.raises(UsageError, match="no run"):
        report(workspace, "nothing")


def test_from_a_bucket_a_browser_is_told_what_each_object_is(s3: S3Server) -> None:
    location = Location(f"{s3.url}/report", s3.storage_options)
    fill(location)
    report(fadae.open(location.url, s3.storage_options), limit=1, seconds=1)
    prefix = location.full("reports/default")
    kinds = {"index.html": "text/html; charset=utf-8", "001.png": "image/png"}
    for name, kind in {**kinds, "001-original.ogg": "audio/ogg"}.items():
        url = location._fs.url(f"{prefix}/{name}")  # signed, as a browser would be given it
        with urllib.request.urlopen(url) as answer:
            assert answer.headers["Content-Type"] == kind
            assert np.frombuffer(answer.read(), np.uint8).size > 100
