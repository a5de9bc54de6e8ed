"""The decoder behind a wall: a child process, so that a crash costs one recording.

A plain subprocess spoken to over pipes: Dask's workers are daemons and may not have children of
multiprocessing. It lives as long as its worker, so that start-up is paid once; it is started anew
after a crash or a time-out. It gets no credentials and bounded memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from fadae.audio.protocol import HEADER, Source
from fadae.config import Limits
from fadae.errors import OwnFaultError, PermanentFailure, TransientFailure

# What the child needs of the environment; above all, no key to any storage.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

# One thread; and freed blocks kept for the next block instead of given back to the system, which
# would have to zero their pages again: 15 % of decoding. Both thresholds are glibc's, in bytes.
_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}

# Signals by which a decoder kills itself. Any other came from outside: the recording is innocent.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


class Sandbox:
    """One decoder process, for one thread at a time."""

    def __init__(self) -> None:
        """Nothing is started before the first recording."""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    def decode(
        self,
        path: str | Path,
        rate_hz: int,
        limits: Limits,
        write: Callable[[bytes], object],
        *,
        keep_damaged: bool = False,
    ) -> Source:
        """Hand a file's PCM, int16 little-endian mono at rate_hz, to write(); return what it was.

        Raises PermanentFailure as decode() does, and where the decoder crashed or took too long;
        TransientFailure where something else killed it; OwnFaultError where nothing can be
        decoded here at all, or a fault of the program's own showed up.
        """
        request = {
            "path": str(Path(path).absolute()),
            "rate_hz": rate_hz,
            "limits": dataclasses.asdict(limits),
            "keep_damaged": keep_damaged,
        }
        try:
            child = self._asked(json.dumps(request).encode() + b"\n")
            return self._answer(_Replies(child, limits), write)
        except EOFError as error:
            raise self._died() from error
        except _TooLate as late:
            self.close()
            raise PermanentFailure(str(late)) from None
        except PermanentFailure:
            raise
        except BaseException:  # write() failed, or we are told to stop: its answer is unread
            self.close()
            raise

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _asked(self, request: bytes) -> subprocess.Popen[bytes]:
        """Return the child with the request sent; one that died idle is replaced."""
        for _ in range(2):
            child = self._running()
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(request)
                return child
            self.close()
        raise EOFError

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self.close()  # killed while idle: no recording's fault
        if self._child is None:
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
            environment |= _SETTINGS
            self._child = subprocess.Popen(
                [sys.executable, "-m", "fadae.audio.decode_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                bufsize=0,
            )
        return self._child

    @staticmethod
    def _answer(replies: _Replies, write: Callable[[bytes], object]) -> Source:
        for kind, payload in replies:
            if kind == b"P":
                write(payload)
            elif kind == b"E":
                return Source(**json.loads(payload))
            elif kind == b"B":
                trace = payload.decode("utf-8", "replace")
                raise OwnFaultError(f"the decoder failed by a fault of its own:\n{trace}")
            else:
                raise PermanentFailure(payload.decode("utf-8", "replace"))
        raise EOFError

    def _died(self) -> Exception:
        if self._child is None:
            return TransientFailure("the decoder does not start")
        status = self._child.wait()
        self.close()
        if -status in _CRASHES:
            return PermanentFailure(f"the decoder crashed ({signal.Signals(-status).name})")
        if status > 0:  # Python's own end by an exception that nobody caught
            return OwnFaultError(
                f"the decoder ended with exit code {status}; its trace is in the log above"
            )
        how = signal.Signals(-status).name if status else "exit code 0"
        return TransientFailure(f"the decoder was killed ({how})")


class _TooLate(Exception):  # noqa: N818 - caught a few lines above, never seen outside
    """The child did not answer in time."""


class _Replies:
    """The child's replies as (kind, payload), each within the deadlines."""

    def __init__(self, child: subprocess.Popen[bytes], limits: Limits) -> None:
        assert child.stdout is not None
        self._pipe = child.stdout
        self._limits = limits
        self._poll = select.poll()  # select() knows no descriptor above 1023
        self._poll.register(self._pipe, select.POLLIN)
        self._deadline = time.monotonic() + limits.wall_seconds

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            kind, length = HEADER.unpack(self._read(HEADER.size))
            yield kind, self._read(length)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise _TooLate(f"decoding took longer than {self._limits.wall_seconds:,.0f} s")
            wait = min(left, self._limits.stall_seconds)
            if not self._poll.poll(1000 * wait):
                if wait < left:
                    raise _TooLate(f"no PCM for {self._limits.stall_seconds:,.0f} s of decoding")
                continue
            part = os.read(self._pipe.fileno(), count - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


_idle: list[Sandbox] = []


@contextlib.contextmanager
def borrowed() -> Iterator[Sandbox]:
    """Lend this process's sandbox: one is kept for each thread that decodes at a time."""
    try:
        sandbox = _idle.pop()  # atomic in CPython, as append is
    except IndexError:
        sandbox = Sandbox()
    try:
        yield sandbox
    finally:
        _idle.append(sandbox)


@contextlib.contextmanager
def decoded(path: str | Path, rate_hz: int) -> Iterator[IO[bytes]]:
    """Yield a temporary file of an audio file's PCM, int16 little-endian mono at rate_hz.

    From its beginning, all of it written. Raises as `Sandbox.decode` does.
    """
    with tempfile.TemporaryFile() as pcm:
        with borrowed() as sandbox:
            sandbox.decode(path, rate_hz, Limits(), pcm.write)
        pcm.flush()
        pcm.seek(0)
        yield pcm
