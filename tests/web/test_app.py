"""What the room answers: data that are the library's, and refusals that are only refusals."""

from __future__ import annotations

import dataclasses
import io
import json
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fadae
from fadae.store.location import Location
from fadae.web.app import ANSWERS
from tests.hangs import wait_until
from tests.synthetic import music, write_features, write_run
from tests.web.conftest import HOSTILE, HOSTILE_TITLE, LONG, SHORT, Served, serving

HOP_SECONDS = 3750 / 11025


def query(name: str, /, **parameters: Any) -> str:
    return f"/api/{name}?{urlencode(parameters)}"


def raster(room: Served, path: str) -> tuple[np.ndarray, float, float]:
    answer = room.get(path)
    assert answer.status == 200, answer.data
    shape = int(answer.headers["Fadae-Rows"]), int(answer.headers["Fadae-Columns"])
    span = float(answer.headers["Fadae-Start"]), float(answer.headers["Fadae-Stop"])
    return np.frombuffer(answer.data, np.uint8).reshape(shape), *span


def test_workspace_names_its_runs_and_transform(room: Served) -> None:
    about = room.json("/api/workspace")
    assert about["recordings"] == 3
    assert about["seconds"] == pytest.approx(90.3, abs=0.01)
    assert about["transform"]["name"] == "seed"
    assert len(about["transform"]["band_centre_hz"]) == 300
    size = "64 bytes a row, 1.5 kbps"  # 16 float32
    shown = ("name", "trained", "reconstructed", "code", "bytes_a_row", "holdout_nmse_db")
    assert [[run[name] for name in shown] for run in about["runs"]] == [
        ["default", True, True, size, 64, -5.0],
        ["modelled", True, False, "", None, None],
        ["training", False, False, "", None, None],
    ]
    assert about["runs"][0]["kbps"] == pytest.approx(64 * 8 / 1000 / HOP_SECONDS)


def test_recordings_are_found_by_words_and_by_pages(room: Served) -> None:
    everything = room.json("/api/recordings")
    assert [r["id"] for r in everything["recordings"]] == [LONG, SHORT, HOSTILE]
    assert [r["id"] for r in room.json(query("recordings", search="FUGUE bach"))["recordings"]] == [
        LONG
    ]
    page = room.json(query("recordings", offset=1, limit=1))
    assert (page["total"], [r["id"] for r in page["recordings"]]) == (3, [SHORT])
    assert room.json(query("recordings", search="no such thing"))["total"] == 0


def test_a_recording_has_its_scores_in_every_reconstruction(room: Served) -> None:
    about = room.json(query("recording", recording=LONG))
    assert about["samples"] == 80 * 11025
    assert set(about["scores"]) == {"default"}
    assert about["scores"]["default"]["nmse_db"] < 1
    assert room.json(query("recording", recording=HOSTILE))["title"] == HOSTILE_TITLE


def test_what_a_run_held_out_is_the_librarys(room: Served, location: Location) -> None:
    split = fadae.open(location.url).split("default")
    rows = room.json("/api/recordings")["recordings"]
    assert [row["id"] for row in rows if row["held_out_by"]] == split.held_out
    assert all(row["held_out_by"] in ([], ["default"]) for row in rows)
    for recording, role in zip(split.ids, split.roles, strict=True):
        roles = room.json(query("recording", recording=recording))["roles"]
        assert roles == {"default": role, "modelled": "unknown", "training": "unknown"}
    told = room.json(query("curves", run="default"))
    assert told["means"] == pytest.approx(fadae.open(location.url).pooled_scores("default"))
    assert told["remark"].startswith("PCA with 16 components does better")
    assert room.json(query("curves", run="modelled"))["means"] == {}


