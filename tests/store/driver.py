"""A driver of extraction as a process of its own, that can be told to die.

`python -m tests.store.driver URL [N [VERB]]`: extracts; with N, kills itself with SIGKILL in place
of its N-th write, whatever that is: a plan, a shard, a mark, a document, the root. With a verb, one
of a Location's, in place of its N-th call of that.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from fadae.stages.extract import extract
from fadae.store.location import Location

WRITES = ("write_bytes", "create_exclusive")


def die_at(number: int, verbs: Sequence[str] = WRITES) -> None:
    """Let the process die in place of its `number`-th write, or call of other verbs."""
    count = itertools.count(1)

    def dying(write: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        return counted

    for verb in verbs:
        setattr(Location, verb, dying(getattr(Location, verb)))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        die_at(int(sys.argv[2]), sys.argv[3:] or WRITES)
    extract(Location(sys.argv[1]))
