"""Decoding: right samples in flat memory, and a reason for whatever cannot be had."""

import http.server
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fadae.audio import ogg, write
from fadae.audio.decode import decode
from fadae.audio.pcm import to_pcm
from fadae.audio.protocol import Source
from fadae.config.job import Limits
from fadae.errors import PermanentFailure
from tests.audio.formats import encoded
from tests.audio.hostile import PLAYLISTS
from tests.audio.sounds import music, save, wav


def decoded(path: Path, rate_hz: int = 11025, **options: Any) -> np.ndarray:
    return np.concatenate(list(decode(path, rate_hz, **options)))


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100])
@pytest.mark.parametrize("format", write.FORMATS)
def test_every_format_comes_out_as_it_went_in(tmp_path: Path, format: str, rate_hz: int) -> None:
    path = save(tmp_path / f"tone.{format}", music(3), 22050)
    pcm = decoded(path, rate_hz)
    assert pcm.dtype == np.int16
    assert len(pcm) == pytest.approx(3 * rate_hz, abs=0.01 * rate_hz)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    assert np.argmax(spectrum) * rate_hz / len(pcm) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean((pcm / 32768.0) ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_pcm_at_the_same_rate_is_left_alone(tmp_path: Path) -> None:
    samples = music(1, 11025)
    assert np.array_equal(decoded(save(tmp_path / "a.flac", samples, 11025)), to_pcm(samples))


@pytest.mark.parametrize(
    ("dtype", "kind", "scale"),
    [("u1", 1, 127), ("<i2", 1, 32767), ("<i4", 1, 2**31 - 1), ("<f4", 3, 1), ("<f8", 3, 1)],
)
def test_channels_are_averaged_in_every_sample_format(
    tmp_path: Path, dtype: str, kind: int, scale: float
) -> None:
    left, right = music(0.5, 11025), -0.5 * music(0.5, 11025)
    both = np.stack([left, right, right * 0], axis=1) * scale
    both = both + 128 if dtype == "u1" else both
    path = wav(tmp_path / "a.wav", both.astype(dtype), 11025, kind)
    tolerance = 400 if dtype == "u1" else 2
    assert np.abs(decoded(path) - 32768 * (left + right) / 3).max() < tolerance


def test_blocks_are_small_and_the_source_is_described(tmp_path: Path) -> None:
    path, source = save(tmp_path / "a.ogg", music(20, 44100, 2), 44100), Source()
    sizes = [len(block) for block in decode(path, 11025, source=source)]
    assert max(sizes) <= 65536
    assert (source.rate_hz, source.channels, source.samples) == (44100, 2, 20 * 44100)


@pytest.mark.parametrize(("format", "other_rate_hz"), [("ogg", 22050), ("mp3", 44100)])
def test_streams_may_be_chained(tmp_path: Path, format: str, other_rate_hz: int) -> None:
    first = write.encode(music(2, 22050), 22050, format)
    second = write.encode(music(2, other_rate_hz), other_rate_hz, format)
    (tmp_path / "a").write_bytes(first + second)
    assert len(decoded(tmp_path / "a")) == pytest.approx(4 * 11025, abs=1500)


@pytest.mark.parametrize("format", ["ogg", "flac", "mp3"])
@pytest.mark.parametrize("tail", ["garbage", "zeros"])
def test_a_damaged_tail_is_refused_or_cut_off(tmp_path: Path, format: str, tail: str) -> None:
    path = save(tmp_path / f"a.{format}", music(10))
    whole = path.read_bytes()
    half = len(whole) // 2
    bad = np.random.default_rng(1).bytes(half) if tail == "garbage" else bytes(half)
    path.write_bytes(whole[:half] + bad)
    with pytest.raises(PermanentFailure, match="damaged"):
        decoded(path)
    source = Source()
    head = decoded(path, keep_damaged=True, source=source)
    assert 3 < len(head) / 11025 < 5.5
    assert source.damage


@pytest.mark.parametrize("format", ["ogg", "flac"])
def test_a_flipped_byte_is_noticed(tmp_path: Path, format: str) -> None:
    path = save(tmp_path / f"a.{format}", music(5))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(PermanentFailure, match="damaged"):
        decoded(path)


def test_nothing_is_heard_after_damage(tmp_path: Path) -> None:
    first, second, third = (write.encode(music(s), 22050, "ogg") for s in (2, 1, 3))
    (start, _), *_ = ogg.pages(second)
    mute = second[: start + 28] + b"nobody" + second[start + 34 :]  # no codec's name
    (tmp_path / "a.ogg").write_bytes(first + ogg.with_fixed_serial(mute) + third)
    source = Source()
    assert len(decoded(tmp_path / "a.ogg", keep_damaged=True, source=source)) == 2 * 11025
    assert "part 2 of 3" in str(source.damage)


def test_damage_is_noticed_where_no_length_is_promised(tmp_path: Path) -> None:
    """A FLAC that was recorded as it came says of its length that it is unknown: 0."""
    path = save(tmp_path / "a.flac", music(5))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the number of samples: the last 36 of the 64 bits from here on
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert len(decoded(path)) == 5 * 11025
    data[-50] ^= 0x55  # in the last frame; of one before it FFmpeg says nothing
    path.write_bytes(data)
    with pytest.raises(PermanentFailure, match="damaged after"):
        decoded(path)


@pytest.mark.parametrize("format", ["ogg", "flac", "mp3"])
def test_a_tag_at_the_end_is_no_damage(tmp_path: Path, format: str) -> None:
    path = save(tmp_path / f"a.{format}", music(3))
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert len(decoded(path)) == pytest.approx(3 * 11025, abs=100)


def test_what_is_no_audio_is_undecodable(tmp_path: Path) -> None:
    for name, content in {"text.ogg": b"hello " * 999, "page.mp3": b"<html>" * 999}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PermanentFailure, match=r"undecodable|damaged"):
            decoded(tmp_path / name)


