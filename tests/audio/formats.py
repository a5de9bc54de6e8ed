"""Containers and codecs of an archive, and what else their files hold: tags and pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.audio.sounds import music

_open: Any = av.open  # whose types do not tell an audio stream by its codec's name

PICTURE = bytes(range(256)) * (2**16 - 1)  # nearly 16 MB, the most that FLAC's lengths can say

PAIRS = [
    ("ogg", "vorbis"),
    ("ogg", "libopus"),
    ("ogg", "flac"),
    ("mp3", "libmp3lame"),
    ("flac", "flac"),
    ("wav", "pcm_s16le"),
    ("wav", "adpcm_ms"),
    ("aiff", "pcm_s24be"),
    ("au", "pcm_f32be"),
    ("mp4", "aac"),
    ("mov", "alac"),
    ("adts", "aac"),
    ("matroska", "pcm_f32le"),
    ("webm", "libopus"),
    ("asf", "wmav2"),
    ("wv", "wavpack"),
    ("ac3", "ac3"),
    ("mpegts", "mp2"),
]


def write_pair(path: Path, container: str, codec: str, seconds: float = 1.0) -> Path:
    """Write stereo music at 48 kHz."""
    path.write_bytes(encoded(codec, container, music(seconds, 48_000, 2), 48_000))
    return path


def encoded(codec: str, container_name: str, samples: NDArray[Any], rate_hz: int) -> bytes:
    """Return samples [n] or [n, 2] float32 as a file of FFmpeg's."""
    target = io.BytesIO()
    planes = np.ascontiguousarray(np.atleast_2d(samples.T))
    layout = {1: "mono", 2: "stereo"}[len(planes)]
    with _open(target, "w", format=container_name) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 96_000  # WMA has no default that it takes
        stream.options = {"strict": "experimental"}  # its own Vorbis is
        taken = stream.codec_context.format.name
        resampler = av.AudioResampler(taken, layout, rate_hz, stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux([packet for packet in stream.encode(None) if packet.size])
    return target.getvalue()


def id3(body: bytes, version: int = 3) -> bytes:
    return b"ID3" + bytes([version, 0, 0]) + syncsafe(len(body)) + body


def syncsafe(length: int) -> bytes:
    return bytes(length >> shift & 127 for shift in (21, 14, 7, 0))


def id3_frame(name: bytes, body: bytes, version: int = 3) -> bytes:
    size = syncsafe(len(body)) if version == 4 else len(body).to_bytes(4, "big")
    return name + size + b"\0\0" + body


def flac_with_pictures(sound: bytes, count: int) -> bytes:
    """Return a FLAC with pictures before its frames; libFLAC's first block is STREAMINFO."""
    head, rest = bytearray(sound[: 4 + 4 + 34]), sound[4 + 4 + 34 :]
    is_last, head[4] = head[4] & 0x80, head[4] & 0x7F
    pictures = (b"\x06" + len(PICTURE).to_bytes(3, "big") + PICTURE) * (count - 1)
    last = bytes([6 | is_last]) + len(PICTURE).to_bytes(3, "big") + PICTURE
    return bytes(head) + pictures + last + rest


def box(kind: bytes, *inside: bytes) -> bytes:
    """Return an MP4 box."""
    body = b"".join(inside)
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def mp4_with_pictures(sound: bytes, count: int) -> bytes:
    """Return an MP4 whose `moov`, at its end, has so many covers, and a title before and after."""

    def text(kind: bytes, value: bytes) -> bytes:
        return box(kind, box(b"data", b"\0\0\0\1" + bytes(4), value))

    at = sound.index(b"moov") - 4
    moov = sound[at + 8 :].replace(b"udta", b"free")  # the encoder's own tags
    picture = box(b"data", b"\0\0\0\x0d" + bytes(4), b"\xff\xd8\xff", PICTURE)
    covers = box(b"covr", *[picture] * count)
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = box(b"ilst", text(b"\xa9nam", b"Title"), covers, text(b"\xa9ART", b"Artist"))
    meta = box(b"udta", box(b"meta", bytes(4), handler, tags))
    return sound[:at] + box(b"moov", moov, meta)
