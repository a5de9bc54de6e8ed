"""The packaged model: the same files give the same bytes, and the card says what they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fadae.audio.write import encode as encode_audio
from fadae.coding import files
from fadae.coding.coder import ByteCoder
from fadae.errors import NoInputError
from fadae.model import making
from tests.coding.models import SIZE, rows, steps
from tests.coding.test_container import RATE_HZ, music


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "music"
    made.mkdir()
    for name, seed in [("a", 1), ("b", 2), ("again", 2)]:
        (made / f"{name}.wav").write_bytes(encode_audio(music(4, seed) / 32768, RATE_HZ, "wav"))
    (made / "notes.txt").write_text("not music")
    return made


def test_a_folder_makes_a_model_and_its_card(folder: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "c.wav").write_bytes(encode_audio(music(3, 3) / 32768, RATE_HZ, "wav"))
    (judge / "a.wav").write_bytes((folder / "a.wav").read_bytes())
    made = []
    options = ["--iterations", "3", "--licence", "CC0"]
    for to in (tmp_path / "one", tmp_path / "two"):
        making.main([str(folder), "--judge", str(judge), "--to", str(to), *options])
        made.append((to / "music.safetensors").read_bytes())
    assert made[0] == made[1]
    assert len(made[0]) < 100_000
    card = json.loads((tmp_path / "one" / "music.json").read_text())
    assert card["fingerprint"] == files.identify(files.from_bytes(made[0])).hex()
    assert [one["name"] for one in card["judged_by"]] == ["c.wav"]  # a.wav was trained on
    assert len(card["trained_on"]) == 2
    assert card["licence_of_the_music"] == "CC0"
    assert card["figures"]["average 256"]["bytes_a_row"] <= 256
    coder = ByteCoder(files.from_bytes(made[0]), SIZE)
    codes = coder.encode(rows(3), steps(3))
    assert np.all(np.isfinite(coder.decode(codes)))


def test_a_folder_without_music_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        making.read_folder(tmp_path)