def test_a_stream_that_comes_up_midway_is_passed_over(tmp_path: Path) -> None:
    first = encoded("mp2", "mpegts", music(1, 48000, 2), 48000)
    packets = [bytearray(first[at : at + 188]) for at in range(0, len(first), 188)]
    for packet in packets:
        if packet[1] & 0x1F == 1 and packet[2] == 0:  # the sound's identifier, 0x100
            packet[1] += 1
    (tmp_path / "a").write_bytes(first)
    (tmp_path / "both").write_bytes(first + b"".join(packets))
    np.testing.assert_array_equal(decoded(tmp_path / "both"), decoded(tmp_path / "a"))


def test_nothing_silence_and_no_numbers_have_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.ogg").touch()
    broken = music(1, 11025).copy()
    broken[5000] = np.nan
    cases = {
        "0 bytes": tmp_path / "empty.ogg",
        "no audio sample": wav(tmp_path / "none.wav", np.zeros((0, 1), "<i2"), 11025, 1),
        "silent throughout": save(tmp_path / "silent.flac", np.zeros(9000, np.float32)),
        "NaN or infinite": wav(tmp_path / "nan.wav", broken[:, None], 11025),
        "or infinite": wav(tmp_path / "inf.wav", np.full((9999, 1), np.inf, "<f4"), 11025),
    }
    for reason, path in cases.items():
        with pytest.raises(PermanentFailure, match=reason):
            decoded(path)


def test_limits_have_their_reasons(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", music(5))
    many = wav(tmp_path / "many.wav", np.zeros((4000, 300), "<i2"), 11025, 1)
    for reason, file, limits in [
        ("longer than the limit of 4 s", path, Limits(decoded_seconds=4)),
        ("22050 Hz, more than 8000", path, Limits(source_rate_hz=8000)),
        ("bytes, more than 1,000", path, Limits(file_bytes=1000)),
        ("300 channels, more than 32", many, Limits()),
    ]:
        with pytest.raises(PermanentFailure, match=reason):
            decoded(file, limits=limits)


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_refused_and_nobody_is_asked(tmp_path: Path, kind: str) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    real = save(tmp_path / "real.wav", music(1))
    url = f"http://127.0.0.1:{server.server_port}/a.ts"
    for target in (url, f"file://{real}", str(real)):
        playlist = tmp_path / "a.ogg"
        playlist.write_text(PLAYLISTS[kind].format(target))
        with pytest.raises(PermanentFailure, match="undecodable"):
            decoded(playlist)
    server.shutdown()
    server.server_close()
    thread.join()
    assert asked == []
