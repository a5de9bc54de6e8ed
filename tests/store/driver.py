"""A driver of extraction as a process of its own, that can be told to die.

`python -m tests.store.driver URL [N]`: extracts; with N, kills itself with SIGKILL in place of
its N-th write, whatever that is: a plan, a shard, a mark, a document, the root.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from fadae.stages.extract import extract
from fadae.store.location import Location


def die_at(number: int) -> None:
    """Let the process die in place of its `number`-th write."""
    count = itertools.count(1)

    def dying(write: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        return counted

    Location.write_bytes = dying(Location.write_bytes)  # type: ignore[method-assign]
    Location.create_exclusive = dying(Location.create_exclusive)  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        die_at(int(sys.argv[2]))
    extract(Location(sys.argv[1]))
