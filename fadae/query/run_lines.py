"""The runs of a workspace side by side: what each takes, how far it is, and what it came to."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, overload

from fadae import html
from fadae.errors import UsageError
from fadae.query.looks import last_lines
from fadae.records import RunConfig
from fadae.store import FrameStore, Location, attrs_of, code_size, paths, side_scores
from fadae.summaries import TrainSummary

if TYPE_CHECKING:
    import pandas as pd

FINISHED, UNDER_WAY = "finished", "under way"


@dataclass(frozen=True, slots=True)
class RunLine:
    """One training run. Errors are NMSE in dB, lower is better; None is not known.

    `held_out_nmse_db` is of the training's last evaluation; `trained_nmse_db` of frames trained
    on is known once the run is reconstructed. `pca_gap_db` is the first less that of PCA with as
    many bytes: above 0 PCA does better.
    """

    run: str
    model: str
    state: str  # finished, or under way, be it at work or stopped
    bytes_a_row: float | None
    kbps: float | None
    steps: int | None
    held_out_nmse_db: float | None
    trained_nmse_db: float | None
    pca_nmse_db: float | None
    pca_gap_db: float | None
    model_bytes: int | None  # of model.safetensors
    written: str | None  # UTC: the model, or the last metrics of a run under way
    publication: int  # of the features, 0 where none is kept: see `fadae log`
    reconstructed: bool


# A key, the field it sorts by, and whether the greatest comes first.
SORTS = {
    "held_out": ("held_out_nmse_db", False),
    "trained": ("trained_nmse_db", False),
    "pca_gap": ("pca_gap_db", False),
    "bytes": ("bytes_a_row", False),
    "kbps": ("kbps", False),
    "steps": ("steps", True),
    "size": ("model_bytes", False),
    "date": ("written", True),
    "model": ("model", False),
    "run": ("run", False),
}
HEADS = {
    "run": "run",
    "model": "model",
    "state": "state",
    "bytes_a_row": "bytes a row",
    "kbps": "kbps",
    "steps": "steps",
    "held_out_nmse_db": "held out (dB)",
    "trained_nmse_db": "trained (dB)",
    "pca_gap_db": "PCA gap (dB)",
    "model_bytes": "model (bytes)",
    "written": "date (UTC)",
    "publication": "publication",
}


class RunTable(Sequence[RunLine]):
    """The runs of a workspace in the order asked for."""

    def __init__(self, lines: Sequence[RunLine]) -> None:
        """Take the lines in their order."""
        self._lines = tuple(lines)

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, at: int) -> RunLine: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[RunLine, ...]: ...

    def __getitem__(self, at: int | slice) -> RunLine | tuple[RunLine, ...]:
        return self._lines[at]

    def __iter__(self) -> Iterator[RunLine]:
        return iter(self._lines)

    def __repr__(self) -> str:
        return f"RunTable({list(self._lines)!r})"

    def sorted_by(self, key: str) -> RunTable:
        """Return the runs the best, smallest or newest first, those without a value last.

        Raises UsageError for a key that is not in `SORTS`.
        """
        if key not in SORTS:
            raise UsageError(f"cannot sort runs by {key!r}: one of {', '.join(SORTS)}")
        name, falling = SORTS[key]
        by_name = sorted(self._lines, key=lambda line: line.run)
        known = [line for line in by_name if getattr(line, name) is not None]
        known.sort(key=lambda line: getattr(line, name), reverse=falling)
        return RunTable([*known, *(line for line in by_name if getattr(line, name) is None)])

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with a row a run, its names the index."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(RunLine)]
        rows = [dataclasses.asdict(line) for line in self._lines]
        return pd.DataFrame(rows, columns=names).set_index("run")

    def _repr_html_(self) -> str:
        rows = [[getattr(line, name) for name in HEADS] for line in self._lines[: html.MOST_ROWS]]
        return html.table([*HEADS.values()], rows, f"{len(rows)} of {len(self)} runs")


def run_table(location: Location, sort: str = "held_out") -> RunTable:
    """Return all runs that were begun; some five requests for each, whatever they trained on."""
    table = RunTable([]).sorted_by(sort)  # a wrong key is told before anything is read
    names = location.names(paths.RUNS)
    lines = location.concurrently(functools.partial(_line, location), names)
    table = RunTable([line for line in lines if line is not None])
    return table.sorted_by(sort)


def _line(location: Location, run: str) -> RunLine | None:
    """Return a run's line, None where it has not begun."""
    found = location.found_below(paths.run_path(run))
    if "config.json" not in found:
        return None
    config: RunConfig = json.loads(location.read_bytes(paths.run_path(run, "config.json")))
    done = {}
    if "summary.json" in found:
        done = json.loads(location.read_bytes(paths.run_path(run, "summary.json")))
    # A run that may go on for longer has an older summary until it is done again.
    is_finished = bool(done) and done.get("recipe") == config.get("recipe")
    summary = TrainSummary.from_dict({"run": run, **done.get("summary", {})})
    model = found.get("model.safetensors")
    metrics = found.get("metrics.jsonl", found["config.json"])
    store = FrameStore.find(location, paths.reconstruction_path(run))
    store = store if store is not None and store.rows else None
    size = (
        summary.code_size if store is None else code_size(store, config["dataset"]["hop_seconds"])
    )
    held_out, pca = _number(summary.holdout_nmse_db), _number(summary.pca_nmse_db)
    return RunLine(
        run=run,
        model=str(config["model"].get("name")),
        state=FINISHED if is_finished else UNDER_WAY,
        bytes_a_row=None if size is None else _number(size.bytes_a_row),
        kbps=None if size is None else _number(size.kbps),
        steps=summary.steps if is_finished else _last_step(location, run),
        held_out_nmse_db=held_out,
        trained_nmse_db=_number(side_scores(attrs_of(store))["trained_nmse_db"]) if store else None,
        pca_nmse_db=pca,
        pca_gap_db=None if held_out is None or pca is None else held_out - pca,
        model_bytes=None if model is None else model.size_bytes,
        written=_utc((model if model and is_finished else metrics).modified_seconds),
        publication=config.get("publication", 0),
        reconstructed=store is not None,
    )


def _last_step(location: Location, run: str) -> int | None:
    lines = last_lines(location, paths.run_path(run, "metrics.jsonl"), 2**12)
    return json.loads(lines[-1])["step"] if lines else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _utc(seconds: float) -> str | None:
    """Return a time since 1970 as UTC, to the minute; None where it is not told."""
    if not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
