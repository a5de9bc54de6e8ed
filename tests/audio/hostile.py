"""A corpus of hostile media files, each with what must become of it.

Whole files with oddities come out as sound; everything else is quarantined with a reason. None may
take long, take much memory, or reach anything but itself.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import av
import numpy as np
import soundfile

from fadae.audio import ogg, write
from fadae.config.job import Limits
from tests.audio.formats import (
    PICTURE,
    box,
    encoded,
    flac_with_pictures,
    id3,
    id3_frame,
    mp4_with_pictures,
)
from tests.audio.sounds import music

RATE_HZ = 22050
URL = "http://127.0.0.1:{port}/stolen.ts"


@dataclass(frozen=True)
class Hostile:
    """A file and its end: `seconds` of sound, or a reason that matches a pattern."""

    name: str
    make: Callable[[], bytes]
    seconds: float = 0.0
    reason: str = ""


# A decoder ends a file by itself within these, or the reason is another than the one expected.
SHORT = Limits(decoded_seconds=60.0, wall_seconds=300.0, memory_bytes=128 << 20)


@cache
def song(kind: str, seconds: float = 1.0, rate_hz: int = RATE_HZ) -> bytes:
    return write.encode(music(seconds, rate_hz), rate_hz, kind)


@cache
def film(with_sound: bool) -> bytes:
    """Return an AVI of 5 small black pictures."""
    target = io.BytesIO()
    opened: Any = av.open
    with opened(target, "w", format="avi") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width = pictures.height = 16
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            picture.pts = number
            container.mux(pictures.encode(picture))
        samples = (music(1, RATE_HZ) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux([*pictures.encode(None), *sound.encode(frame), *sound.encode(None)])
    made = target.getvalue()
    return made if with_sound else made.replace(b"auds", b"txts")


def wav(
    samples: bytes,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    kind: int = 1,
    promised: int | None = None,
) -> bytes:
    """Return a WAV whose header may say anything."""
    block = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", kind, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    length = len(samples) if promised is None else promised
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", min(len(body) + length, 2**32 - 1)) + body + samples


def flipped(data: bytes, at: float = 0.5) -> bytes:
    changed = bytearray(data)
    changed[int(len(data) * at)] ^= 0x55
    return bytes(changed)


def _half(kind: str) -> bytes:
    data = song(kind, 4.0)
    return data[: len(data) // 2]


def _bomb() -> bytes:
    """Two minutes of one value: FLAC holds it in 30 kB."""
    target = io.BytesIO()
    soundfile.write(target, np.full(120 * 44100, 9, np.int16), 44100, format="FLAC")
    return target.getvalue()


def _streaminfo(rate_hz: int, channels: int, samples: int) -> bytes:
    """Return a FLAC's head alone."""
    packed = rate_hz << 44 | (channels - 1) << 41 | 15 << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info


def _promising(samples: int) -> bytes:
    """Return a FLAC whose header promises more than its frames hold."""
    whole = song("flac")
    lied = bytearray(whole)
    packed = int.from_bytes(whole[18:26], "big") >> 36 << 36 | samples
    lied[18:26] = packed.to_bytes(8, "big")
    return bytes(lied)


def _renamed_codec(find: bytes, put: bytes) -> bytes:
    """Return an Ogg whose checksums fit and whose codec nobody knows."""
    data = bytearray(song("ogg"))
    at = data.index(find)
    data[at : at + len(put)] = put
    return ogg.with_fixed_serial(bytes(data))


def _pages(count: int, lacing: bytes) -> bytes:
    """Return whole Ogg pages of nothing but lacing."""
    made = b""
    for number in range(count):
        flag = 2 if number == 0 else 0
        head = b"OggS\0" + bytes([flag]) + bytes(8) + b"\1\0\0\0" + struct.pack("<I", number)
        page = head + bytes(4) + bytes([len(lacing)]) + lacing + bytes(sum(lacing))
        made += page[:22] + ogg.page_checksum(page) + page[26:]
    return made


def _mp4(change: Callable[[bytes], bytes]) -> bytes:
    return change(encoded("aac", "mp4", music(1, RATE_HZ), RATE_HZ))


def _with_table_of(count: int, kind: bytes) -> Callable[[bytes], bytes]:
    """Return what makes a sample table of an MP4 say that it has so many entries."""

    def change(data: bytes) -> bytes:
        at = data.index(kind) + 8 + (4 if kind == b"stsz" else 0)
        return data[:at] + count.to_bytes(4, "big") + data[at + 4 :]

    return change


def _nested(depth: int) -> bytes:
    made = b""
    for _ in range(depth):
        made = box(b"moov", made)
    return box(b"ftyp", b"M4A \0\0\0\0") + made


def _comments(count: int, text: bytes) -> bytes:
    """Return a FLAC with comments, before the frames."""
    whole = bytearray(song("flac"))
    one = struct.pack("<I", len(text)) + text
    body = struct.pack("<II", 0, count) + one * count
    block = b"\x04" + len(body).to_bytes(3, "big") + body
    whole[4] &= 0x7F
    return bytes(whole[:42]) + block + bytes(whole[42:])


def _zip() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("a.wav", song("wav"))
    return target.getvalue()


def _playlist(kind: str, target: str) -> Callable[[], bytes]:
    return PLAYLISTS[kind].format(target).encode


PLAYLISTS = {  # of a target
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "concat": "ffconcat version 1.0\nfile {}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio 5004 RTP/AVP 0\n",
}
_UNKNOWN = "undecodable"

