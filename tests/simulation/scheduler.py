"""Who goes on, for how many requests, and what goes wrong at the last of them.

Processes are greenlets of one thread: each hands over before a request once its turn is spent. So
a schedule, a list of turns, says all that happens, and one with fewer turns is a simpler one.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar, get_args

from greenlet import getcurrent, greenlet

from fadae.errors import TransientError
from fadae.store.paths import FEATURES
from tests.simulation.bucket import LONGEST_LAG, Bucket, BucketLocation, Kind

T = TypeVar("T")

Fate = Literal[
    "none",
    "killed before",  # nothing of the request arrives, or a part of an upload
    "killed after",  # it is done, nobody hears of it
    "killed, done later",  # it arrives when the process is gone
    "refused",  # 503: the client asks again
    "answer lost",  # done, and then asked again
    "done again later",  # timed out, asked again; the first one arrives after all
    "late listing",  # every one of the turn: of what was there some writes ago
]
FATES: tuple[Fate, ...] = get_args(Fate)
_OFTEN = (12, 2, 2, 1, 1, 3, 2, 2)
_LATER_REQUESTS = 150
ROOT = f"{FEATURES}/zarr.json"
_ENOUGH = 10**9


class Killed(BaseException):
    """The process is no more: nothing of it reaches the bucket."""


class Wrong(Exception):  # noqa: N818 - what is found, not a failure of the simulation
    """An invariant does not hold."""


class Event(NamedTuple):
    """Something that happened: a request and its fate, or what became of a process."""

    process: str
    what: str
    path: str = ""
    fate: str = ""
    is_read: bool = False

    def summed_up(self) -> str:
        """Return what is to be told of it; nothing of a read that had its answer."""
        return "" if self.is_read and not self.fate else self.what


Until = Literal["request", "write", "root"]
UNTIL: tuple[Until, ...] = get_args(Until)
_UNTIL_OFTEN = (5, 4, 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """One process's turn: so many requests, and on until one of a kind, which has a fate or waits.

    What is between a read and a write is where others do harm.
    """

    process: int  # which of those that have not finished, counted round
    requests: int
    until: Until = "request"
    fate: Fate = "none"
    later: int = 0  # writes that a listing lags behind; requests until one arrives after all


def drawn_turns(drawn: random.Random, processes: int) -> list[Turn]:
    """Return turns of one request up to all of a command's, short ones as often as long ones."""
    return [
        Turn(
            drawn.randrange(processes),
            int(2 ** drawn.uniform(0, 8.5)),
            drawn.choices(UNTIL, _UNTIL_OFTEN)[0],
            drawn.choices(FATES, _OFTEN)[0],
            drawn.randrange(1, _LATER_REQUESTS),
        )
        for _ in range(drawn.randrange(3, 16))
    ]


@dataclass
class Process:
    """A command that runs against the bucket, and runs again where it was killed."""

    name: str
    command: Callable[[BucketLocation], None]
    run: greenlet | None = None
    finished: bool = False
    starts: int = 0