@pytest.mark.parametrize(
    ("url", "shown", "came_from"),
    [
        ("https://archive.org/download/a/b.ogg", "https://archive.org/download/a/b.ogg", None),
        ("http://127.0.0.1:39041/download/a/b.ogg", None, "a local server (127.0.0.1:39041)"),
        ("http://user:secret@localhost/a", None, "a local server (localhost)"),
        ("http://[::1]:80/a", None, "a local server ([::1]:80)"),
        ("http://[::1/a", "http://[::1/a", None),
        ("s3://bucket/a.ogg", "s3://bucket/a.ogg", None),
        ("", "", None),
    ],
)
def test_a_source_that_is_gone_is_named_not_linked(
    tmp_path: Any, url: str, shown: str | None, came_from: str | None
) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(1, seed=1)}, urls={SHORT: url})
    with serving(location) as served:
        about = served.json(query("recording", recording=SHORT))
    assert about["url"] == shown
    assert about["came_from"] == (came_from and f"ingested from {came_from}")


@pytest.mark.parametrize("source", ["original", "transform", "default", "modelled"])
@pytest.mark.parametrize("band", [{}, {"low_hz": 400, "high_hz": 900}])
def test_audio_is_the_librarys(
    room: Served, location: Location, source: str, band: dict[str, float]
) -> None:
    answer = room.get(query("audio", recording=LONG, source=source, start=3.5, stop=5, **band))
    heard, rate_hz = soundfile.read(io.BytesIO(answer.data), dtype="float32")
    hz = slice(400, 900) if band else None
    expected = fadae.open(location.url).audio(LONG, slice(3.5, 5), source=source, hz=hz)
    assert rate_hz == 11025
    assert heard.shape == expected.shape
    assert np.abs(heard - expected).max() <= 1 / 32768


def test_slices_of_audio_follow_each_other(room: Served) -> None:
    def part(start: float, stop: float) -> np.ndarray:
        path = query("audio", recording=SHORT, source="default", start=start, stop=stop)
        samples: np.ndarray = soundfile.read(io.BytesIO(room.get(path).data), dtype="int16")[0]
        return samples

    joined = np.concatenate([part(0, 2), part(2, 5), part(5, 7.3)])
    np.testing.assert_array_equal(joined, part(0, 7.3))


def test_tiles_of_pictures_fit_together(room: Served) -> None:
    def tile(first: int, last: int, source: str = "original") -> tuple[np.ndarray, float, float]:
        start, stop = first * 3750 / 11025, last * 3750 / 11025
        given = {"recording": LONG, "start": repr(start), "stop": repr(stop), "source": source}
        return raster(room, query("bands", columns=8, **given))

    for source in ("original", "default"):
        whole, start, stop = tile(32, 96, source)
        left, right = tile(32, 64, source), tile(64, 96, source)
        assert whole.shape == (300, 64 * 8)
        assert (start, left[2]) == (left[1], right[1])
        assert stop == right[2] == pytest.approx(96 * HOP_SECONDS)
        np.testing.assert_array_equal(np.hstack([left[0], right[0]]), whole)
    assert whole.max() > 0


def test_bark_and_codes_have_the_shape_they_say(room: Served) -> None:
    bark, start, stop = raster(room, query("bark", recording=LONG, start=0, stop=80, columns=500))
    assert bark.shape[0] == 96
    assert 495 <= bark.shape[1] <= 500
    assert start == 0
    assert stop == pytest.approx(80, abs=0.2)
    for run, size in (("default", 16), ("modelled", 8)):
        codes, _, _ = raster(room, query("codes", recording=LONG, run=run, start=0, stop=10))
        assert codes.shape == (size, 30)
        assert codes.std() > 5


