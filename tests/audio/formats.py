"""Containers and codecs of an archive, each written by FFmpeg's own encoder through PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.audio.sounds import music

_open: Any = av.open  # whose types do not tell an audio stream by its codec's name

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
    samples = music(seconds, 48_000, 2)
    with _open(str(path), "w", format=container) as target:
        stream = target.add_stream(codec, rate=48_000, layout="stereo")
        stream.bit_rate = 128_000
        stream.options = {"strict": "experimental"}  # FFmpeg's own Vorbis
        kind = stream.codec_context.codec.audio_formats[0]
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = 48_000, 0
        to_kind = av.AudioResampler(format=kind, layout="stereo", rate=48_000)
        parts = [*to_kind.resample(frame), *to_kind.resample(None)]
        packets = [packet for part in parts for packet in stream.encode(part)]
        for packet in (*packets, *stream.encode(None)):
            target.mux(packet)
    return path
