"""Decoding: a file in any format of the archive -> blocks of int16 mono PCM at one rate.

Whatever the file, memory stays flat and nothing but this one file is read. What cannot be read
is a PermanentFailure with a reason. Runs inside the sandbox; works without it for files one trusts.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import av
import av.error
import numpy as np
import soxr

from fadae.arrays import Float32, Int16
from fadae.audio.pcm import to_pcm
from fadae.audio.protocol import TAG_CHARACTERS, TAGS, Source
from fadae.audio.sections import Sections, View
from fadae.config import Limits
from fadae.errors import PermanentFailure

# Demuxers of audio and of films with sound; none that names other files or hosts (hls, dash,
# concat, sdp, image2 ...). FFmpeg follows such names from inside a file.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,matroska,webm,"
    "mov,mp4,m4a,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,oma,rm,shn,sox,tak,truehd,tta,voc,w64,wav,wv"
)
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}

# Tags are hostile text and often no UTF-8. From version 19 on, PyAV takes them as they come.
_open: Any = av.open
if int(av.__version__.split(".")[0]) < 19:
    _open = functools.partial(av.open, metadata_errors="replace")

# In samples at the source's rate: small enough for flat memory, large enough that Python's part
# is small. Fixed, so that the resampler sees the same blocks and gives the same bytes anywhere.
BLOCK_SAMPLES = 65536

# FFmpeg's sample formats (planar ones end in p) and what their full scale is.
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


def decode(
    file: str | Path | int,
    rate_hz: int,
    limits: Limits | None = None,
    *,
    keep_damaged: bool = False,
    source: Source | None = None,
) -> Iterator[Int16]:
    """Yield a file's first audio stream as blocks [n] int16, mono by mean, at rate_hz.

    file: a path, or the descriptor of a file that is open for reading and stays open.
    keep_damaged: end at the first damage instead of failing. `source` is filled in on the way.

    Raises PermanentFailure where the file is undecodable, damaged, empty, silent throughout, holds
    NaN or infinite samples or goes beyond the limits, at the block that shows it.
    """
    limits, source = limits or Limits(), source or Source()
    resampler = _Resampler(rate_hz)
    loud = False
    with _opened(file) as descriptor:
        for mono, source_rate_hz in _mono_blocks(descriptor, limits, keep_damaged, source):
            for pcm in resampler.push(mono, source_rate_hz):
                loud = loud or bool(pcm.any())
                yield pcm
    for pcm in resampler.finish():
        loud = loud or bool(pcm.any())
        yield pcm
    if not source.samples:
        raise PermanentFailure("empty: no audio sample in the file")
    if not loud:
        raise PermanentFailure("silent throughout")


@contextlib.contextmanager
def _opened(file: str | Path | int) -> Iterator[int]:
    if isinstance(file, int):
        yield file
        return
    with Path(file).open("rb") as opened:
        yield opened.fileno()


class _Resampler:
    """Mono float32 blocks -> int16 blocks at one rate; a stream may change its rate midway."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._source_rate_hz = 0
        self._stream: Any = None

    def push(self, mono: Float32, source_rate_hz: int) -> Iterator[Int16]:
        if source_rate_hz != self._source_rate_hz:
            yield from self.finish()
            self._source_rate_hz = source_rate_hz
            if source_rate_hz != self._rate_hz:
                self._stream = soxr.ResampleStream(
                    source_rate_hz, self._rate_hz, 1, dtype="float32", quality="HQ"
                )
        resampled = mono if self._stream is None else self._stream.resample_chunk(mono)
        if len(resampled):
            yield to_pcm(resampled)

    def finish(self) -> Iterator[Int16]:
        """Yield what the filter still holds."""
        if self._stream is not None:
            rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
            self._stream = None
            if len(rest):
                yield to_pcm(rest)


