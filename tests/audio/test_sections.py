"""Files of several links and files with pictures: every link is heard, no picture is read."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fadae.audio import ogg, write
from fadae.audio.decode import decode
from fadae.audio.protocol import Source
from fadae.audio.sandbox import Sandbox
from fadae.audio.sections import TAG_BYTES, Part, Sections, View
from fadae.config.job import Limits
from fadae.errors import PermanentFailure
from tests.audio.formats import (
    PICTURE,
    encoded,
    flac_with_pictures,
    id3,
    id3_frame,
    mp4_with_pictures,
)
from tests.audio.sounds import music, save
from tests.audio.test_sandbox import peak_bytes

MP4_WAY = [b"moov", b"udta", b"meta", b"ilst", b"covr"]


def decoded(path: Path, **options: Any) -> np.ndarray:
    return np.concatenate(list(decode(path, 11025, **options)))


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(22050, 1), (44100, 1), (22050, 2), (48000, 2), (8000, 1)]
)
def test_every_link_of_a_chained_ogg_is_heard(tmp_path: Path, rate_hz: int, channels: int) -> None:
    links = [
        write.encode(music(4, 22050), 22050, "ogg"),
        write.encode(music(2, rate_hz, channels, seed=9), rate_hz, "ogg"),
        write.encode(music(1, 22050, seed=3), 22050, "ogg"),
    ]
    (tmp_path / "a.ogg").write_bytes(b"".join(links))
    source = Source()
    pcm = decoded(tmp_path / "a.ogg", source=source)
    assert len(pcm) == 7 * 11025
    assert source.samples == 5 * 22050 + 2 * rate_hz
    second = pcm[int(4.2 * 11025) : int(5.8 * 11025)] / 32768.0
    spectrum = np.abs(np.fft.rfft(second * np.hanning(len(second))))
    assert np.argmax(spectrum) * 11025 / len(second) == pytest.approx(440 + 30 * 9, abs=1)


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_a_link_of_another_codec_is_heard(tmp_path: Path, codec: str) -> None:
    """FLAC comes out exactly; Opus, always of 48 kHz, without what its encoder put before it."""
    second = music(2, 48000, seed=9)
    links = [
        write.encode(music(4, 22050), 22050, "ogg"),
        encoded(codec, "ogg", second, 48000),
        write.encode(music(1, 22050, seed=3), 22050, "ogg"),
    ]
    (tmp_path / "a.ogg").write_bytes(b"".join(links))
    (tmp_path / "second.ogg").write_bytes(links[1])
    source = Source()
    pcm = decoded(tmp_path / "a.ogg", source=source)
    alone = decoded(tmp_path / "second.ogg")
    assert len(pcm) == 5 * 11025 + len(alone)
    assert len(alone) == pytest.approx(2 * 11025, abs=5 if codec == "flac" else 250)
    np.testing.assert_array_equal(pcm[4 * 11025 : 4 * 11025 + len(alone)], alone)
    heard = alone[2205:19845] / 32768.0
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * 11025 / len(heard) == pytest.approx(440 + 30 * 9, abs=1)


def test_a_broken_later_link_is_damage(tmp_path: Path) -> None:
    whole = write.encode(music(4), 22050, "ogg")
    mute = bytearray(write.encode(music(2), 22050, "ogg"))
    for start, _ in list(ogg.pages(bytes(mute)))[:1]:
        mute[start + 28 : start + 34] = b"nobody"  # no codec's name
    path = tmp_path / "a.ogg"
    path.write_bytes(whole + ogg.with_fixed_serial(bytes(mute)))
    with pytest.raises(PermanentFailure, match="damaged in part 2 of 2"):
        decoded(path)
    source = Source()
    assert len(decoded(path, keep_damaged=True, source=source)) == 4 * 11025
    assert "part 2 of 2" in str(source.damage)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("size", [0, 50, 30_000])
def test_mp3s_joined_with_a_tag_between_go_on(tmp_path: Path, version: int, size: int) -> None:
    first, second = (write.encode(music(s), 22050, "mp3") for s in (4, 2))
    tag = id3(bytes(size), version)
    (tmp_path / "a.mp3").write_bytes(tag + first + tag + tag + second)
    assert len(decoded(tmp_path / "a.mp3")) == pytest.approx(6 * 11025, abs=100)


def sections_of(path: Path) -> tuple[tuple[Part, ...], ...]:
    with path.open("rb") as file:
        return Sections.of(file.fileno()).sections


def test_a_mention_of_a_tag_is_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mp3", music(3))
    plain = path.read_bytes()
    expected = decoded(path)
    path.write_bytes(id3(b"ID3\3\0\0\0\0\0\0" + bytes(30)) + plain)
    assert len(sections_of(path)) == 1
    assert np.array_equal(decoded(path), expected)


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a"])
def test_pictures_are_not_read(tmp_path: Path, kind: str) -> None:
    plain = tmp_path / f"plain.{kind}"
    if kind == "m4a":
        plain.write_bytes(encoded("aac", "mp4", music(3), 22050))
    else:
        save(plain, music(3))
    sound, laden = plain.read_bytes(), tmp_path / f"laden.{kind}"
    if kind == "m4a":
        laden.write_bytes(mp4_with_pictures(sound, 12))
    elif kind == "flac":
        laden.write_bytes(flac_with_pictures(sound, 12))
    else:
        title = id3_frame(b"TIT2", b"\0Title")
        laden.write_bytes(id3(title + id3_frame(b"APIC", PICTURE) * 12) + sound)
    peaks = []
    for path in (plain, laden):
        sandbox, pcm = Sandbox(), bytearray()
        try:
            sandbox.decode(path, 11025, Limits(), pcm.extend)
            peaks.append(peak_bytes(sandbox))
        finally:
            sandbox.close()
        assert pcm == decoded(plain).tobytes()
    # The pages of a mapped file count only where they are touched: none of a picture is.
    assert peaks[1] - peaks[0] < 8 << 20
    if kind == "m4a":
        source = Source()
        decoded(laden, source=source)
        assert (source.tags or {}).items() >= {"title": "Title", "artist": "Artist"}.items()


@pytest.mark.parametrize("version", [3, 4])
def test_a_long_tag_keeps_its_short_texts(tmp_path: Path, version: int) -> None:
    texts = [
        id3_frame(b"TIT2", b"\0Title", version),
        id3_frame(b"TPE1", b"\0" + bytes(9999), version),
    ]
    body = texts[0] + texts[1] + id3_frame(b"APIC", bytes(TAG_BYTES), version) + texts[0]
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(body, version) + write.encode(music(1), 22050, "mp3"))
    ((tag, _),) = sections_of(path)
    assert tag == id3(texts[0] * 2, version)


def test_hostile_lengths_end_somewhere(tmp_path: Path) -> None:
    sound = write.encode(music(1), 22050, "flac")
    for number, data in enumerate(
        [
            b"fLaC" + b"\x00\xff\xff\xff",
            b"fLaC" + b"\x04\x00\x00\x00" * 1000,
            b"ID3\3\0\0\x7f\x7f\x7f\x7f" + sound,
            b"ID3\4\0\0\0\x7f\x7f\x7f" + b"TIT2\xff\xff\xff\xff" + bytes(2**21),
            b"ID3" * 100_000,
            b"OggS" * 1000,
            b"\0\0\0\x08ftyp" + b"\0\0\0\0moov" * 3000,
            b"\0\0\0\x08ftyp" + b"\0\0\0\1moov" + b"\xff" * 8 + b"\0\0\0\7udta" * 99,
            b"\0\0\0\x08ftyp" + b"".join(b"\0\0\0\0" + k for k in MP4_WAY) + b"\0\0",
        ]
    ):
        path = tmp_path / str(number)
        path.write_bytes(data)
        for parts in sections_of(path):
            with path.open("rb") as file, View(file.fileno(), parts) as view:
                assert len(b"".join(iter(functools.partial(view.read, 4096), b""))) <= len(data)
        with pytest.raises(PermanentFailure):
            decoded(path)


def test_a_view_reads_as_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    parts = (b"head", (10, 20), (90, 100))
    with (tmp_path / "a").open("rb") as file, View(file.fileno(), parts) as view:
        whole = b"".join(iter(lambda: view.read(7), b""))
        assert whole == b"head" + bytes(range(10, 20)) + bytes(range(90, 100))
        assert view.seek(-3, 2) == len(whole) - 3
        assert view.read() == whole[-3:]
        view.seek(4)
        assert (view.read(2), view.tell()) == (bytes([10, 11]), 6)
