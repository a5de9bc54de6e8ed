"""Encoding: what is written reads back, and twice the same bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fadae.audio import write
from fadae.errors import UsageError

RATE_HZ = 11025


def tone(seconds: float = 8.0, channels: int = 1) -> np.ndarray:
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    mono = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    return mono if channels == 1 else np.stack([mono] * channels, axis=1)


@pytest.mark.parametrize("format", write.FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_reads_back(format: str, channels: int) -> None:
    samples = tone(channels=channels)
    read, rate_hz = soundfile.read(io.BytesIO(write.encode(samples, RATE_HZ, format)))
    assert rate_hz == RATE_HZ
    assert read.shape[1:] == samples.shape[1:]
    assert np.sqrt(np.mean(read**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    if format != "mp3":  # which pads at both ends
        assert len(read) == len(samples)


@pytest.mark.parametrize("format", write.FORMATS)
def test_writes_the_same_bytes_every_time(format: str) -> None:
    assert write.encode(tone(), RATE_HZ, format) == write.encode(tone(), RATE_HZ, format)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_lossless_formats_hold_the_pcm_and_clip(format: str) -> None:
    samples = np.array([0, 0.25, 2.0, -2.0] * 100, np.float32)
    read, _ = soundfile.read(io.BytesIO(write.encode(samples, RATE_HZ, format)), dtype="int16")
    assert read[:4].tolist() == [0, 8192, 32767, -32767]


def test_a_file_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    write.write(tmp_path / "tone.FLAC", tone(), RATE_HZ)
    assert (tmp_path / "tone.FLAC").read_bytes()[:4] == b"fLaC"


def test_an_unknown_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="ogg, flac, wav, mp3"):
        write.encode(tone(), RATE_HZ, "aiff")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_blocks_make_the_file_that_all_samples_make(kind: str, tmp_path: Path) -> None:
    x = np.sin(np.arange(30_000) / 20).astype(np.float32)
    blocks = (x[start : start + 10_000] for start in range(0, len(x), 10_000))
    assert write.write_blocks(tmp_path / "x", blocks, 11025, kind) == len(x)
    samples, rate_hz = soundfile.read(tmp_path / "x", dtype="float32")
    assert rate_hz == 11025 and len(samples) == len(x)
    whole, _ = soundfile.read(io.BytesIO(write.encode(x, 11025, kind)), dtype="float32")
    assert np.abs(samples - whole).max() < (1e-6 if kind != "ogg" else 0.05)
