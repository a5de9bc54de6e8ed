"""The decoder behind a wall: a child process, so that a crash costs one recording.

A plain subprocess spoken to over a socket and a pipe: Dask's workers are daemons and may not have
children of multiprocessing. It lives as long as its worker, so that start-up is paid once; it is
started anew after a crash or a time-out. It is handed open files, and nothing that it answers is
believed: `fadae.audio.wall` has what it cannot do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from fadae.audio.protocol import HEADER, PAYLOAD_BYTES, REQUEST, REQUESTS, Source, Wall
from fadae.config import Limits
from fadae.errors import OwnFaultError, PermanentFailure, TransientFailure

log = logging.getLogger("fadae.audio")

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

# Signals by which a decoder ends itself. Any other came from outside: the recording is innocent.
_CRASHES = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,  # the wall's answer to a system call that decoding does not take
}
_START_SECONDS = 600.0  # until a child says that it is there: a busy disk is no recording's fault
_END_SECONDS = 60.0  # from the end of an answer to that of its process
_SPARE_SECONDS = 60.0  # of PCM above the limit: a resampler rounds up
_REASON_CHARACTERS = 2_000


class Sandbox:
    """One decoder process, for one thread at a time."""

    def __init__(self) -> None:
        """Nothing is started before the first recording."""
        self._child: _Child | None = None

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.process.pid if self._child else None

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
        with _opened(path) as descriptor, self._minded():
            child = self._asked(REQUEST.pack(rate_hz, keep_damaged), descriptor, limits)
            with child.at_work():
                return _answer(_Replies(child, limits), write, rate_hz, limits)

    def wall(self) -> Wall:
        """Return what holds the child in; raises OwnFaultError where it decodes nothing here."""
        with self._minded():
            return self._running(Limits()).wall

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._child is not None:
            self._child.end()
            self._child = None

    @contextlib.contextmanager
    def _minded(self) -> Iterator[None]:
        """End the child where its answer is not read to the end; say what became of it."""
        try:
            yield
        except EOFError as error:
            raise self._died() from error
        except (_TooLate, _Malformed) as failed:
            self.close()
            raise PermanentFailure(str(failed)) from None
        except PermanentFailure:
            raise
        except BaseException:  # write() failed, or we are told to stop: its answer is unread
            self.close()
            raise

    def _asked(self, request: bytes, descriptor: int, limits: Limits) -> _Child:
        """Return the child with the request sent; one that died idle is replaced."""
        for _ in range(2):
            child = self._running(limits)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(child.requests, [request], [descriptor])
                return child
            self.close()
        raise EOFError

    def _running(self, limits: Limits) -> _Child:
        if self._child is not None and not self._child.serves(limits):
            self.close()  # killed while idle: no recording's fault
        if self._child is None:
            self._child = _start(limits)
        return self._child

    def _died(self) -> Exception:
        if self._child is None:
            return TransientFailure("the decoder does not start")
        try:
            status = self._child.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return PermanentFailure("the decoder's answer is malformed: no end")
        finally:
            self.close()
        if status > 0:  # by an exception too many, out of memory for the message about it
            return PermanentFailure(f"the decoder ended with exit code {status}")
        how = signal.Signals(-status).name if status else "exit code 0"
        if -status in _CRASHES:
            return PermanentFailure(f"the decoder crashed ({how})")
        return TransientFailure(f"the decoder was killed ({how})")


class _TooLate(Exception):  # noqa: N818 - caught a few lines above, never seen outside
    """The child did not answer in time."""


class _SeccompFailure(Exception):  # noqa: N818 - as above
    """The list of system calls ends a decoder that has read nothing of others."""


class _Malformed(Exception):  # noqa: N818 - as above
    """The child answers what no decoder of ours does."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the decoder's answer is malformed: {what}")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    """Yield the descriptor of a regular file, open for reading."""
    try:
        # Not blocking: a pipe without a writer would never open. It matters to no regular file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise PermanentFailure(f"cannot be read: {error.strerror}") from error
    except OSError as error:
        raise TransientFailure(f"cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PermanentFailure("not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


@dataclasses.dataclass
class _Child:
    """A process that decodes, its wall up."""

    process: subprocess.Popen[bytes]
    requests: socket.socket
    limits: Limits
    wall: Wall
    busy_seconds: float = 0.0

    def serves(self, limits: Limits) -> bool:
        """Return whether it lives, is bounded as asked and has processor time left to it."""
        return (
            self.process.poll() is None
            and self.limits == _held(limits)
            and self.busy_seconds <= limits.wall_seconds
        )

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Count the time of an answer: processor time, were it all the child's."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.busy_seconds += time.monotonic() - began

    def end(self) -> None:
        """Kill it and wait for it."""
        self.process.kill()
        self.process.communicate()
        self.requests.close()


def _held(limits: Limits) -> Limits:
    """Return the limits that a child holds from its start: all but one that its parent minds."""
    return dataclasses.replace(limits, stall_seconds=0)


_without: set[str] = set()  # parts of the wall that end the decoder on this machine
_announced = False


def _start(limits: Limits) -> _Child:
    """Return a child once its wall is up and it decodes a clip; say once what the wall lacks."""
    global _announced
    child = _Child(*_spawn(_held(limits)), _held(limits), Wall(()))
    try:
        child.wall = _ready(child)
    except _SeccompFailure:
        child.end()
        _without.add("seccomp")  # a C library with calls of its own
        return _start(limits)
    except BaseException:  # raised again: a child that nobody holds would live on
        child.end()
        raise
    if child.wall.lacks and not _announced:
        log.warning("the decoder's wall is not whole: %s; see `fadae check`", child.wall)
    _announced = True
    return child


def _ready(child: _Child) -> Wall:
    """Return the wall that a child has raised.

    Raises OwnFaultError where it decodes nothing here, TransientFailure where it was killed.
    """
    patience = Limits(wall_seconds=_START_SECONDS, stall_seconds=_START_SECONDS)
    try:
        kind, payload = next(iter(_Replies(child, patience)))
    except _TooLate:
        raise TransientFailure(f"no decoder within {_START_SECONDS:,.0f} s") from None
    except EOFError:
        status = child.process.wait()
        if status == -signal.SIGSYS and "seccomp" not in _without:
            raise _SeccompFailure from None
        if status < 0:
            how = signal.Signals(-status).name
            raise TransientFailure(f"the decoder was killed at its start ({how})") from None
        raise OwnFaultError(
            f"the decoder ended with exit code {status}; its trace is in the log above"
        ) from None
    if kind == b"B":
        raise _own_fault(payload)
    return Wall(**{name: tuple(parts) for name, parts in json.loads(payload).items()})


def _spawn(limits: Limits) -> tuple[subprocess.Popen[bytes], socket.socket]:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    environment |= _SETTINGS
    told = [json.dumps(dataclasses.asdict(limits)), *sorted(_without)]
    ours, theirs = socket.socketpair(socket.AF_UNIX, REQUESTS)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "fadae.audio.decode_worker", *told],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
    return process, ours


