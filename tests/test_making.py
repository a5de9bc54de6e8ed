"""The packaged model: the same files give the same bytes, and the card says what they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fadae import making
from fadae.audio.write import encode as encode_audio
from fadae.coding import files
from fadae.coding.coder import ByteCoder
from fadae.errors import NoInputError
from tests.coding.models import SIZE, rows, steps
from tests.coding.test_container import RATE_HZ, music


def put(path: Path, seconds: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_audio(music(seconds, seed) / 32768, RATE_HZ, "wav"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in [("a", 1), ("b", 2), ("b-again", 2)]:
        put(tmp_path / "music" / f"{name}.wav", 4, seed)
    (tmp_path / "music" / "notes.txt").write_text("not music")
    return tmp_path / "music"


def test_a_folder_makes_a_model_and_its_card(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "judge" / "c.wav", 3, 3)
    put(tmp_path / "judge" / "a.wav", 4, 1)
    made = []
    options = ["--steps", "3", "--licence", "CC0"]
    for to, workspace in (("one", "kept"), ("two", "other"), ("three", "kept")):
        asked = ["--to", str(tmp_path / to), "--workspace", str(tmp_path / workspace)]
        judge = ["--judge", str(tmp_path / "judge")] if to == "one" else []
        making.main([str(folder), *judge, *asked, *options])
        made.append((tmp_path / to / "music.safetensors").read_bytes())
    assert made[0] == made[1] == made[2]
    assert len(made[0]) < 100_000
    card = json.loads((tmp_path / "one" / "music.json").read_text())
    model = files.from_bytes(made[0])
    assert card["fingerprint"] == files.identify(model).hex()
    assert [one["name"] for one in card["judged_by"]] == ["c.wav"]  # a.wav was trained on
    assert [one["name"] for one in card["trained_on"]] == ["a.wav", "b.wav"]
    assert (card["licence_of_the_music"], card["steps"]) == ("CC0", 3)
    assert card["figures"]["average 256"]["bytes_a_row"] <= 256
    coder = ByteCoder(model, SIZE)
    codes = coder.encode(rows(3), steps(3))
    assert np.all(np.isfinite(coder.decode(codes)))


def test_a_folder_without_music_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError):
        making.main([str(tmp_path / "empty"), "--workspace", str(tmp_path / "workspace")])