def test_a_waveform_has_the_extremes_of_the_samples(room: Served, location: Location) -> None:
    ask = query("waveform", recording=LONG, source="default", start=1.5, stop=71.5, columns=300)
    drawn, start, stop = raster(room, ask)
    samples = fadae.open(location.url).audio(LONG, slice(1.5, 71.5), source="default")
    wide = -(-len(samples) // 300)
    columns = np.split(samples, range(wide, len(samples), wide))
    assert start == pytest.approx(1.5, abs=1e-4)
    assert stop == pytest.approx(1.5 + 300 * wide / 11025, abs=1e-4)
    rows = [[one.min() for one in columns], [one.max() for one in columns]]
    low, high = (np.copysign(np.sqrt(np.abs(row)), row) * 127.5 + 127.5 for row in rows)
    rms = [255 * np.sqrt(np.sqrt(np.mean(one.astype(np.float64) ** 2))) for one in columns]
    assert np.abs(drawn - np.stack([low, high, rms])).max() <= 0.51
    end, _, stop = raster(room, query("waveform", recording=SHORT, start=7, stop=20, columns=10))
    assert end.shape == (3, 10), "what comes after the end has no columns"
    assert stop == pytest.approx(7.3, abs=0.01)


@pytest.mark.parametrize("source", ["original", "transform", "modelled"])
def test_a_piece_is_the_librarys_sound_with_its_tags(
    room: Served, location: Location, source: str
) -> None:
    answer = room.get(query("piece", recording=LONG, source=source))
    assert answer.headers["Content-Type"] == "audio/flac"
    with soundfile.SoundFile(io.BytesIO(answer.data)) as file:
        told = (file.title, file.artist, file.license)
        comment = file.comment
        samples = file.read(dtype="float32")
    assert told == (
        "A long fugue",
        "J. S. Bach",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    )
    assert comment.startswith(f"source: {LONG}; licence: CC0-1.0")
    assert ("run: modelled; model SHA-256: " in comment) == (source == "modelled")
    expected = fadae.open(location.url).audio(LONG, source=source)
    assert np.abs(samples - expected).max() <= 1 / 32768


def test_the_name_of_a_piece_is_no_path_and_no_header(room: Served) -> None:
    answer = room.get(query("piece", recording=HOSTILE), method="HEAD")
    assert answer.status == 200 and answer.data == b""
    name = "_script_window.hit_1_script_img src_x onerror_window.hi (original).flac"
    told = answer.headers["Content-Disposition"]
    assert told == f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(name)}"


