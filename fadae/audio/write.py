"""Writing sound: float samples -> OGG, FLAC, WAV or MP3, the same bytes every time."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile
from numpy.typing import NDArray

from fadae.audio.pcm import to_pcm
from fadae.errors import UsageError

Format = Literal["ogg", "flac", "wav", "mp3"]
FORMATS: tuple[str, ...] = get_args(Format)

_SUBTYPES = {"ogg": "VORBIS", "flac": "PCM_16", "wav": "PCM_16", "mp3": "MPEG_LAYER_III"}

# libsndfile's Vorbis encoder overflows the stack on one very long write.
_SAMPLES_A_WRITE = 65536


def encode(samples: NDArray[Any], rate_hz: int, format: str) -> bytes:
    """Return samples as a file's bytes, a pure function of the arguments.

    samples: [n] or [n, channels] float in [-1, 1], clipped where louder. FLAC and WAV hold 16
    bits. Raises UsageError on an unknown format or a rate the format has not.

    >>> encode(np.zeros(100, np.float32), 11025, "wav")[:4]
    b'RIFF'
    """
    if format not in _SUBTYPES:
        raise UsageError(f"cannot write audio as {format!r}: choose one of {', '.join(FORMATS)}")
    lossless = format in ("flac", "wav")
    data = to_pcm(samples) if lossless else np.clip(samples, -1, 1).astype(np.float32)
    channels = 1 if data.ndim == 1 else data.shape[1]
    target = io.BytesIO()
    try:
        with soundfile.SoundFile(
            target, "w", rate_hz, channels, _SUBTYPES[format], format=format.upper()
        ) as file:
            for start in range(0, len(data), _SAMPLES_A_WRITE):
                file.write(data[start : start + _SAMPLES_A_WRITE])
    except soundfile.LibsndfileError as error:
        raise UsageError(f"cannot write {rate_hz} Hz audio as {format}: {error}") from error
    return _with_fixed_serial(target.getvalue()) if format == "ogg" else target.getvalue()


def write(path: str | Path, samples: NDArray[Any], rate_hz: int, format: str | None = None) -> None:
    """Write samples to a file; the format is that of its name unless given."""
    target = Path(path)
    target.write_bytes(encode(samples, rate_hz, format or target.suffix.removeprefix(".").lower()))


# A page of an Ogg file: 27 bytes of header, of which 14-17 are the stream's serial number and
# 22-25 the page's checksum, then as many lacing bytes as byte 26 says, then their sum (RFC 3533).
_SERIAL, _CHECKSUM = slice(14, 18), slice(22, 26)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _with_fixed_serial(file: bytes) -> bytes:
    """Return an Ogg file with serial number 1: libsndfile draws it from the clock."""
    out = bytearray(file)
    at = 0
    while at < len(out):
        lacing_end = at + 27 + out[at + 26]
        end = lacing_end + sum(out[at + 27 : lacing_end])
        page = out[at:end]
        page[_SERIAL], page[_CHECKSUM] = b"\1\0\0\0", b"\0\0\0\0"
        page[_CHECKSUM] = _ogg_crc(bytes(page)).to_bytes(4, "little")
        out[at:end] = page
        at = end
    return bytes(out)


def _ogg_crc(data: bytes) -> int:
    """Return Ogg's checksum: zlib's polynomial, bits the other way round, without inversions."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
