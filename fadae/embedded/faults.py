"""What can go wrong at an archive, as values: the embedded one does it on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, auto

ALWAYS = 2**31


class Where(StrEnum):
    """The part of the archive that misbehaves."""

    METADATA = auto()
    SEARCH = auto()
    FRONT = auto()
    """/download/ at the archive itself, which redirects to a datanode."""
    DATANODE = auto()


class Kind(StrEnum):
    """How it misbehaves."""

    STATUS = auto()
    """Answers with `status`, and Retry-After if `retry_after` is given."""
    REFUSED = auto()
    """Front: redirects to a port where nobody listens."""
    FOREIGN = auto()
    """Front: redirects to a host that is not the archive's."""
    STALL_HEADERS = auto()
    """Says nothing for `seconds`, then hangs up."""
    STALL_BODY = auto()
    """Sends half of the body, says nothing for `seconds`, then hangs up."""
    DRIP = auto()
    """Sends the body in 100 pieces over `seconds`."""
    TRUNCATED = auto()
    """Hangs up after half of the body."""
    CORRUPT = auto()
    """Sends a body of the right length with a byte changed."""
    CHANGED = auto()
    """Sends another file than the metadata describes, longer and consistent in itself."""
    HTML = auto()
    """Sends a web page with status 200."""
    NO_RANGE = auto()
    """Ignores Range: sends the whole file with status 200."""
    WRONG_RANGE = auto()
    """Answers Range with another range, status 206."""
    UNSATISFIABLE = auto()
    """Answers Range with status 416."""
    NOT_JSON = auto()
    """Metadata, search: a web page with status 200."""
    BOMB = auto()
    """Metadata: `size_bytes` of JSON, small in gzip."""
    ERROR = auto()
    """Search, metadata: {"error": ...} with `status`."""
    FEWER = auto()
    """Search: announces one item more than it lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour: it happens `times` times where it applies, then all is well."""

    where: Where
    kind: Kind
    times: int = 1
    match: str = ""
    """Part of the item's or file's id that it applies to; empty for all."""
    status: int = 503
    retry_after: str | None = None
    seconds: float = 60.0
    size_bytes: int = 2**24
    ranges_only: bool = False
    """Applies to requests with Range only."""


class Mischief:
    """The faults still to happen; for many threads."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """Take the faults, the first that applies happening first."""
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int]] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Plan more faults."""
        with self._lock:
            self._left += [(fault, fault.times) for fault in faults]

    def draw(self, where: Where, name: str, has_range: bool = False) -> Fault | None:
        """Return the fault that happens to this request, if one does, and count it.

        >>> mischief = Mischief([Fault(Where.FRONT, Kind.HTML, match="b")])
        >>> [mischief.draw(Where.FRONT, name) is not None for name in ("a", "b", "b")]
        [False, True, False]
        """
        with self._lock:
            for index, (fault, left) in enumerate(self._left):
                applies = fault.where == where and fault.match in name
                if applies and left > 0 and (has_range or not fault.ranges_only):
                    self._left[index] = (fault, left - 1)
                    return fault
        return None