def test_no_more_pieces_at_once_than_memory_is_for(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.web.app.MOST_PIECES", 0)
    with serving(location) as served:
        assert served.get(query("piece", recording=SHORT)).status == 503
        assert served.get(query("recording", recording=SHORT)).status == 200


def test_who_leaves_in_the_middle_of_a_piece_frees_its_place(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.web.app.MOST_PIECES", 1)
    path = query("piece", recording=LONG, source="modelled")
    with serving(location) as served:
        with served.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        wait_until(lambda: served.get(path, "HEAD").status == 200)
        assert len(served.get(path).data) > 100_000


@pytest.mark.parametrize("run", ["default", "modelled"])
@pytest.mark.parametrize(
    "method",
    [
        {"method": "walk"},
        {"method": "normal"},
        {"method": "interpolate", "first": LONG, "second": SHORT},
    ],
)
def test_generating_is_a_function_of_the_seed(
    room: Served, run: str, method: dict[str, str]
) -> None:
    ask = query("generated", run=run, seed=5, seconds=2, **method)
    once = room.get(ask)
    assert once.status == 200, once.data
    assert room.get(ask).data == once.data
    sound, _ = soundfile.read(io.BytesIO(once.data))
    assert len(sound) == 22050
    assert np.abs(sound).max() > 0
    picture, start, stop = raster(room, ask + "&as=picture")
    assert (picture.shape[0], start) == (300, 0)
    assert stop >= 2
    if method["method"] != "interpolate":
        assert room.get(ask.replace("seed=5", "seed=6")).data != once.data


def test_curves_of_a_run(room: Served) -> None:
    answer = room.json(query("curves", run="default"))
    assert answer["curves"]["train_loss"][-1] == [5, 0.2]
    assert answer["config"]["model"]["name"] == "dense"


def test_a_comparison_is_a_table_and_a_picture(room: Served) -> None:
    assert room.json("/api/workspace")["comparisons"] == ["default"]
    told = room.json(query("comparison", name="default"))
    assert told["heads"] == ["code", "setting", "kbps", "payload", "SNR dB"]
    assert [row[0] for row in told["rows"]] == ["default (bytes)", "Opus"]
    drawn = room.get(query("comparison", name="default", **{"as": "picture"}))
    assert drawn.headers["Content-Type"] == "image/png" and drawn.data.startswith(b"\x89PNG")


def test_what_sounds_alike_is_the_librarys(room: Served, location: Location) -> None:
    workspace = fadae.open(location.url)
    told = room.json(query("similar", recording=SHORT, start=1, stop=4, k=2))["found"]
    assert told == [dataclasses.asdict(one) for one in workspace.similar(SHORT, slice(1, 4), 2)]
    assert {one["id"] for one in told} <= {LONG, SHORT, HOSTILE}
    drawn = room.json("/api/map")
    assert drawn["points"] == [
        pytest.approx(dataclasses.asdict(one)) for one in workspace.corpus_map().points
    ]
    assert drawn["recordings"] == 3


def test_the_page_makes_no_vectors_it_only_reads(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(3, seed=1)})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with serving(location) as served:
        assert served.json("/api/workspace")["alike"] is False
        for path in ("/api/map", query("similar", recording=SHORT, start=0, stop=1)):
            answer = served.get(path)
            assert (answer.status, b"fadae similar" in answer.data) == (400, True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_answers_under_the_current_state_may_be_kept(room: Served) -> None:
    state = room.json("/api/workspace")["state"]
    path = query("recording", recording=LONG)
    assert room.get(path).headers["Cache-Control"] == "no-store"
    assert "max-age" in room.get(f"{path}&state={state}").headers["Cache-Control"]
    assert room.get(f"{path}&state=other").headers["Cache-Control"] == "no-store"


def test_growth_is_seen_without_a_restart(tmp_path: Any) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(3, seed=1)})
    with serving(location) as served:
        before = served.json("/api/workspace")
        write_features(location, {LONG: music(5, seed=2)})
        after = served.json("/api/workspace")
        assert (before["recordings"], after["recordings"]) == (1, 2)
        assert before["state"] != after["state"]
        assert served.get(query("audio", recording=LONG, start=0, stop=1)).status == 200


def test_a_run_trained_afresh_by_the_same_settings_is_seen(tmp_path: Any) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(3, seed=1)})
    write_run(location, seed=1)
    config = location.read_bytes("runs/default/config.json")
    ask = query("audio", recording=SHORT, source="default", start=0, stop=1)
    with serving(location) as served:
        before, heard = served.json("/api/workspace")["state"], served.get(ask).data
        write_run(location, seed=2)
        assert location.read_bytes("runs/default/config.json") == config
        assert served.json("/api/workspace")["state"] != before
        assert served.get(ask).data != heard


def test_a_workspace_without_features_is_an_empty_room(empty_room: Served) -> None:
    about = empty_room.json("/api/workspace")
    assert (about["recordings"], about["runs"], about["transform"]) == (0, [], None)
    assert empty_room.json("/api/recordings") == {"total": 0, "offset": 0, "recordings": []}
    assert empty_room.get(query("recording", recording=LONG)).status == 404


# --- refusals ---


@pytest.mark.parametrize(
    "path",
    [
        query("generated", run="default", method="interpolate", first="", second=""),
        query("recording", recording=""),
        query("audio", recording=LONG, source="", start=0, stop=1),
        query("audio", recording=LONG, start="", stop=1),
        query("curves", run=""),
    ],
)
def test_an_empty_value_is_called_empty(room: Served, path: str) -> None:
    answer = room.get(path)
    assert answer.status == 400
    assert json.loads(answer.data)["error"].endswith(" is empty")


