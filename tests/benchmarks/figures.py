"""Figures of a run of benchmarks: told as they come, kept as JSON, compared with another run's."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypedDict

TO = "FADAE_BENCH_FIGURES"  # the file that benchmarks of one run add their figures to


@dataclass(frozen=True)
class Figure:
    """One thing measured in a few rounds, and what it is held against.

    values: of all rounds, their median is the figure. beside: the limit or the peer of the same
    run, in words. limit: what the median must not pass; better: on which side of it is good.
    load: of the machine, over the last minute, when the rounds ended.
    """

    name: str
    values: tuple[float, ...]
    unit: str = ""
    limit: float | None = None
    better: Literal["lower", "higher"] = "lower"
    beside: str = ""
    load: float = 0.0

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between the least and the greatest round."""
        return (max(self.values) - min(self.values)) / 2

    @property
    def kept(self) -> bool:
        """Whether the median is on the good side of the limit, or there is none."""
        if self.limit is None:
            return True
        return self.median <= self.limit if self.better == "lower" else self.median >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.better == "lower" else ">="
        limit = "" if self.limit is None else f"   {sign} {self.limit:g}"
        missed = "" if self.kept else " MISSED"
        beside = f"   {self.beside}" if self.beside else ""
        value = f"{self.median:10.4g} {self.unit:<10} +- {self.spread:<8.2g}"
        return f"{self.name:<52} {value}{limit}{missed}{beside}"


class Results(TypedDict):
    """A run's document."""

    commit: str
    machine: dict[str, str | float]
    versions: dict[str, str]
    started: str
    seconds: float
    load_before: float
    failed: list[str]
    figures: list[Figure]


def report(
    name: str,
    values: Sequence[float],
    unit: str = "",
    *,
    limit: float | None = None,
    better: Literal["lower", "higher"] = "lower",
    beside: str = "",
) -> Figure:
    """Print a figure, and add it to the run's file where there is one."""
    load = round(os.getloadavg()[0], 1)
    figure = Figure(name, tuple(values), unit, limit, better, beside, load)
    print(figure, flush=True)
    if TO in os.environ:
        with Path(os.environ[TO]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(figure)) + "\n")
    return figure


def read_lines(path: Path) -> list[Figure]:
    """Return the figures that benchmarks added to a run's file."""
    if not path.exists():
        return []
    return [_figure(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def write(path: Path, results: Results) -> None:
    """Write a run's document."""
    document = {**results, "figures": [asdict(figure) for figure in results["figures"]]}
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def read(path: Path) -> Results:
    """Read a run's document; end with one line where it is none."""
    try:
        found: Results = json.loads(path.read_text("utf-8"))
        figures: list[object] = [*found["figures"]]
        return {**found, "figures": [_figure(one) for one in figures]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{path} is no run of benchmarks: {error}")


def _figure(read: object) -> Figure:
    """Return a figure that was kept as JSON. Raises TypeError or KeyError where it was not."""
    if not isinstance(read, dict):
        raise TypeError(f"not a figure: {read!r}")
    values = {field.name: read[field.name] for field in fields(Figure)}
    return Figure(**{**values, "values": tuple(float(one) for one in values["values"])})


def compared(before: Results, after: Results) -> Iterator[str]:
    """Yield a line for each figure of either run: both medians, the change, the noise beside it.

    The noise is the greater of both spreads. Only where no round of one run lies among those of
    the other is a figure called better or worse.
    """
    for label, run in (("A", before), ("B", after)):
        yield f"{label}: {run['commit']}, {run['started']}, load {run['load_before']:.1f}"
    if before["machine"] != after["machine"]:
        yield "the machines differ: only ratios compare"
    old = {figure.name: figure for figure in before["figures"]}
    new = {figure.name: figure for figure in after["figures"]}
    yield f"{'':<52} {'A':>10} {'B':>10} {'change':>8} {'noise':>7}"
    for name in dict.fromkeys((*old, *new)):
        if name not in new or name not in old:
            yield f"{name:<52} only in {'A' if name in old else 'B'}"
            continue
        yield _change(old[name], new[name])


def _change(old: Figure, new: Figure) -> str:
    base = abs(old.median) or 1.0
    change, noise = (new.median - old.median) / base, max(old.spread, new.spread) / base
    lower = max(new.values) < min(old.values)
    higher = min(new.values) > max(old.values)
    verdict = ""
    if lower or higher:
        verdict = "better" if lower == (new.better == "lower") else "worse"
    return (
        f"{new.name:<52} {old.median:>10.4g} {new.median:>10.4g} {change:>+8.1%} {noise:>7.1%} "
        f"{verdict}"
    ).rstrip()
