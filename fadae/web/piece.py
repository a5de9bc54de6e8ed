"""Whole recordings to take home: as FLAC, made while it is sent, in memory of a fixed size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from fadae.arrays import Float32
from fadae.audio import flac_stream
from fadae.errors import NoInputError
from fadae.query import Recording, Workspace

BLOCK_SECONDS = 10.0  # held at a time
_NO_NAME = re.compile(r"[^\w .()-]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A recording of one source as a file: its name, and its bytes in parts."""

    name: str
    parts: Iterator[bytes]


def piece(workspace: Workspace, recording_id: str, source: str) -> Piece:
    """Return a whole recording as FLAC, tagged as `Workspace.tags` tells.

    Raises UsageError for an unknown recording, NoInputError where it has no sample.
    """
    recording = workspace.recordings.find(recording_id)
    if not recording.samples:
        raise NoInputError("this recording holds no sound")
    parts = flac_stream(
        _blocks(workspace, recording, source),
        workspace.rate_hz,
        recording.samples,
        workspace.tags(source, recording.id),
    )
    return Piece(file_name(recording.title or recording.file, source), parts)


def _blocks(workspace: Workspace, recording: Recording, source: str) -> Iterator[Float32]:
    rate_hz = workspace.rate_hz
    step = round(BLOCK_SECONDS * rate_hz)
    for start in range(0, recording.samples, step):
        stop = min(start + step, recording.samples)
        yield workspace.audio(recording.id, slice(start / rate_hz, stop / rate_hz), source)


def file_name(title: str, source: str) -> str:
    """Return what a browser calls the file: letters, digits and few signs of a title.

    >>> file_name('Fugue "a"/../b', "original")
    'Fugue _a_.._b (original).flac'
    """
    return _NO_NAME.sub("_", f"{title[:60].strip()} ({source}).flac")


def disposition(name: str) -> str:
    """Return the header that makes an answer a file of this name (RFC 6266)."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