def _answer(
    replies: _Replies, write: Callable[[bytes], object], rate_hz: int, limits: Limits
) -> Source:
    """Hand on the PCM of an answer and return what the file was; nothing of it is believed."""
    taken, traced, most = 0, False, 2 * (limits.decoded_seconds + _SPARE_SECONDS) * rate_hz
    for kind, payload in replies:
        if kind == b"P":
            taken += len(payload)
            if taken > most:
                raise _Malformed(f"more than {most:,.0f} bytes of PCM")
            write(payload)
        elif kind == b"E":
            if not taken or taken % 2:
                raise _Malformed(f"{taken:,} bytes of PCM")
            try:
                return Source.from_json(payload)
            except ValueError as error:
                raise _Malformed(f"{error}") from error
        elif kind == b"F":
            raise PermanentFailure(_text(payload)[:_REASON_CHARACTERS])
        elif kind == b"T" and not traced:
            traced = True
            log.warning("an odd failure of the decoder:\n%s", _text(payload, "\n"))
        elif kind == b"B":
            raise _own_fault(payload)
        else:
            raise _Malformed(f"a reply of kind {kind!r}")
    raise EOFError


def _own_fault(payload: bytes) -> OwnFaultError:
    trace = _text(payload, "\n")
    return OwnFaultError(f"the decoder failed by a fault of its own:\n{trace}")


def _text(payload: bytes, kept: str = "") -> str:
    """Return a text fit for a log and a terminal."""
    text = payload.decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in kept else "\N{REPLACEMENT CHARACTER}" for c in text)


class _Replies:
    """The child's replies as (kind, payload), each within the deadlines."""

    def __init__(self, child: _Child, limits: Limits) -> None:
        assert child.process.stdout is not None
        self._pipe = child.process.stdout
        self._limits = limits
        self._poll = select.poll()  # select() knows no descriptor above 1023
        self._poll.register(self._pipe, select.POLLIN)
        self._deadline = time.monotonic() + limits.wall_seconds

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            kind, length = HEADER.unpack(self._read(HEADER.size))
            if length > PAYLOAD_BYTES:
                raise _Malformed(f"a reply of {length:,} bytes")
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