@pytest.mark.parametrize(
    "path",
    [
        "/api/recording",
        "/api/recording?recording=no+such",
        "/api/recording?recording=a&recording=b",
        query("recording", recording="x" * 5000),
        query("recording", recording=LONG, more=1),
        query("recording", recording="../../etc/passwd"),
        query("audio", recording=LONG, start=0, stop=31),
        query("audio", recording=LONG, start=5, stop=5),
        query("audio", recording=LONG, start="nan", stop=5),
        query("audio", recording=LONG, start="-1", stop=5),
        query("audio", recording=LONG, start=0, stop="inf"),
        query("audio", recording=LONG, start=1000, stop=1001),
        query("audio", recording=LONG, start=0, stop=1, source="../default"),
        query("audio", recording=LONG, start=0, stop=1, source="training"),
        query("audio", recording=LONG, start=0, stop=1, low_hz=900, high_hz=400),
        query("audio", recording=LONG, start=0, stop=1, low_hz=20000, high_hz=20001),
        query("bands", recording=LONG, start=0, stop=61),
        query("bands", recording=LONG, start=0, stop=1, columns=1000),
        query("bands", recording=LONG, start=0, stop=1, columns=3),
        query("bark", recording=LONG, start=0, stop=301),
        query("bark", recording=LONG, start=0, stop=1, columns=0),
        query("waveform", recording=LONG, start=0, stop=901),
        query("waveform", recording=LONG, start=80, stop=90),
        query("waveform", recording=LONG, start=0, stop=1, columns=0),
        query("piece", recording=LONG, source="training"),
        query("piece", recording=LONG, start=0),
        query("similar", recording=LONG, start=0, stop=1, k=21),
        query("similar", recording=LONG, start=90, stop=91),
        query("similar", recording="no such", start=0, stop=1),
        "/api/map?most=5",
        query("codes", recording=LONG, start=0, stop=1, run="original/.."),
        query("codes", recording=LONG, start=0, stop=1, run="original"),
        query("generated", run="default", seconds=1e6),
        query("generated", run="default", seed="-1"),
        query("generated", run="original"),
        query("generated", run="default", method="interpolate", first=LONG),
        query("curves", run="../.."),
        query("curves", run="missing\x00"),
        "/api/recordings?limit=100000",
        "/api/recordings?limit=1_0",
        "/api/recordings?offset=²",
        "/api/nothing",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/etc/passwd",
        "/%ff%fe",
    ],
)
def test_nonsense_is_refused_in_one_sentence(room: Served, path: str) -> None:
    answer = room.get(quote(path, safe="/?&=%+"))
    assert 400 <= answer.status < 500, (path, answer.data)
    assert b"Traceback" not in answer.data
    if path.startswith("/api/"):
        assert isinstance(json.loads(answer.data)["error"], str)