def _mono_blocks(
    descriptor: int, limits: Limits, keep_damaged: bool, source: Source
) -> Iterator[tuple[Float32, int]]:
    """Yield (mono [n] float32, rate) of the first audio stream, checked against the limits."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise PermanentFailure("empty: a file of 0 bytes")
    if size > limits.file_bytes:
        raise PermanentFailure(f"a file of {size:,} bytes, more than {limits.file_bytes:,}")
    sections = Sections.of(descriptor)
    damaged_at = sections.damaged_at
    if damaged_at == 0:  # not even one whole page: let the decoder say what it is
        sections, damaged_at = Sections((((0, size),),)), None
    if damaged_at is not None and not keep_damaged:
        raise PermanentFailure(f"damaged: no whole Ogg page at byte {damaged_at:,} of {size:,}")
    seconds = 0.0
    for block, rate_hz, channels in _linked(descriptor, sections, limits, keep_damaged, source):
        source.rate_hz, source.channels = source.rate_hz or rate_hz, source.channels or channels
        source.samples += len(block)
        seconds += len(block) / rate_hz
        if seconds > limits.decoded_seconds:
            raise PermanentFailure(f"longer than the limit of {limits.decoded_seconds:,.0f} s")
        if not np.isfinite(block).all():
            raise PermanentFailure(f"NaN or infinite samples before {seconds:.1f} s")
        yield block, rate_hz
    if damaged_at is not None:
        source.damage = source.damage or f"no whole Ogg page at byte {damaged_at:,} of {size:,}"


def _linked(
    descriptor: int, sections: Sections, limits: Limits, keep_damaged: bool, source: Source
) -> Iterator[tuple[Float32, int, int]]:
    """Yield the blocks of all sections, up to the first damage."""
    for number, parts in enumerate(sections.sections, 1):
        try:
            with View(descriptor, parts) as file:
                yield from _blocks(file, limits, keep_damaged, source)
        except _UndecodableFailure as error:
            where = f"in part {number} of {len(sections.sections)}: {error}"
            if number == 1:
                raise
            if not keep_damaged:
                raise PermanentFailure(f"damaged {where}") from error
            source.damage = where
        if source.damage:
            return


class _UndecodableFailure(PermanentFailure):
    """Not even the beginning of a section can be decoded."""


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError(f"the file asks to open {url!r}")


def _blocks(
    file: View, limits: Limits, keep_damaged: bool, source: Source
) -> Iterator[tuple[Float32, int, int]]:
    """Yield (mono [n] float32, rate, channels): n is BLOCK_SAMPLES but where the format changes."""
    try:
        container = _open(file, io_open=_refuse, container_options=_OPTIONS, buffer_size=1 << 18)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _UndecodableFailure(f"undecodable: {_reason(error)}") from error
    with container:
        if not container.streams.audio:
            raise _UndecodableFailure("undecodable: no audio stream in the file")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise _UndecodableFailure("undecodable: no decoder for its first audio stream")
        source.tags = source.tags or _tags(stream.metadata, container.metadata)
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "flac":  # whose frames are checksummed, if one asks
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        _check(stream.codec_context.channels, stream.codec_context.sample_rate, limits)
        frames = _frames(container, stream, keep_damaged, source)
        yield from _gathered(frames, limits)


def _tags(*metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags that are looked at, the later metadata's first, in a fixed order."""
    found = {key.casefold(): text for some in metadata for key, text in some.items()}
    texts = {name: found[name][:TAG_CHARACTERS] for name in TAGS if found.get(name)}
    # PyAV hands on what is no UTF-8 in one way or another, by its version.
    return {
        name: text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, text in texts.items()
    }


def _check(channels: int, rate_hz: int, limits: Limits) -> None:
    if channels > limits.channels:
        raise PermanentFailure(f"{channels} channels, more than {limits.channels}")
    if rate_hz > limits.source_rate_hz:
        raise PermanentFailure(f"{rate_hz} Hz, more than {limits.source_rate_hz}")


def _frames(container: Any, stream: Any, keep_damaged: bool, source: Source) -> Iterator[Any]:
    """Yield decoded frames up to the first damage, which fails the recording or ends it."""
    seconds, why = 0.0, ""
    try:
        for packet in _packets(container, stream):
            for frame in packet.decode():
                if frame.samples:
                    seconds += frame.samples / frame.sample_rate
                    yield frame
    except av.error.FFmpegError as error:
        why = _reason(error)
    promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if why and not seconds:
        raise _UndecodableFailure(f"undecodable: {why}")
    if not why and container.format.name == "flac" and seconds < promised - 0.01:
        # FFmpeg passes over what is no FLAC frame. Other formats' headers lie too often: editors
        # leave them as they were.
        why = f"its header promises {promised:.1f} s"
    if not why or seconds >= promised > 0:  # junk behind the last frame is no damage
        return
    if not keep_damaged:
        raise PermanentFailure(f"damaged after {seconds:.1f} s: {why}")
    source.damage = f"after {seconds:.1f} s: {why}"


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield a stream's packets, and last the one that has its decoder give out what it holds."""
    try:
        yield from container.demux(stream)
    except IndexError:
        # PyAV ends every stream in their order, those too that came up midway, as they do in
        # MPEG-TS, and these it does not know. The stream's own end was before.
        return


def _gathered(frames: Iterator[Any], limits: Limits) -> Iterator[tuple[Float32, int, int]]:
    """Gather small frames into blocks; a change of format or rate ends a block early."""
    fifo, shape = av.AudioFifo(), None
    for frame in frames:
        channels, rate_hz = frame.layout.nb_channels, frame.sample_rate
        if (channels, rate_hz, frame.format.name) != shape:
            yield from _drained(fifo, partial=True)
            _check(channels, rate_hz, limits)
            fifo, shape = av.AudioFifo(), (channels, rate_hz, frame.format.name)
        frame.pts = None  # gaps in time stamps are the container's matter
        fifo.write(frame)
        yield from _drained(fifo, partial=False)
    yield from _drained(fifo, partial=True)


def _drained(fifo: Any, *, partial: bool) -> Iterator[tuple[Float32, int, int]]:
    while frame := fifo.read(BLOCK_SAMPLES):
        yield _mono(frame), frame.sample_rate, frame.layout.nb_channels
    if partial and (frame := fifo.read(0, partial=True)):
        yield _mono(frame), frame.sample_rate, frame.layout.nb_channels


def _mono(frame: Any) -> Float32:
    """Return the mean of a frame's channels, [n] float32.

    Adding planes is 10 times as fast as ndarray.mean(axis=0) over two rows.
    """
    block, channels = frame.to_ndarray(), frame.layout.nb_channels
    planes = block if frame.format.is_planar else block.reshape(-1, channels).T
    kind = frame.format.name.removesuffix("p")
    total: Float32 = planes[0].astype(np.float32)
    for plane in planes[1:]:
        total += plane
    if kind == "u8":
        total -= 128.0 * channels
    total *= np.float32(1.0 / (_FULL_SCALE[kind] * channels))
    return total


def _reason(error: Exception) -> str:
    """Return an FFmpeg error's text without the path, which is a temporary one."""
    with contextlib.suppress(AttributeError):
        return str(error.strerror or error)  # type: ignore[attr-defined]
    return str(error)
