"""What a codec that is taken over would try, and how each try ends behind the decoder's wall.

    python -m tests.audio.escapes [--table] [LEVEL ...]

A level is the parts of the wall that are left out, joined by "+", "" for the whole wall, or "bare"
for none of it. A process of its own makes each try, since most end it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fadae.audio.wall import raise_wall
from fadae.config import Limits

_PTRACE_SEIZE, _PROCESS_VM_READV, _IO_URING_SETUP = 0x4206, 310, 425
_F_SETSIG = 10


class _Prey:
    """What lies outside: listening sockets, secrets, a parent."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["HOME"] = str(folder)
        self.credentials = folder / ".aws" / "credentials"
        self.credentials.parent.mkdir()
        self.credentials.write_text("secret")
        self.new_file = folder / "new"
        self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.abstract.bind(f"\0fadae-escape-{os.getpid()}")
        self.abstract.listen()
        self.pipe = os.pipe()
        for end in self.pipe:
            stack.callback(os.close, end)
        self.parent = os.getpid()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.memory = ctypes.create_string_buffer(16)

    def call(self, *arguments: int) -> None:
        """Make a system call; raises OSError where it fails."""
        if self.libc.syscall(*map(ctypes.c_long, arguments)) < 0:
            raise OSError(ctypes.get_errno(), "")


def _connect_tcp(prey: _Prey) -> None:
    with socket.socket() as one:  # create_connection() would look for a codec of names first
        one.connect(prey.tcp.getsockname())


def _listen(prey: _Prey) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()


def _send_udp(prey: _Prey) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", prey.udp.getsockname())


def _connect_abstract(prey: _Prey) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect(prey.abstract.getsockname())


def _read_file(prey: _Prey) -> None:
    Path(__file__).read_bytes()


def _read_credentials(prey: _Prey) -> None:
    Path("~/.aws/credentials").expanduser().read_text()


def _list_folder(prey: _Prey) -> None:
    list(Path("/").iterdir())


def _write_file(prey: _Prey) -> None:
    prey.new_file.write_text("x")


def _remove_file(prey: _Prey) -> None:
    prey.credentials.rename(prey.credentials.with_name("gone"))


def _read_environ(prey: _Prey) -> None:
    Path(f"/proc/{prey.parent}/environ").read_bytes()


def _read_memory(prey: _Prey) -> None:
    with Path(f"/proc/{prey.parent}/mem").open("rb", buffering=0) as memory:
        memory.seek(ctypes.addressof(prey.memory))
        memory.read(16)


def _read_memory_by_call(prey: _Prey) -> None:
    part = (ctypes.c_size_t * 2)(ctypes.addressof(prey.memory), 16)
    at = ctypes.addressof(part)
    prey.call(_PROCESS_VM_READV, prey.parent, at, 1, at, 1, 0)


def _trace(prey: _Prey) -> None:
    if prey.libc.ptrace(_PTRACE_SEIZE, prey.parent, None, None) < 0:
        raise OSError(ctypes.get_errno(), "")


def _signal(prey: _Prey) -> None:
    os.kill(prey.parent, 0)


def _signal_by_descriptor(prey: _Prey) -> None:
    fcntl.fcntl(prey.pipe[0], fcntl.F_SETOWN, prey.parent)
    fcntl.fcntl(prey.pipe[0], _F_SETSIG, int(signal.SIGCONT))


def _fork(prey: _Prey) -> None:
    if os.fork() == 0:
        os._exit(0)


def _start_thread(prey: _Prey) -> None:
    try:
        threading.Thread(target=len, args=("",)).start()
    except RuntimeError as error:  # can't start new thread
        raise OSError(errno.EAGAIN, str(error)) from error


def _execute(prey: _Prey) -> None:
    os.execv("/bin/sh", ["/bin/sh", "-c", "echo done"])


def _run_own_code(prey: _Prey) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _make_code_of_data(prey: _Prey) -> None:
    data = mmap.mmap(-1, 4096)
    at = ctypes.addressof(ctypes.c_char.from_buffer(data))
    if prey.libc.mprotect(ctypes.c_void_p(at), 4096, 5) < 0:
        raise OSError(ctypes.get_errno(), "")


def _raise_limits(prey: _Prey) -> None:
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        try:
            resource.setrlimit(kind, (1000, 1000))
        except ValueError as error:  # not allowed to raise maximum limit
            raise OSError(errno.EPERM, str(error)) from error


def _use_io_uring(prey: _Prey) -> None:
    parameters = ctypes.create_string_buffer(120)
    prey.call(_IO_URING_SETUP, 1, ctypes.addressof(parameters))


TRIES: dict[str, Callable[[_Prey], None]] = {
    "connect over TCP": _connect_tcp,
    "listen on TCP": _listen,
    "send over UDP": _send_udp,
    "connect to an abstract socket": _connect_abstract,
    "read a file": _read_file,
    "read ~/.aws/credentials": _read_credentials,
    "list a folder": _list_folder,
    "write a file": _write_file,
    "rename a file": _remove_file,
    "read the parent's environ": _read_environ,
    "read the parent's mem": _read_memory,
    "read the parent's memory by process_vm_readv": _read_memory_by_call,
    "ptrace the parent": _trace,
    "signal the parent": _signal,
    "signal the parent by F_SETOWN": _signal_by_descriptor,
    "fork": _fork,
    "start a thread": _start_thread,
    "execute a program": _execute,
    "map memory for code": _run_own_code,
    "make data code": _make_code_of_data,
    "raise its limits": _raise_limits,
    "set up io_uring": _use_io_uring,
}


def ends(level: str) -> dict[str, str]:
    """Return how each try ends: "done", an error's name, or the signal that ended the process."""
    with ExitStack() as stack:
        prey = _Prey(stack)
        return {name: _end(attempt, prey, level) for name, attempt in TRIES.items()}


def _end(attempt: Callable[[_Prey], None], prey: _Prey, level: str) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(writer, 1)
        if level != "bare":
            raise_wall(Limits(), level.split("+"))
        try:
            attempt(prey)
            said = "done"
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        os.write(1, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read().decode().strip()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return said


def main(arguments: list[str]) -> None:
    """Print the ends at each level, as JSON or as a table."""
    levels = [one for one in arguments if one != "--table"] or [""]
    found = {level: ends(level) for level in levels}
    if "--table" not in arguments:
        print(json.dumps(found))
        return
    print("| try | " + " | ".join(level or "whole wall" for level in levels) + " |")
    for name in TRIES:
        print(f"| {name} | " + " | ".join(found[level][name] for level in levels) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