@pytest.mark.parametrize(
    "path",
    [
        query("recording", recording="no such"),
        query("audio", recording="no such", start=0, stop=1),
        query("audio", recording=LONG, start=0, stop=1, source="nobody"),
        query("bands", recording="no such", start=0, stop=1),
        query("bark", recording=LONG, start=0, stop=1, source="nobody"),
        query("waveform", recording="no such", start=0, stop=1),
        query("piece", recording="no such"),
        query("piece", recording=LONG, source="nobody"),
        query("codes", recording=LONG, start=0, stop=1, run="nobody"),
        query("generated", run="nobody"),
        query("generated", run="default", method="interpolate", first=LONG, second="no such"),
        query("curves", run="nobody"),
        query("comparison", name="../runs/default/config"),
    ],
)
def test_what_is_not_there_is_not_found(room: Served, path: str) -> None:
    answer = room.get(path)
    assert answer.status == 404
    assert "no" in json.loads(answer.data)["error"].split()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_the_room_only_reads(room: Served, method: str) -> None:
    for path in ("/", "/api/recordings", "/static/base.css"):
        answer = room.get(path, method)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8642",
        "127.0.0.1.evil.example:80",
        "localhost.evil.example",
        "[::1].evil.example",
        "[::1]evil.example",
        "[::1]:80.evil.example",
        "[::1]@evil.example",
        "[::1",
        "[]",
        "[localhost]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[::2]:1",
        "[::ffff:127.0.0.1]",
        "::1",
        "localhost:evil.example",
        "localhost:80:evil.example",
        "localhost:80@evil.example",
        "localhost:²",
        "localhost:-1",
        "localhost:123456",
        "localhost@evil.example",
        "localhost,evil.example",
        "localhost evil.example",
        "localhost/evil.example",
        "http://localhost",
        "localhost\\evil.example",
        "evil.example#localhost",
        "localhost.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        ":80",
        "",
    ],
)
def test_other_host_names_are_not_served_on_loopback(room: Served, host: str) -> None:
    answer = ask_raw(room, f"GET /api/workspace HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400")), answer[:80]
    assert b'"runs"' not in answer


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /api/workspace HTTP/1.0\r\n\r\n",
        "GET /api/workspace HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "GET http://localhost/api/workspace HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
    ids=["no host", "two hosts", "a whole URL"],
)
def test_the_host_header_comes_once(room: Served, request_text: str) -> None:
    answer = ask_raw(room, request_text)
    assert answer[9:12] in (b"403", b"400"), answer[:80]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:1",
        "127.0.0.1",
        "127.0.0.1:8642",
        "127.0.0.1:",
        "[::1]:8642",
        "[::1]",
        "[0:0:0:0:0:0:0:1]:80",
    ],
)
def test_names_of_loopback_are(room: Served, host: str) -> None:
    assert room.get("/api/workspace", Host=host).status == 200


def ask_raw(room: Served, request_text: str) -> bytes:
    """Return the start of the answer to a request as it stands."""
    with room.connect() as connection:
        connection.sendall(request_text.encode("latin-1"))
        return connection.recv(10_000)


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/api/workspace", "/nothing"])
def test_every_answer_keeps_to_itself(room: Served, path: str) -> None:
    headers = room.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


_NAMES = (
    "recording",
    "source",
    "run",
    "start",
    "stop",
    "low_hz",
    "high_hz",
    "columns",
    "seed",
    "seconds",
    "search",
    "offset",
    "limit",
    "method",
    "as",
    "state",
    "first",
    "name",
)
_VALUES = st.one_of(
    st.sampled_from([LONG, HOSTILE, "default", "modelled", "original", "walk", "0", "1", "2.5"]),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(max_size=40),
)


@settings(
    max_examples=max(150, settings().max_examples), suppress_health_check=[HealthCheck.too_slow]
)
@given(
    name=st.one_of(
        st.sampled_from([*sorted(ANSWERS), "piece"]), st.text(string.printable, max_size=20)
    ),
    parameters=st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=6),
)
def test_fuzzed_requests_meet_answers_or_refusals(
    room: Served, name: str, parameters: list[tuple[str, str]]
) -> None:
    text = urlencode(parameters, errors="surrogatepass")
    answer = room.get(f"/api/{quote(name, safe='')}?{text}")
    assert answer.status == 200 or 400 <= answer.status < 500
    assert b"Traceback" not in answer.data


def test_who_comes_when_too_many_wait_is_told_to_come_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.web.app.MOST_WAITING", 0)
    with serving(location) as served:
        answer = served.get("/api/workspace")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert served.get("/").status == 200


def test_metrics_tell_prometheus_how_far_the_job_is(room: Served) -> None:
    pytest.importorskip("prometheus_client", reason="needs fadae[metrics]")
    answer = room.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    told = answer.data.decode().splitlines()
    assert 'fadae_stage_done{stage="ingest"} 3.0' in told
    assert 'fadae_stage_expected{stage="reconstruct"} 1.0' in told
    assert room.get("/metrics", Host="evil.example").status == 403
    assert room.get("/metrics?x=1").status == 400
