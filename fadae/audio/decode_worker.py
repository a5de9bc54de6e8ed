"""The sandbox's child: decodes the files it is handed, one after another, and knows nothing else.

Requests arrive at its standard input, a socket, each with a file's descriptor; replies go to its
standard output: see `fadae.audio.protocol`. Its arguments are the limits, as JSON, and the parts of
the wall to leave out. Before any file of others it decodes a clip of its own, which loads all that
decoding takes, and raises the wall.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import traceback
from typing import IO

from av.error import FFmpegError

from fadae.audio.decode import decode
from fadae.audio.protocol import HEADER, PAYLOAD_BYTES, REQUEST, REQUESTS, Source
from fadae.audio.wall import raise_wall
from fadae.config import Limits
from fadae.errors import OWN_FAULTS, PermanentFailure

# Decoded before anything else, 0.1 s of a square wave in 16 bits: if this fails, so would any file.
_CLIP_RATE_HZ = 8000
_CLIP_SAMPLES = 800
_CLIP = (struct.pack("<h", 8192) * 10 + struct.pack("<h", -8192) * 10) * (_CLIP_SAMPLES // 20)


def main() -> None:
    """Serve requests until the standard input ends, as it does when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a whole terminal; the parent decides
    limits, without = Limits(**json.loads(sys.argv[1])), sys.argv[2:]
    requests = socket.socket(fileno=os.dup(0))
    replies = _Replies(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever a library prints must not enter the replies
    with tempfile.TemporaryFile() as clip:
        try:
            _write_clip(clip)
            _warm_up(clip)
            _seal_standard_streams()
            wall = raise_wall(limits, without)
            check_decoder(clip.fileno())  # through the wall: had it closed too much, here it ends
        except Exception:  # noqa: BLE001 - whatever it is, it is no recording's fault
            replies.text(b"B", traceback.format_exc())
            return
    replies.send(b"W", json.dumps(dataclasses.asdict(wall)).encode())
    while _answer_one(requests, limits, replies):
        pass


def _seal_standard_streams() -> None:
    """Let go of what was inherited: a log's descriptor could be written to and wound back."""
    sealed = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(sealed, number)
    os.close(sealed)


def _answer_one(requests: socket.socket, limits: Limits, replies: _Replies) -> bool:
    """Answer the next request; return whether there may be another."""
    request = _received(requests)
    if request is None:
        return False
    descriptor, rate_hz, keep_damaged = request
    try:
        _serve(descriptor, rate_hz, keep_damaged, limits, replies)
    except PermanentFailure as failure:
        replies.text(b"F", str(failure))
    except MemoryError:
        needed = f"decoding needs more than {limits.memory_bytes >> 20:,} MiB of memory"
        replies.text(b"F", needed)
    except BrokenPipeError:
        return False
    except Exception as error:  # noqa: BLE001 - a hostile file may make any library raise
        # anything; it costs that recording, and the log has where it came from. A file that cannot
        # be opened is an import that came after the wall.
        late = isinstance(error, PermissionError) and not isinstance(error, FFmpegError)
        if late or isinstance(error, OWN_FAULTS):
            replies.text(b"B", traceback.format_exc())
            return False
        replies.text(b"T", traceback.format_exc())
        replies.text(b"F", f"undecodable: {error!r}")
    finally:
        os.close(descriptor)
    return True


def _received(requests: socket.socket) -> tuple[int, int, bool] | None:
    """Return the next request's descriptor, rate and whether damage may stay; None at the end."""
    asked, descriptors, _, _ = socket.recv_fds(requests, REQUEST.size, 1)
    if not asked:
        return None
    (descriptor,) = descriptors
    rate_hz, keep_damaged = REQUEST.unpack(asked)
    return descriptor, rate_hz, keep_damaged


def _serve(
    descriptor: int, rate_hz: int, keep_damaged: bool, limits: Limits, replies: _Replies
) -> None:
    source = Source()
    blocks = decode(descriptor, rate_hz, limits, keep_damaged=keep_damaged, source=source)
    for pcm in blocks:
        data = pcm.astype("<i2", copy=False).tobytes()
        for start in range(0, len(data), PAYLOAD_BYTES):
            replies.send(b"P", data[start : start + PAYLOAD_BYTES])
    replies.send(b"E", json.dumps(source.to_dict()).encode())


class _Replies:
    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def send(self, kind: bytes, payload: bytes) -> None:
        self._target.write(HEADER.pack(kind, len(payload)))
        self._target.write(payload)
        self._target.flush()

    def text(self, kind: bytes, text: str) -> None:
        """Send a text, its end if it is too long: there a trace says what it was."""
        self.send(kind, text.encode("utf-8", "replace")[-PAYLOAD_BYTES:])


def _write_clip(target: IO[bytes]) -> None:
    form = struct.pack("<HHIIHH", 1, 1, _CLIP_RATE_HZ, 2 * _CLIP_RATE_HZ, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(_CLIP)) + _CLIP
    target.write(b"RIFF" + struct.pack("<I", len(body)) + body)
    target.flush()


def _warm_up(clip: IO[bytes]) -> None:
    """Load all that a request takes, a failing one too: behind the wall nothing can be loaded."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, REQUESTS)
    with ours, theirs:
        socket.send_fds(ours, [REQUEST.pack(_CLIP_RATE_HZ, False)], [clip.fileno()])
        request = _received(theirs)
    assert request is not None
    check_decoder(request[0])
    os.close(request[0])
    with tempfile.TemporaryFile() as text:
        text.write(b"no audio")
        text.flush()
        try:
            for _ in decode(text.fileno(), _CLIP_RATE_HZ):
                pass
        except PermanentFailure:
            traceback.format_exc()


def check_decoder(clip: int) -> None:
    """Decode the clip from its descriptor; raises whatever is wrong here."""
    pcm = b"".join(block.tobytes() for block in decode(clip, _CLIP_RATE_HZ))
    resampled = sum(len(block) for block in decode(clip, 2 * _CLIP_RATE_HZ))
    if pcm != _CLIP or resampled != 2 * _CLIP_SAMPLES:
        raise RuntimeError(
            f"a known clip of {_CLIP_SAMPLES} samples decodes to {len(pcm) // 2} "
            f"at its own rate, {resampled} at twice as much"
        )


if __name__ == "__main__":
    main()
