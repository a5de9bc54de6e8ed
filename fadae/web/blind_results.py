"""What came of a blind test: rows of a CSV file, the binomial p, BS.1534's post-screening."""

from __future__ import annotations

import csv
import fcntl
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fadae.compare import result
from fadae.errors import UsageError
from fadae.web.blind_plan import MID_ANCHOR, REFERENCE

_COMMON = ("time", "test", "session", "listener", "seed", "trial", "trials")
_PART = ("recording", "start_seconds", "seconds")
COLUMNS: dict[str, tuple[str, ...]] = {
    "abx": (*_COMMON, *_PART, "a", "b", "x", "answer", "correct", "correct_so_far", "p_so_far"),
    "mushra": (*_COMMON, *_PART, "place", "signal", "rating"),
}
GOOD_RATING, MOST_SHARE = 90, 0.15  # of the hidden reference: BS.1534-3, post-screening
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = Mapping[str, object]


def binomial_p(correct: int, trials: int) -> float:
    """Return how likely so many or more right answers are by guessing: exact, one-sided.

    >>> binomial_p(12, 16), binomial_p(0, 0)
    (0.0384063720703125, 1.0)
    """
    ways: int = sum(math.comb(trials, right) for right in range(correct, trials + 1))
    return float(ways / (1 << trials))


def screened(ratings: Mapping[str, Sequence[int]]) -> tuple[bool, str]:
    """Return whether a listener's ratings, by signal, count, and the rule that says so.

    BS.1534-3, post-screening: not those who rate the hidden reference below 90 in more than 15 % of
    the trials, or the mid anchor above 90 in as many.

    >>> screened({"reference": [100, 95, 80], "a": [1, 2, 3]})[0]
    False
    """
    rules = [(REFERENCE, "below", sum(one < GOOD_RATING for one in ratings[REFERENCE]))]
    if MID_ANCHOR in ratings:
        rules.append((MID_ANCHOR, "above", sum(one > GOOD_RATING for one in ratings[MID_ANCHOR])))
    total = len(ratings[REFERENCE])
    told = "; ".join(
        f"the {'hidden ' if name == REFERENCE else ''}{name} was rated {side} {GOOD_RATING} in "
        f"{count} of {total} trials"
        for name, side, count in rules
    )
    counts = all(count <= MOST_SHARE * total for _, _, count in rules)
    verdict = "counts" if counts else "is left out"
    rule = f"in more than {MOST_SHARE:.0%} a listener is left out (ITU-R BS.1534-3)"
    return counts, f"{told}; {rule}: this one {verdict}"


def means(ratings: Mapping[str, Sequence[int]], seed: int) -> dict[str, result.Interval]:
    """Return the mean rating of each signal with its bootstrap interval."""
    return {
        name: result.interval([float(one) for one in values], seed)
        for name, values in ratings.items()
    }


class ResultsFile:
    """A CSV file that rows are added to, whole or not at all; several tests may share it."""

    def __init__(self, path: Path, kind: str) -> None:
        """Take where it lies; raises UsageError where it cannot be written or holds other rows."""
        self.path, self.columns = path, COLUMNS[kind]
        self.append([])

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows at the end, and the heads where there are none yet."""
        try:
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(self._joint(file) + _lines([self._cells(row) for row in rows]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror or error}") from None

    def _joint(self, file: io.BufferedRandom) -> bytes:
        """Return what comes before the first row: heads, or the end of a line that was cut off."""
        heads = _lines([list(self.columns)])
        file.seek(0)
        first = file.readline(10_000)
        if not first:
            return heads
        if first != heads:
            raise UsageError(
                f"{self.path} holds something else than results of this kind: --results names "
                "another file"
            )
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"

    def _cells(self, row: Row) -> list[object]:
        return [_cell(row[name]) for name in self.columns]


def _cell(value: object) -> object:
    """Return a value as a cell: a spreadsheet must not take a name from outside for a formula."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
