"""Codes are compared over what they were not trained on, and the same bytes come out again."""

from __future__ import annotations

import io
import json
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import safetensors.torch
import soundfile

import fadae
from fadae import figures
from fadae.audio import from_pcm
from fadae.audio.write import encode as encode_audio
from fadae.compare import CompareConfig, Comparison, compare, result
from fadae.compare.comparing import score
from fadae.errors import NoInputError, UsageError
from fadae.model.tables import TablesModel, stored
from fadae.store import Location
from tests.coding import models
from tests.command import fadae as typed
from tests.command import summary
from tests.synthetic import music, write_features, write_run

NAMES = [f"a/{number}.ogg" for number in range(4)]
NUMBER = {"type": ["number", "null"]}
SCHEMA = {
    "type": "object",
    "required": ["name", "sample_rate_hz", "measures", "recordings", "left_out", "codes"],
    "properties": {
        "recordings": {
            "minItems": 1,
            "items": {"required": ["id", "title", "seconds", "held_out_by", "trained_on_by"]},
        },
        "left_out": {"items": {"required": ["id", "reason"]}},
        "codes": {
            "minItems": 1,
            "items": {
                "required": ["name", "kind", "model", "setting", "about", "trained_on"],
                "properties": {
                    "kind": {"enum": ["run", "packaged", "codec"]},
                    "kbps": {"type": "number", "exclusiveMinimum": 0},
                    "payload_kbps": {"type": "number", "exclusiveMinimum": 0},
                    "scores": {
                        "required": ["snr_db", "si_sdr_db", "log_spectral_distance_db"],
                        "additionalProperties": {
                            "properties": {"mean": NUMBER, "low": NUMBER, "high": NUMBER},
                            "required": ["mean", "low", "high"],
                        },
                    },
                    "recordings": {
                        "items": {"required": ["recording", "bytes", "payload_bytes", "scores"]}
                    },
                },
            },
        },
    },
}