@dataclass
class Scheduler:
    """Processes on one bucket. `check` is called whenever one hands over; it raises Wrong."""

    bucket: Bucket
    processes: list[Process]
    check: Callable[[], None]
    passing: tuple[type[Exception], ...] = (TransientError,)  # that a command may end with
    trace: list[Event] = field(default_factory=list)
    _turn: Turn = Turn(0, 0)
    _left: int = 0
    _met: bool = False  # the request of its fate was met
    _dying: bool = False  # the process whose turn it is
    _over: bool = False
    _later: list[tuple[float, str, Callable[[], object]]] = field(default_factory=list)

    def play(self, turns: Iterable[Turn]) -> None:
        """Give the turns; then let who still lives finish. Raises Wrong."""
        try:
            for turn in turns:
                self._give(turn)
            for process in self.processes:
                if process.run is not None:
                    self._go_on(process, Turn(0, _ENOUGH))
        finally:
            self._over = True
            for process in self.processes:
                if process.run is not None:
                    process.run.throw(Killed)
        self._arrive(everything=True)
        self.check()

    def _give(self, turn: Turn) -> None:
        unfinished = [one for one in self.processes if not one.finished]
        if not unfinished:
            return
        self._go_on(unfinished[turn.process % len(unfinished)], turn)

    def _go_on(self, process: Process, turn: Turn) -> None:
        if process.run is None:
            process.starts += 1
            process.run = greenlet(lambda: self._live(process))
            self.trace.append(
                Event(process.name, "starts" if process.starts == 1 else "runs again")
            )
        self._turn, self._left, self._met = turn, turn.requests, False
        wrong = process.run.switch()
        if process.run.dead:
            process.run = None
        if wrong is not None:
            raise wrong
        self.check()

    def _live(self, process: Process) -> Wrong | None:
        def ask(kind: Kind, verb: str, path: str, act: Callable[[int], T]) -> T:
            return self._ask(process, kind, verb, path, act)

        self._dying = False
        try:
            process.command(BucketLocation(self.bucket, ask))
        except Killed:
            self.trace.append(Event(process.name, "is killed"))
        except self.passing as error:
            self.trace.append(Event(process.name, f"is to be run again: {error}"))
        except Wrong as error:
            return error
        except Exception as error:  # noqa: BLE001 - any is one too many, told as it is
            where = traceback.extract_tb(error.__traceback__)[-1]
            return Wrong(f"{process.name} fails: {error!r} in {where.filename}:{where.lineno}")
        else:
            process.finished = True
            self.trace.append(Event(process.name, "ends"))
        return None

    def _ask(
        self, process: Process, kind: Kind, verb: str, path: str, act: Callable[[int], T]
    ) -> T:
        while True:
            if self._dying or self._over:
                raise Killed
            due = self._left <= 0 and self._is_due(kind, path)
            if self._met or (due and self._turn.fate in ("none", "late listing")):
                self._hand_over()
                continue
            fate: Fate = self._turn.fate if due else "none"
            self._left, self._met = self._left - 1, due
            self.bucket.seconds += 1.0
            self._arrive()
            told = "" if fate == "none" else fate
            self.trace.append(Event(process.name, verb, path, told, kind != "write"))
            match fate:
                case "none" | "late listing":
                    return act(self._lag(kind))
                case "killed before":
                    if kind == "write":
                        self.bucket.uploads.append(path)
                    self._die()
                case "killed after":
                    _ignore(act)
                    self._die()
                case "killed, done later":
                    self._postpone(process, kind, path, act)
                    self._die()
                case "answer lost":
                    _ignore(act)
                case "done again later":
                    self._postpone(process, kind, path, act)

    def _is_due(self, kind: Kind, path: str) -> bool:
        """Return whether a request is one that the turn is to end with."""
        match self._turn.until:
            case "write":
                return kind == "write"
            case "root":
                return kind == "write" and path == ROOT
        return True

    def _lag(self, kind: Kind) -> int:
        late = kind == "list" and self._turn.fate == "late listing"
        return min(self._turn.later, LONGEST_LAG) if late else 0

    def _hand_over(self) -> None:
        parent = getcurrent().parent
        assert parent is not None
        parent.switch(None)
        self._dying = False

    def _die(self) -> None:
        self._dying = True  # whatever its `finally` blocks try
        raise Killed

    def _postpone(
        self, process: Process, kind: Kind, path: str, act: Callable[[int], object]
    ) -> None:
        if kind == "write":
            due = self.bucket.seconds + self._turn.later
            self._later.append((due, f"{process.name}'s {path}", lambda: act(0)))

    def _arrive(self, *, everything: bool = False) -> None:
        due = [one for one in self._later if everything or one[0] <= self.bucket.seconds]
        for one in due:
            self._later.remove(one)
            self.trace.append(Event("late arrival:", one[1]))
            one[2]()


def _ignore(act: Callable[[int], object]) -> None:
    """Do a request whose answer nobody hears."""
    try:
        act(0)
    except FileNotFoundError:
        return


def fewer(turns: Sequence[Turn]) -> Iterator[Sequence[Turn]]:
    """Yield turns that are simpler: one left out, or none of the ill fate of one."""
    for at in range(len(turns)):
        yield [*turns[:at], *turns[at + 1 :]]
    for at, turn in enumerate(turns):
        if turn.fate != "none":
            quiet = Turn(turn.process, turn.requests, turn.until)
            yield [*turns[:at], quiet, *turns[at + 1 :]]
