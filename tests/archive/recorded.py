"""A server that plays recorded answers byte by byte, over raw sockets: it knows no HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pause:
    """Says nothing for a while."""

    seconds: float


CLOSE = "close"
HALF_CLOSE = "half-close"  # our side is at its end; the client's is still open
Step = bytes | Pause | str


@dataclass
class Recorded:
    """Answers the requests in the order of their arrival, over whatever connections they come.

    Each answer is a list of steps: bytes to send, pauses, and how to end the connection. A request
    beyond the last answer gets a closed connection.
    """

    answers: list[Sequence[Step]]
    requests: list[tuple[int, str]] = field(default_factory=list)
    """(number of the connection, request line) as they arrived."""
    port: int = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections have carried a request."""
        return len({number for number, _ in self.requests})


@contextlib.contextmanager
def playing(*answers: Sequence[Step]) -> Iterator[Recorded]:
    """Play answers at a free port of loopback while the block runs."""
    recorded = Recorded(list(answers))
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as opened:
        recorded.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, recorded, opened), daemon=True).start()
        yield recorded


def _accept(listener: socket.socket, recorded: Recorded, opened: contextlib.ExitStack) -> None:
    number = 0
    with contextlib.suppress(OSError):  # the listener is closed: the block has ended
        while True:
            client, _ = listener.accept()
            opened.enter_context(client)
            threading.Thread(target=_serve, args=(client, number, recorded), daemon=True).start()
            number += 1


def _serve(client: socket.socket, number: int, recorded: Recorded) -> None:
    with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
        while request := lines.readline():
            while lines.readline() not in (b"\r\n", b""):
                pass
            recorded.requests.append((number, request.decode().strip()))
            if len(recorded.requests) > len(recorded.answers):
                return
            for step in recorded.answers[len(recorded.requests) - 1]:
                if isinstance(step, bytes):
                    client.sendall(step)
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
                elif step == HALF_CLOSE:
                    client.shutdown(socket.SHUT_WR)
                else:
                    return
