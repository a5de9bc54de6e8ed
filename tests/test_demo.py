"""What the demonstration shows of a workspace: sounds, pictures and a page of honest figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import soundfile

import fadae
from fadae.coding import decompress
from fadae.demo import RUN, show
from fadae.query import Workspace
from fadae.records import ComparedLine
from fadae.scores import snr_db
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.synthetic import RATE_HZ, music, write_features, write_run

Shown = tuple[Path, list[ComparedLine], dict[str, str]]
TITLE = "</title><script>hit()</script>"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    location = Location(str(tmp_path_factory.mktemp("demo") / "workspace"))
    recordings = {f"bach/{number}.ogg": music(17 + number, seed=number) for number in range(3)}
    write_features(location, recordings, titles=dict.fromkeys(recordings, TITLE))
    write_run(location, RUN, holdout=0.5)
    reconstruct(location, RUN)
    return fadae.open(location.url)


@pytest.fixture(scope="module")
def shown(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("shown")
    return folder, *show(workspace, folder)


def test_codes_stand_beside_the_original(workspace: Workspace, shown: Shown) -> None:
    folder, compared, wrote = shown
    original, made, old = compared
    assert original["kbps"] == pytest.approx(16 * RATE_HZ / 1000)
    assert old["bytes_a_row"] == 64, "16 float32"
    code = (folder / "byte-code.fadae").read_bytes()
    heard, _ = soundfile.read(folder / "original.ogg")
    seconds = len(decompress(code)[0]) / RATE_HZ
    assert made["kbps"] == pytest.approx(8 * len(code) / 1000 / seconds)
    assert 5 < made["kbps"] < 6.3 and len(heard) == 15 * RATE_HZ
    sound = workspace.audio(workspace.split(RUN).held_out[0], slice(0, 15))
    assert made["snr_db"] == pytest.approx(snr_db(sound, decompress(code, stop_seconds=15)[0]))
    assert made["snr_db"] > old["snr_db"]
    assert made["bytes_a_row"] <= 256
    assert {Path(path).exists() for path in wrote.values()} == {True}


def test_the_page_plays_them_and_says_what_they_take(shown: Shown) -> None:
    folder, compared, wrote = shown
    page = Path(wrote["page"]).read_text("utf-8")
    for file in re.findall(r'src="([^"]+)"', page):
        assert (folder / file).stat().st_size > 1000
    for line in compared:
        assert f"{line['name']}, {line['kbps']:.1f} kbps" in page
        assert f"<td>{line['bytes_a_row']:,.0f}</td>" in page
    assert f"<td>{compared[1]['snr_db']:.1f}</td>" in page
    assert "<script" not in page
