"""Everyday audio codecs, each by its own encoder: what `fadae compare` stands beside byte codes.

Opus, AAC and MP3 are FFmpeg's, through PyAV. Vorbis is libvorbis, through libsndfile: FFmpeg's own
Vorbis encoder takes stereo only and spends twice the bytes. A file is what the codec's leanest
everyday container makes of it: no tags, long pages.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np
import soundfile
import soxr

from fadae.arrays import Float32

CodecName = Literal["Opus", "AAC", "MP3", "Vorbis"]
_open: Any = av.open  # whose types do not tell an audio stream by its codec's name
_ROUND_TRIP = "VHQ"  # resampling there and back: 50 dB at 11025 Hz, far above these codecs
_VORBIS_PIECE = 65536  # samples a write: one very long one overflows libsndfile's stack


@dataclass(frozen=True)
class Compressed:
    """A codec's file, and how many of its bytes are packets of sound."""

    file: bytes
    payload_bytes: int


@dataclass(frozen=True)
class _Encoder:
    """How FFmpeg is asked for a codec."""

    codec: str
    container: str
    sample_format: str
    rates_hz: tuple[int, ...]  # those to choose from
    options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()

    def rate_for(self, rate_hz: int) -> int:
        """Return the rate to encode at: the next one up that the codec has, else its greatest."""
        return min((one for one in self.rates_hz if one >= rate_hz), default=max(self.rates_hz))


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_ENCODERS: dict[str, _Encoder] = {
    # Opus works at 48 kHz inside, whatever it is given. Delay is of no matter here, so packets
    # are as long as they can be: 60 ms save a fifth of the bytes at 6 kbps.
    "Opus": _Encoder(
        "libopus",
        "ogg",
        "flt",
        (48000,),
        (("application", "audio"), ("frame_duration", "60")),
        (("page_duration", "20000000"),),
    ),
    "AAC": _Encoder("aac", "adts", "fltp", _MPEG_RATES),
    "MP3": _Encoder(
        "libmp3lame",
        "mp3",
        "fltp",
        _MPEG_RATES,
        container_options=(("write_xing", "0"), ("id3v2_version", "0")),
    ),
}


@dataclass(frozen=True)
class CodecSetting:
    """A codec, and what it is asked for: kbit/s, or for Vorbis a quality from 0 (best) to 1."""

    name: CodecName
    asked: float

    @property
    def label(self) -> str:
        """What is asked for, in words.

        >>> CodecSetting("Opus", 6).label, CodecSetting("Vorbis", 1).label
        ('6 kbps asked', 'quality 0.0')
        """
        if self.name == "Vorbis":
            return f"quality {1 - self.asked:.1f}"
        return f"{self.asked:g} kbps asked"

    @property
    def encoder(self) -> str:
        """Which encoder and which container, with the library's version."""
        if self.name == "Vorbis":
            return f"libvorbis of libsndfile {soundfile.__libsndfile_version__}, in ogg"
        asked = _ENCODERS[self.name]
        return f"{asked.codec} of FFmpeg in PyAV {av.__version__}, in {asked.container}"


# Rates near those of byte codes of 128, 256 and 512 bytes a row: 3, 6 and 12 kbps. None of these
# codecs goes below 6; libvorbis takes 20 at 11025 Hz whatever it is asked for.
SETTINGS: tuple[CodecSetting, ...] = (
    *(CodecSetting("Opus", kbps) for kbps in (6, 8, 12, 16, 24)),
    *(CodecSetting("AAC", kbps) for kbps in (8, 12, 16, 24)),
    *(CodecSetting("MP3", kbps) for kbps in (8, 16, 24)),
    *(CodecSetting("Vorbis", level) for level in (1.0, 0.8)),
)


def encode(setting: CodecSetting, samples: Float32, rate_hz: int) -> Compressed:
    """Return mono samples [n] in [-1, 1] as the codec's file, a pure function but for the library.

    Resampled first where the codec does not have the rate.
    """
    if setting.name == "Vorbis":
        return _encode_vorbis(setting, samples, rate_hz)
    encoder = _ENCODERS[setting.name]
    rate = encoder.rate_for(rate_hz)
    target, payload = io.BytesIO(), 0
    with _open(
        target, "w", format=encoder.container, options=dict(encoder.container_options)
    ) as container:
        stream = container.add_stream(encoder.codec, rate=rate, layout="mono")
        stream.bit_rate = round(1000 * setting.asked)
        stream.thread_count = 1
        stream.options = dict(encoder.options)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(_resampled(samples, rate_hz, rate)[None]),
            format=encoder.sample_format,
            layout="mono",
        )
        frame.sample_rate, frame.pts = rate, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            payload += packet.size
            container.mux(packet)
    return Compressed(target.getvalue(), payload)


def decode(file: bytes, rate_hz: int) -> Float32:
    """Return the samples of a file that `encode` made, at a rate; later than they went in.

    For files of one's own: others belong into the sandbox.
    """
    with _open(io.BytesIO(file)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        samples = np.concatenate([np.zeros(0, np.float32), *_decoded(container)])
    return _resampled(samples, rate, rate_hz)


def _decoded(container: Any) -> Iterator[Float32]:
    to_float = av.AudioResampler(format="fltp", layout="mono")
    for frame in container.decode(container.streams.audio[0]):
        for part in to_float.resample(frame):
            yield part.to_ndarray()[0]


def _encode_vorbis(setting: CodecSetting, samples: Float32, rate_hz: int) -> Compressed:
    target = io.BytesIO()
    with soundfile.SoundFile(
        target,
        "w",
        rate_hz,
        1,
        "VORBIS",
        format="OGG",
        compression_level=setting.asked,
    ) as file:
        for start in range(0, len(samples), _VORBIS_PIECE):
            file.write(samples[start : start + _VORBIS_PIECE])
    with _open(io.BytesIO(target.getvalue())) as container:
        payload = sum(packet.size for packet in container.demux(container.streams.audio[0]))
    return Compressed(target.getvalue(), payload)


def _resampled(samples: Float32, from_hz: int, to_hz: int) -> Float32:
    if from_hz == to_hz:
        return samples
    resampled: Float32 = soxr.resample(samples, from_hz, to_hz, quality=_ROUND_TRIP)
    return resampled
