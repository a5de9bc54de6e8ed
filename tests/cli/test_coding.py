"""`fadae encode` and `fadae decode` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fadae.audio.write import encode as encode_audio
from fadae.cli.app import app
from fadae.coding import to_bytes
from fadae.config import EncodeConfig
from fadae.scores import snr_db
from tests.coding import models
from tests.coding.test_container import RATE_HZ, music


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "song.wav").write_bytes(encode_audio(music(12) / 32768, RATE_HZ, "wav"))
    (folder / "model").write_bytes(to_bytes(models.tables()))
    (folder / "other").write_bytes(to_bytes(models.network()))
    told = fadae(folder, "encode", "song.wav", "--to", "song.fadae", "--model", "model")
    assert told["bytes_a_row"] <= 256 and told["rows"] == 37 and told["rate_hz"] == RATE_HZ
    return folder


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fadae", *arguments, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def fadae(folder: Path, *arguments: str) -> dict[str, Any]:
    done = typed(folder, *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def refused(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the line of a command that fails within this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code and done.stderr.count("\n") == 1, done.output
    return done.exit_code, done.stderr


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_file_comes_back(files: Path, kind: str) -> None:
    told = fadae(files, "decode", "song.fadae", "--to", f"back.{kind}", "--model", "model")
    assert told["samples"] == 12 * RATE_HZ
    heard, rate_hz = soundfile.read(files / f"back.{kind}")
    assert rate_hz == RATE_HZ and snr_db(music(12) / 32768, heard) > 3


def test_a_part_is_that_of_the_whole(files: Path) -> None:
    fadae(files, "decode", "song.fadae", "--to", "whole.wav", "--model", "model")
    asked = ("--seconds", "3:5", "--model", "model")
    filled = fadae(files, "decode", "song.fadae", "--to", "filled.wav", *asked, "--fill", "0.5")
    assert fadae(files, "decode", "song.fadae", "--to", "part.wav", *asked)["seconds"] == 2
    whole, _ = soundfile.read(files / "whole.wav")
    part, _ = soundfile.read(files / "part.wav")
    np.testing.assert_array_equal(part, whole[3 * RATE_HZ :][: len(part)])
    noisy, _ = soundfile.read(files / "filled.wav")
    assert filled["fill"] == 0.5 and snr_db(part, noisy) > 10 and np.any(noisy != part)


def test_the_bytes_and_the_rate_are_those_asked_for(files: Path) -> None:
    asked = ("--code-bytes", "64", "--rate", "constant", "--model", "model")
    told = fadae(files, "encode", "song.wav", "--to", "small.fadae", *asked)
    assert told["bytes_a_row"] <= 68


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("decode", "song.fadae", "--to", "x.wav", "--model", "other"), 65, "made with model"),
        (("decode", "song.wav", "--to", "x.wav", "--model", "model"), 65, "not a fadae code"),
        (("decode", "song.fadae", "--to", "x.wav", "--model", "song.wav"), 65, "no"),
        (
            ("decode", "song.fadae", "--to", "x.wav", "--fill", "nan", "--model", "model"),
            2,
            "0 to 1",
        ),
        (("decode", "song.fadae", "--to", "x.txt"), 2, "ends in one of ogg"),
        (("decode", "nowhere", "--to", "x.wav", "--model", "model"), 2, "cannot read nowhere"),
        (
            ("decode", "song.fadae", "--to", "x.wav", "--seconds", "13:", "--model", "model"),
            2,
            "13",
        ),
        (("encode", "nowhere.ogg", "--to", "x.fadae", "--model", "model"), 2, "no such file"),
        (("encode", "model", "--to", "x.fadae", "--model", "model"), 65, "undecodable"),
        (("encode", "song.wav", "--to", "no/x.fadae", "--model", "model"), 2, "cannot write"),
        (("encode", "song.wav", "--to", "x.fadae", "--model", "model", "--run", "a"), 2, "both"),
    ],
)
def test_mistakes_take_one_line(
    files: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, line = refused(files, *arguments)
    assert found == code and said in line


@pytest.mark.parametrize("damage", ["flipped", "short"])
def test_a_damaged_file_takes_one_line(files: Path, damage: str) -> None:
    code = bytearray((files / "song.fadae").read_bytes())
    code[len(code) // 2] ^= 4
    (files / damage).write_bytes(code if damage == "flipped" else code[:-9])
    found, line = refused(files, "decode", damage, "--to", "x.wav", "--model", "model")
    assert found == 65 and ("damaged" in line or "cut short" in line)


def test_the_options_allow_what_the_coder_does() -> None:
    from fadae.coding import LEAST_BYTES, MOST_BYTES
    from fadae.config import declared

    (one,) = [one for one in declared(EncodeConfig) if one.name == "code_bytes"]
    assert (one.about.minimum, one.about.maximum) == (LEAST_BYTES, MOST_BYTES)
