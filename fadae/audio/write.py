"""Writing sound: float samples -> OGG, FLAC, WAV or MP3, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
import soundfile

from fadae.arrays import Array
from fadae.audio import ogg
from fadae.audio.pcm import to_pcm
from fadae.audio.tags import Tags, id3
from fadae.errors import UsageError

Format = Literal["ogg", "flac", "wav", "mp3"]
FORMATS: tuple[str, ...] = get_args(Format)

_SUBTYPES = {"ogg": "VORBIS", "flac": "PCM_16", "wav": "PCM_16", "mp3": "MPEG_LAYER_III"}

# libsndfile's Vorbis encoder overflows the stack on one very long write.
_SAMPLES_A_WRITE = 65536
_MOST_VORBIS_HZ = 192_000  # above, that encoder ends the process


def encode(samples: Array, rate_hz: int, format: str, tags: Tags | None = None) -> bytes:
    """Return samples as a file's bytes, with tags if given; a pure function of the arguments.

    samples: [n] or [n, channels] float in [-1, 1], clipped where louder. FLAC and WAV hold 16
    bits. Raises UsageError on an unknown format or a rate the format has not.

    >>> encode(np.zeros(100, np.float32), 11025, "wav")[:4]
    b'RIFF'
    """
    target = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    _encode_into(target, [samples], rate_hz, channels, format, tags)
    return _finished(target.getvalue(), format, tags)


def _finished(data: bytes, format: str, tags: Tags | None) -> bytes:
    """Return a file's bytes with what libsndfile does not do as it should."""
    if format == "mp3" and tags is not None:
        return id3(tags) + data
    return ogg.with_fixed_serial(data) if format == "ogg" else data


def write_blocks(
    path: str | Path,
    blocks: Iterable[Array],
    rate_hz: int,
    format: str,
    tags: Tags | None = None,
) -> int:
    """Write samples as they come, blocks [n] of float, to a file; return how many there were.

    Memory stays flat. Raises UsageError as `encode` does, OSError where the file cannot be written.
    """
    target = Path(path)
    with target.open("w+b") as opened:
        samples = _encode_into(opened, blocks, rate_hz, 1, format, tags)
    if format in ("ogg", "mp3"):
        target.write_bytes(_finished(target.read_bytes(), format, tags))
    return samples


def _encode_into(
    target: IO[bytes],
    blocks: Iterable[Array],
    rate_hz: int,
    channels: int,
    format: str,
    tags: Tags | None,
) -> int:
    """Write blocks to an open file; return how many samples there were."""
    if format not in _SUBTYPES:
        raise UsageError(f"cannot write audio as {format!r}: choose one of {', '.join(FORMATS)}")
    if format == "ogg" and rate_hz > _MOST_VORBIS_HZ:
        raise UsageError(f"cannot write {rate_hz} Hz audio as ogg: at most {_MOST_VORBIS_HZ} Hz")
    lossless, samples = format in ("flac", "wav"), 0
    try:
        with soundfile.SoundFile(
            target, "w", rate_hz, channels, _SUBTYPES[format], format=format.upper()
        ) as file:
            if tags is not None and format != "mp3":
                for name, text in tags.fields().items():
                    setattr(file, name, text)
            for block in blocks:
                samples += len(block)
                data = to_pcm(block) if lossless else np.clip(block, -1, 1).astype(np.float32)
                for start in range(0, len(data), _SAMPLES_A_WRITE):
                    file.write(data[start : start + _SAMPLES_A_WRITE])
    except soundfile.LibsndfileError as error:
        raise UsageError(f"cannot write {rate_hz} Hz audio as {format}: {error}") from error
    return samples


def write(
    path: str | Path,
    samples: Array,
    rate_hz: int,
    format: str | None = None,
    tags: Tags | None = None,
) -> None:
    """Write samples to a file; the format is that of its name unless given."""
    target = Path(path)
    kind = format or target.suffix.removeprefix(".").lower()
    target.write_bytes(encode(samples, rate_hz, kind, tags))
