"""FLAC as it is made: whole recordings go out piece by piece, and none of it is held.

A FLAC file begins with STREAMINFO, 34 bytes that tell among others how many samples follow
(RFC 9639, 8.2). An encoder goes back and fills them in at its end; what has been sent cannot be
gone back to. The number of samples is known beforehand and written at once; the checksum of the
samples and the least and greatest size of a frame stay 0, which means unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import soundfile

from fadae.arrays import Array
from fadae.audio.pcm import to_pcm
from fadae.audio.tags import Tags
from fadae.errors import UsageError

_SAMPLES_AT = 21  # the low half of this byte and the four after it: samples, 36 bits
_HEADER_BYTES = 42  # the magic, a block's header, STREAMINFO


class _Sink:
    """What the encoder takes for its file: keeps what is appended until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = self._end = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: bytes) -> int:
        """Append; what is written elsewhere is the second look at STREAMINFO, which comes late."""
        part = bytes(data)
        if self._at == self._end:
            self._parts.append(part)
            self._end += len(part)
        self._at += len(part)
        return len(part)

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def flac_stream(
    blocks: Iterable[Array], rate_hz: int, samples: int, tags: Tags | None = None
) -> Iterator[bytes]:
    """Yield a 16-bit mono FLAC file in parts, one or none for each block [n] of float.

    `samples`: how many the blocks hold together; ValueError where they hold others. Raises
    UsageError on a rate that FLAC has not.

    >>> import numpy as np
    >>> b"".join(flac_stream([np.zeros(100, np.float32)], 11025, 100))[:4]
    b'fLaC'
    """
    sink, written, head = _Sink(), 0, True
    try:
        with soundfile.SoundFile(sink, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
            for name, value in ({} if tags is None else tags.fields()).items():
                setattr(file, name, value)
            for block in blocks:
                file.write(to_pcm(block))
                written += len(block)
                if data := sink.taken():
                    yield _with_samples(data, samples) if head else data
                    head = False
    except soundfile.LibsndfileError as error:
        raise UsageError(f"cannot write {rate_hz} Hz audio as flac: {error}") from error
    if written != samples:
        raise ValueError(f"{written} samples came where {samples} were promised")
    if data := sink.taken():
        yield _with_samples(data, samples) if head else data


def _with_samples(data: bytes, samples: int) -> bytes:
    """Return a file's beginning with the number of samples in its STREAMINFO."""
    if len(data) < _HEADER_BYTES or samples >= 1 << 36:
        return data
    shared = bytes([data[_SAMPLES_AT] & 0xF0 | samples >> 32])
    counted = shared + (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return data[:_SAMPLES_AT] + counted + data[_SAMPLES_AT + 5 :]