def write_tables_run(location: Location, run: str) -> None:
    """Write a run of `tables`, with the split of the run `default`."""
    config = json.loads(location.read_bytes("runs/default/config.json"))
    model = TablesModel.made(3750, 256, "average")
    config["model"] = {"name": "tables", **model.config()}
    location.write_bytes(f"runs/{run}/config.json", json.dumps(config).encode())
    counted = {name: stored(array) for name, array in models.tables().tensors().items()}
    assert counted.keys() == model.state_dict().keys()
    location.write_bytes(f"runs/{run}/model.safetensors", safetensors.torch.save(counted))


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Four recordings, half held out by two runs; one of each half trained the packaged model."""
    location = Location(str(tmp_path_factory.mktemp("compared")))
    recordings = {name: music(4 + n / 2, seed=n) for n, name in enumerate(NAMES)}
    card = json.loads(resources.files("fadae.coding").joinpath("music.json").read_text("utf-8"))
    write_features(location, {name: recordings[name] for name in NAMES[:2]})
    write_features(
        location,
        {name: recordings[name] for name in NAMES[2:]},
        sha1s={NAMES[3]: card["trained_on"][0]["sha1"]},
    )
    write_run(location, holdout=0.5)
    write_tables_run(location, "counted")
    return location


@pytest.fixture(scope="module")
def made(location: Location) -> Comparison:
    return compare(location, CompareConfig(seconds=3, code_bytes=(128, 512)))


def test_the_document_is_what_it_should_be(location: Location, made: Comparison) -> None:
    jsonschema.validate(dict(made), SCHEMA)
    assert result.read(location, "default") == made
    again = result.to_json(compare(location, CompareConfig(seconds=3, code_bytes=(128, 512))))
    assert location.read_bytes("comparisons/default.json") == again.encode()


def test_nothing_is_judged_by_what_it_was_trained_on(location: Location, made: Comparison) -> None:
    held_out = set(fadae.open(location.url).split("default").held_out) - {NAMES[3]}
    assert held_out
    assert {one["id"] for one in made["recordings"]} == held_out
    for one in made["recordings"]:
        assert one["held_out_by"] == ["counted", "default", "packaged"]
        assert one["trained_on_by"] == []
    reasons = {one["id"]: one["reason"] for one in made["left_out"]}
    assert set(reasons) == {*NAMES} - held_out
    assert "packaged" in reasons[NAMES[3]]
    assert all(code["trained_on"] == 0 for code in made["codes"])


def test_codes_take_their_true_bytes(made: Comparison) -> None:
    codes = {(code["name"], code["setting"]): code for code in made["codes"]}
    dense = codes["default", "16 float32 a row"]
    (size,) = {one["bytes"] for one in dense["recordings"]}
    assert size == 4 * (16 + 1) * 10  # 3 s are 9 hops, so 10 rows of 16 numbers and a scale
    for name in ("packaged", "counted"):
        few, many = codes[name, "128 bytes a row"], codes[name, "512 bytes a row"]
        assert few["kbps"] < 0.5 * many["kbps"]
        assert few["kbps"] == few["payload_kbps"], "index and header are part of the code"
        assert all(one["bytes"] <= 128 * 10 for one in few["recordings"])
        low, high = few["scores"]["snr_db"]["mean"], many["scores"]["snr_db"]["mean"]
        assert low is not None and high is not None and 0 < low < high
        assert all(one["delay_samples"] == 0 for one in few["recordings"])
    assert {code["kind"] for code in made["codes"]} == {"run", "packaged", "codec"}
    mp3 = codes["MP3", "24 kbps asked"]
    assert {one["delay_samples"] for one in mp3["recordings"]} == {1105.0}
    assert (mp3["scores"]["snr_db"]["mean"] or 0) > 10


def test_all_takes_what_was_trained_on_and_says_so(location: Location) -> None:
    everything = CompareConfig(
        runs=("default",), seconds=1, code_bytes=(512,), everything=True, codecs=False, name="all"
    )
    made = compare(location, everything)
    assert {one["id"] for one in made["recordings"]} == {*NAMES} and not made["left_out"]
    trained_on = {code["name"]: code["trained_on"] for code in made["codes"]}
    assert trained_on["default"] == len(fadae.open(location.url).split("default").trained)
    assert trained_on["packaged"] == 1 and len(trained_on) == 2


def test_where_the_packaged_model_knows_all_it_is_left_out(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    card = json.loads(resources.files("fadae.coding").joinpath("music.json").read_text("utf-8"))
    sha1s = {name: card["trained_on"][n]["sha1"] for n, name in enumerate(NAMES[:2])}
    write_features(location, {name: music(2, seed=len(name)) for name in sha1s}, sha1s=sha1s)
    with pytest.raises(NoInputError, match="--all"):
        compare(location, CompareConfig())
    write_run(location, holdout=0.5)
    made = compare(location, CompareConfig(seconds=1, codecs=False))
    assert "packaged" not in {code["name"] for code in made["codes"]}
    assert len(made["recordings"]) == 1 and "packaged model is left out" in made["remarks"][0]


def test_files_of_any_format_without_a_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for number, kind in enumerate(("flac", "ogg", "wav")):
        sound = from_pcm(music(3, seed=number, rate_hz=22050))
        (folder / f"{number}.{kind}").write_bytes(encode_audio(sound, 22050, kind))
    (folder / "copy.wav").write_bytes((folder / "2.wav").read_bytes())
    (folder / "broken.mp3").write_bytes(b"no sound")
    quiet = np.zeros(30000, np.float32)
    quiet[0] = 0.5
    (folder / "quiet.wav").write_bytes(encode_audio(quiet, 11025, "wav"))
    ended = typed(
        *("compare", "-w", str(tmp_path / "none"), "--files", str(folder), "--code-bytes", "512"),
        *("--seconds", "1", "--fill", "0.4", "--name", "few"),
        *("--to", str(tmp_path / "out"), "--json"),
    )
    assert ended.returncode == 0, ended.stderr
    told = summary(ended)
    jsonschema.validate(told, SCHEMA)
    assert [one["id"] for one in told["recordings"]] == ["0.flac", "1.ogg", "2.wav"]
    assert all(one["held_out_by"] == ["packaged"] for one in told["recordings"])
    assert {one["id"] for one in told["left_out"]} == {"broken.mp3", "quiet.wav"}
    plain, filled = told["codes"][:2]
    assert (plain["model"], filled["model"]) == ("bytes", "bytes, fill 0.4")
    assert plain["kbps"] == filled["kbps"], "noise in place of zeros takes no byte"
    assert plain["scores"]["snr_db"]["mean"] > filled["scores"]["snr_db"]["mean"] > 0
    assert json.loads((tmp_path / "out" / "few.json").read_text()) == told
    assert (tmp_path / "out" / "few.png").read_bytes().startswith(b"\x89PNG")
    assert "| packaged (bytes) | 512 bytes a row |" in (tmp_path / "out" / "few.md").read_text()
    assert not (tmp_path / "none").exists()


def test_a_shell_writes_files_as_more_names(location: Location, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.wav")
        files[-1].write_bytes(encode_audio(from_pcm(music(1, seed=number)), 11025, "wav"))
    ended = typed(
        *("compare", "default", "-w", location.url, "--files", *map(str, files)),
        *("--seconds", "1", "--code-bytes", "512", "--name", "files", "--no-codecs"),
    )
    assert ended.returncode == 0, ended.stderr
    assert "default (dense)" in ended.stdout and "Compared over: 0, 1." in ended.stdout
    assert "counted" not in ended.stdout and "Opus" not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nobody"], 2, "no run 'nobody'"),
        (["--files", "nothing.ogg"], 2, "no such file"),
        (["--name", "../up"], 2, "--name"),
    ],
)
def test_what_cannot_be_is_refused(
    location: Location, arguments: list[str], code: int, words: str
) -> None:
    ended = typed("compare", "-w", location.url, *arguments)
    assert ended.returncode == code and words in ended.stderr and ended.stderr.count("\n") == 1


def test_a_workspace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="no workspace"):
        compare(Location(str(tmp_path / "none")), CompareConfig())
    with pytest.raises(UsageError, match="seconds"):
        compare(Location(str(tmp_path)), CompareConfig(seconds=1e9))


def test_a_lossless_code_has_no_error() -> None:
    sound = from_pcm(music(3))
    file = encode_audio(sound, 11025, "flac")
    back, _ = soundfile.read(io.BytesIO(file), dtype="float32")
    assert score(sound, back, 11025) == {
        "snr_db": 120.0,
        "si_sdr_db": 120.0,
        "log_spectral_distance_db": 0.0,
        "multi_resolution_stft_distance": 0.0,
    }


def test_a_plot_draws_what_there_is(made: Comparison) -> None:
    for codes in (made["codes"], made["codes"][:1], []):
        drawn = figures.rate_distortion({**made, "codes": codes})
        assert drawn.startswith(b"\x89PNG")


def test_visqol_hears_what_is_worse() -> None:
    pytest.importorskip("visqol", reason="pip install 'fadae[visqol]'")
    sound = from_pcm(music(3))
    noise = np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    marks = [
        score(sound, sound + level * noise, 11025, visqol=True)["visqol_mos"]
        for level in (np.float32(0), np.float32(0.2))
    ]
    assert marks[0] is not None and marks[1] is not None and 1 <= marks[1] < marks[0] - 1 <= 4