# Whole, with something odd about them.
ODD = [
    Hostile("an ID3v1 tag behind", lambda: song("mp3") + b"TAG" + b"\xff" * 125, 1),
    Hostile("junk behind an Ogg", lambda: song("ogg") + bytes(5000), 1),
    Hostile("a chain of two rates", lambda: song("ogg") + song("ogg", 1.0, 44100), 2),
    Hostile("a tag between MP3s", lambda: song("mp3") + id3(bytes(99)) + song("mp3"), 2),
    Hostile("FLAC with pictures", lambda: flac_with_pictures(song("flac"), 2), 1),
    Hostile("MP3 with a picture", lambda: id3(id3_frame(b"APIC", PICTURE)) + song("mp3"), 1),
    Hostile("MP4 with pictures", lambda: _mp4(lambda data: mp4_with_pictures(data, 2)), 1),
    Hostile("a header of 10^9 s", lambda: wav(song("wav")[44:], promised=2**32 - 1), 1),
    Hostile("comments that are no text", lambda: _comments(9, b"TITLE=\x1b[31m\xff\xfe"), 1),
    Hostile("100,000 comments", lambda: _comments(100_000, b"TITLE=x"), 1),
    Hostile("a comment of 8 MB", lambda: _comments(1, b"TITLE=" + b"x" * 2**23), 1),
    Hostile("a film", lambda: film(True), 1),
    Hostile("4 billion chunks", lambda: _mp4(_with_table_of(2**32 - 1, b"stco")), 1),
]

# No sound, or none that may be had.
BAD = [
    Hostile("nothing", lambda: b"", reason="a file of 0 bytes"),
    Hostile("one byte", lambda: b"O", reason=_UNKNOWN),
    Hostile("a web page", lambda: b"<html><body>gone</body></html>" * 99, reason=_UNKNOWN),
    Hostile("noise", lambda: np.random.default_rng(7).bytes(50_000), reason=_UNKNOWN),
    Hostile("zeros", lambda: bytes(1_000_000), reason=_UNKNOWN),
    Hostile("a ZIP", _zip, reason=_UNKNOWN),
    Hostile("a WAV in GZIP", lambda: gzip.compress(song("wav")), reason=_UNKNOWN),
    Hostile("a picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(5000), reason=_UNKNOWN),
    Hostile("a playlist of an address", _playlist("hls", URL), reason=_UNKNOWN),
    Hostile("a playlist of a file", _playlist("hls", "file:///etc/passwd"), reason=_UNKNOWN),
    Hostile("a DASH manifest", _playlist("dash", URL), reason=_UNKNOWN),
    Hostile("a list to join", _playlist("concat", URL), reason=_UNKNOWN),
    Hostile("a session", _playlist("sdp", URL), reason=_UNKNOWN),
    Hostile("a film without sound", lambda: film(False), reason="no audio stream"),
    Hostile("an Ogg's first page", lambda: song("ogg")[:58], reason=_UNKNOWN),
    Hostile("FLAC's four letters", lambda: b"fLaC", reason=_UNKNOWN),
    Hostile(
        "an MP4 without a table",
        lambda: box(b"ftyp", b"M4A ") + box(b"mdat", bytes(9999)),
        reason=_UNKNOWN,
    ),
    Hostile("half an Ogg", lambda: _half("ogg"), reason="damaged: no whole Ogg page"),
    Hostile("half a FLAC", lambda: _half("flac"), reason="damaged after"),
    Hostile("an Ogg's byte changed", lambda: flipped(song("ogg")), reason="damaged"),
    Hostile("a FLAC's byte changed", lambda: flipped(song("flac")), reason="damaged"),
    Hostile(
        "an Ogg of nobody's codec",
        lambda: _renamed_codec(b"\1vorbis", b"\1nobody"),
        reason=_UNKNOWN,
    ),
    Hostile("an Ogg of lacing", lambda: _pages(40, b"\xff" * 255), reason=_UNKNOWN),
    Hostile("silence", lambda: wav(bytes(20_000)), reason="silent throughout"),
    Hostile("no sample", lambda: wav(b""), reason="empty|undecodable"),
    Hostile(
        "no numbers",
        lambda: wav(np.full(9999, np.nan, "<f4").tobytes(), bits=32, kind=3),
        reason="NaN or infinite",
    ),
    Hostile("400 channels", lambda: wav(bytes(400_000), channels=400), reason="400 channels"),
    Hostile("no channel", lambda: wav(bytes(9999), channels=0), reason=_UNKNOWN),
    Hostile("a rate of 0", lambda: wav(bytes(9999), rate_hz=0), reason=_UNKNOWN),
    Hostile("a rate of 4 GHz", lambda: wav(bytes(9999), rate_hz=2**32 - 1), reason="Hz|undecod"),
    Hostile(
        "a FLAC of 655 kHz",
        lambda: _streaminfo(655_350, 8, 2**36 - 1) + bytes(9999),
        reason="655350 Hz|undecodable",
    ),
    Hostile("a bomb", _bomb, reason="longer than the limit of 60 s"),
    Hostile("a promise", lambda: _promising(10 * RATE_HZ), reason="promises 10.0 s"),
    Hostile("4 billion samples", lambda: _mp4(_with_table_of(2**32 - 1, b"stsz")), reason=_UNKNOWN),
    Hostile("boxes in boxes", lambda: _nested(3000), reason=_UNKNOWN),
]

CORPUS = [*ODD, *BAD]
