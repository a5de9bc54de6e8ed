"""The sandbox's child: decodes the files it is told of, one after another, and knows nothing else.

Requests are lines of JSON on its standard input. Replies go to its standard output: a kind byte,
the payload's length as 4 bytes little-endian, the payload. Kinds: P some PCM, E the end with what
was found out (JSON), F a failure's reason (text), B a bug's traceback (text).
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import tempfile
import traceback
from pathlib import Path
from typing import IO

from fadae.audio.decode import decode
from fadae.audio.protocol import HEADER, Source
from fadae.config import Limits
from fadae.errors import OWN_FAULTS, PermanentFailure

# Decoded before anything else, 0.1 s of a square wave in 16 bits: if this fails, so would any file.
_CLIP_RATE_HZ = 8000
_CLIP_SAMPLES = 800


def main() -> None:
    """Serve requests until the standard input ends, as it does when the parent dies."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not enter the replies
    try:
        check_decoder()
    except Exception:  # noqa: BLE001 - whatever it is, it is no recording's fault
        _reply(replies, b"B", traceback.format_exc().encode("utf-8", "replace"))
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _serve(request, replies)
        except PermanentFailure as failure:
            _reply(replies, b"F", str(failure).encode("utf-8", "replace"))
        except MemoryError:
            limit = request["limits"]["memory_bytes"] >> 20
            _reply(replies, b"F", f"decoding needs more than {limit:,} MiB of memory".encode())
        except BrokenPipeError:
            return
        except OWN_FAULTS:
            _reply(replies, b"B", traceback.format_exc().encode("utf-8", "replace"))
            return
        except Exception as error:  # noqa: BLE001 - a hostile file may make any library raise
            # anything; it costs that recording, and the log has where it came from.
            traceback.print_exc()
            _reply(replies, b"F", f"undecodable: {error!r}".encode("utf-8", "replace"))


def check_decoder() -> None:
    """Decode a known clip, from a file as any recording is; raises whatever is wrong here."""
    wave = struct.pack("<h", 8192) * 10 + struct.pack("<h", -8192) * 10
    data = wave * (_CLIP_SAMPLES // 20)
    form = struct.pack("<HHIIHH", 1, 1, _CLIP_RATE_HZ, 2 * _CLIP_RATE_HZ, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    with tempfile.NamedTemporaryFile(prefix="fadae-clip-") as file:
        file.write(b"RIFF" + struct.pack("<I", len(body)) + body)
        file.flush()
        pcm = b"".join(block.tobytes() for block in decode(file.name, _CLIP_RATE_HZ))
        resampled = sum(len(block) for block in decode(file.name, 2 * _CLIP_RATE_HZ))
    if pcm != data or resampled != 2 * _CLIP_SAMPLES:
        raise RuntimeError(
            f"a known clip of {_CLIP_SAMPLES} samples decodes to {len(pcm) // 2} "
            f"at its own rate, {resampled} at twice as much"
        )


def _serve(request: dict[str, object], replies: IO[bytes]) -> None:
    limits = Limits(**request["limits"])  # type: ignore[arg-type]
    _bound_memory(limits.memory_bytes)
    source = Source()
    blocks = decode(
        str(request["path"]),
        int(str(request["rate_hz"])),
        limits,
        keep_damaged=bool(request["keep_damaged"]),
        source=source,
    )
    for pcm in blocks:
        _reply(replies, b"P", pcm.astype("<i2", copy=False).tobytes())
    _reply(replies, b"E", json.dumps(source.to_dict()).encode())


def _reply(replies: IO[bytes], kind: bytes, payload: bytes) -> None:
    replies.write(HEADER.pack(kind, len(payload)) + payload)
    replies.flush()


_baseline_bytes = 0


def _bound_memory(above_start: int) -> None:
    """Let the address space grow by so much above what the libraries took at the start."""
    global _baseline_bytes
    statm = Path("/proc/self/statm")
    if not statm.exists():  # elsewhere than on Linux there is no such bound
        return
    if not _baseline_bytes:
        _baseline_bytes = int(statm.read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _baseline_bytes + above_start
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


if __name__ == "__main__":
    main()
