"""Everyday codecs: real encoders, their true bytes, any rate."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest

from fadae.audio import codecs, from_pcm
from fadae.audio.codecs import SETTINGS, CodecSetting
from tests.synthetic import music

RATE_HZ = 11025
SECONDS = 3


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: f"{one.name} {one.label}")
def test_a_file_decodes_and_its_bytes_are_counted(setting: CodecSetting) -> None:
    sound = from_pcm(music(SECONDS))
    made = codecs.encode(setting, sound, RATE_HZ)
    decoded = codecs.decode(made.file, RATE_HZ)
    assert decoded.dtype == np.float32
    assert len(sound) - 2 <= len(decoded) <= len(sound) + 0.2 * RATE_HZ
    assert np.square(decoded).mean() == pytest.approx(np.square(sound).mean(), rel=0.5)
    opened: Any = av.open(io.BytesIO(made.file))
    with opened as container:
        packets = [bytes(packet) for packet in container.demux(container.streams.audio[0])]
    # AAC's packets come out of a file of ADTS with the 7 bytes that frame each of them.
    framing = 7 * sum(map(bool, packets)) if setting.name == "AAC" else 0
    assert made.payload_bytes == sum(map(len, packets)) - framing
    assert made.payload_bytes <= len(made.file)
    if setting.name != "Vorbis":
        assert made.payload_bytes == pytest.approx(125 * setting.asked * SECONDS, rel=0.35)


def test_a_codec_asked_for_more_takes_more() -> None:
    sound = from_pcm(music(SECONDS))
    for name in ("Opus", "AAC", "MP3", "Vorbis"):
        sizes = [len(codecs.encode(s, sound, RATE_HZ).file) for s in SETTINGS if s.name == name]
        assert sizes == sorted(set(sizes)) and len(sizes) > 1


@pytest.mark.parametrize("rate_hz", [7000, 44100, 96000])
@pytest.mark.parametrize("name", ["Opus", "AAC", "MP3"])
def test_a_rate_that_a_codec_has_not_is_resampled(name: codecs.CodecName, rate_hz: int) -> None:
    tone = np.sin(2 * np.pi * 440 / rate_hz * np.arange(rate_hz)).astype(np.float32) / 2
    made = codecs.encode(CodecSetting(name, 32), tone, rate_hz)
    decoded = codecs.decode(made.file, rate_hz)
    middle = decoded[len(decoded) // 2 :][: rate_hz // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * rate_hz / len(middle) == pytest.approx(440, abs=4)
