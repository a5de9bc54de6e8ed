"""The runs of a workspace, read back: which one is meant, and what it learned from."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from fadae.arrays import Int64
from fadae.config import TrainConfig
from fadae.data import RowSet
from fadae.errors import NoInputError, UsageError
from fadae.records import RunConfig
from fadae.similarity import known_families
from fadae.store import FeatureSet, Forgotten, Location, paths
from fadae.summaries import TrainSummary
from fadae.training.dataset import divide, forgotten_now, sample_of
from fadae.training.run import Run

log = logging.getLogger("fadae.training")

_ROWS_AT_A_TIME = 2**20


class Role(StrEnum):
    """What a recording was to a run."""

    TRAINED = "trained"  # at least one of its frames was trained on
    HELD_OUT = "held out"  # kept away from training, to judge the run by
    UNSEEN = "unseen"  # neither: it came after the run began, or --max-frames drew none of it
    UNKNOWN = "unknown"  # the run was started on other features than these, or does not say


@dataclass(frozen=True)
class RunSplit:
    """What a run trained on and what it held out: by recording, and by row of the frame axis.

    Recordings with the same samples share their rows, hence their role. A single recording is cut
    in time: its role is "trained", and `held_out_rows` holds the part that was kept away. Where
    --max-frames drew a sample, the rows between those drawn count as trained on: neighbours share
    half of their samples. Silent and unreadable frames keep the role of their recording.
    """

    roles: tuple[Role, ...]  # [recordings], in the order of the recording table
    ids: tuple[str, ...]  # [recordings]
    trained_rows: RowSet  # of recordings forgotten since neither holds a row
    held_out_rows: RowSet
    forgotten: Forgotten = field(default_factory=Forgotten)  # now: listed by no role

    @property
    def trained(self) -> list[str]:
        """Ids of the recordings that the run trained on."""
        return self._with(Role.TRAINED)

    @property
    def held_out(self) -> list[str]:
        """Ids of the recordings that the run held out."""
        return self._with(Role.HELD_OUT)

    @property
    def unseen(self) -> list[str]:
        """Ids of the recordings that the run neither trained on nor held out."""
        return self._with(Role.UNSEEN)

    @property
    def recording_held_out(self) -> list[bool | None]:
        """Whether each recording was held out; None where neither that nor trained on."""
        known = {Role.HELD_OUT: True, Role.TRAINED: False}
        return [known.get(role) for role in self.roles]

    def held_out_seconds(self, start: int, count: int, hop_seconds: float) -> tuple[float, float]:
        """Return the held-out part of a recording whose rows are [start, start + count).

        From its first held-out hop to the end of its last one; (0, 0) where there is none.
        """
        rows = self.held_out_rows.within(start, start + count) - start
        if not len(rows):
            return 0.0, 0.0
        return float(rows[0]) * hop_seconds, float(rows[-1] + 1) * hop_seconds

    def _with(self, role: Role) -> list[str]:
        pairs = enumerate(zip(self.ids, self.roles, strict=True))
        return [one for row, (one, its) in pairs if its is role and row not in self.forgotten]


def split_of(features: FeatureSet, config: RunConfig | None) -> RunSplit:
    """Return what a run, by its config.json, trained on and held out of these features."""
    table = features.recordings
    ids = tuple(map(str, table.id))
    nothing = RowSet.of([], [])
    recipe, dataset = (config.get("recipe"), config.get("dataset")) if config else (None, None)
    if not recipe or not dataset or dataset["rows"] > features.rows:
        return RunSplit((Role.UNKNOWN,) * len(ids), ids, nothing, nothing)
    growths, families = dataset.get("growths", []), dataset.get("families", [])
    divided = divide(
        features,
        dataset["rows"],
        recipe["holdout"],
        recipe["seed"],
        growths,
        families,
        dataset.get("forgotten", []),
    )
    if divided.sha256 != dataset["recordings_sha256"]:
        return RunSplit((Role.UNKNOWN,) * len(ids), ids, nothing, nothing)
    trained, held_out = divided.split.train, divided.split.holdout
    max_frames = recipe.get("max_frames")
    if max_frames is not None:
        sample = sample_of(trained, max_frames, recipe.get("rules", 1))
        trained = _drawn_from(trained, sample)
    known = {int(start): Role.HELD_OUT for start in held_out.starts}
    known |= {int(start): Role.TRAINED for start in trained.starts}
    # Repeated PCM begins where its canonical recording does; without a frame nothing begins.
    roles = tuple(
        known.get(start, Role.UNSEEN) if count else Role.UNSEEN
        for start, count in zip(table.frame_start.tolist(), table.frame_count.tolist(), strict=True)
    )
    gone = features.forgotten
    return RunSplit(roles, ids, _heard(trained, gone), _heard(held_out, gone), gone)


def _heard(rows: RowSet, forgotten: Forgotten) -> RowSet:
    """Return the spans, each within a recording, but for those that are silent."""
    if not len(forgotten.starts):
        return rows
    before = np.searchsorted(forgotten.starts, rows.starts, side="right") - 1
    ends = forgotten.starts[before] + forgotten.counts[before]
    kept = (before < 0) | (rows.starts >= ends)
    return RowSet.of(rows.starts[kept], rows.stops[kept], rows.key)


class Side(StrEnum):
    """A part of a workspace's rows, as a run divided them."""

    TRAIN = "train"
    HOLDOUT = "holdout"
    UNSEEN = "unseen"  # neither: it came after the run began, or --max-frames drew none of it


def sides_of(features: FeatureSet, config: RunConfig | None) -> dict[Side, RowSet]:
    """Return the rows of each side of a run, by its config.json; a span is of one recording.

    Without a run, as one with the default options would divide them now. Raises UsageError where
    the run was started on other features than these.
    """
    every = every_row(features)
    if config is None:
        rule, gone = TrainConfig(), forgotten_now(features, features.rows)
        families = known_families(features)
        split = divide(features, features.rows, rule.holdout, rule.seed, (), families, gone).split
        train, holdout = split.train, split.holdout
    else:
        found = split_of(features, config)
        if Role.UNKNOWN in found.roles:
            raise UsageError("the run was started on other features than these: it has no split")
        train, holdout = found.trained_rows, found.held_out_rows
    known = np.isin(every.starts, np.concatenate([train.starts, holdout.starts]))
    unseen = RowSet.of(every.starts[~known], every.stops[~known])
    return {
        Side.TRAIN: _inside(train, every),
        Side.HOLDOUT: _inside(holdout, every),
        Side.UNSEEN: unseen,
    }


def every_row(features: FeatureSet) -> RowSet:
    """Return all rows of music that is not forgotten, repeated PCM once; a span is a recording."""
    starts, rows = owners(features)
    return RowSet.of(starts, starts + features.recordings.frame_count[rows])


def owners(features: FeatureSet) -> tuple[Int64, Int64]:
    """Return (starts, rows): where recordings begin on the frame axis, and which they are.

    Of those that share their frames the first that is not forgotten. What is handed on is named
    and chosen by this.
    """
    table = features.recordings
    rows = features.forgotten.without(np.flatnonzero(table.frame_count > 0))
    starts, first = np.unique(table.frame_start[rows], return_index=True)
    return starts.astype(np.int64), rows[first]


def _inside(rows: RowSet, every: RowSet) -> RowSet:
    """Return the spans that begin within others."""
    of = np.searchsorted(every.starts, rows.starts, side="right") - 1
    kept = (of >= 0) & (rows.starts < every.stops[of])
    return RowSet.of(rows.starts[kept], rows.stops[kept])


def _drawn_from(spans: RowSet, sample: RowSet) -> RowSet:
    """Return the whole spans, a recording each, from which a sample holds at least one row."""
    drawn = np.zeros(len(spans.starts), dtype=bool)
    for low in range(0, int(spans.stops.max(initial=0)), _ROWS_AT_A_TIME):
        rows = sample.within(low, low + _ROWS_AT_A_TIME)
        drawn[np.searchsorted(spans.starts, rows, side="right") - 1] = True
    return RowSet.of(spans.starts[drawn], spans.stops[drawn], spans.key)


def pca_remark(summary: TrainSummary) -> str:
    """Return one line where PCA does better than the run on held-out frames, else "".

    >>> summary = TrainSummary(run="a", holdout_nmse_db=-3.1, pca_nmse_db=-7.25, pca_components=256)
    >>> pca_remark(summary)
    'PCA with 256 components does better on held-out frames: -7.25 dB; this run -3.10 dB'
    >>> pca_remark(TrainSummary(run="a", holdout_nmse_db=-9.0, pca_nmse_db=-7.25))
    ''
    """
    own, pca = summary.holdout_nmse_db, summary.pca_nmse_db
    if own is None or pca is None or not pca < own:
        return ""
    return (
        f"PCA with {summary.pca_components} components does better on held-out frames: "
        f"{pca:.2f} dB; this run {own:.2f} dB"
    )


def run_summary(location: Location, run: str) -> TrainSummary:
    """Return the summary that a finished training left, without figures where there is none."""
    document = Run(location, run).read("summary.json") or {}
    return TrainSummary.from_dict({"run": run, **document.get("summary", {})})


def chosen_run(location: Location, names: Sequence[str] | None = None) -> str:
    """Return the run that is meant where none is named, of `names` or of all that have a model.

    See `best_run`; where there are several, a log line says which it is. Raises NoInputError
    where there is none.
    """
    runs = trained_runs(location) if names is None else names
    if not runs:
        raise NoInputError(f"{location.url} holds no trained run; run `fadae train` first")
    run, why = best_run(location, runs)
    if len(runs) > 1:
        log.info("%d runs: taking %r (%s); --run takes another", len(runs), run, why)
    return run


def best_run(location: Location, runs: Sequence[str]) -> tuple[str, str]:
    """Return the run to prefer, and why: the best held-out error, else the newest.

    Errors are those of finished runs. Of equals the first by name.
    """
    if len(runs) == 1:
        return runs[0], "the only one"
    errors = location.concurrently(functools.partial(_holdout_nmse_db, location), runs)
    scored = {run: error for run, error in zip(runs, errors, strict=True) if error is not None}
    if scored:
        run = min(sorted(scored), key=scored.__getitem__)
        return run, f"best held-out error, {scored[run]:.2f} dB"
    return max(sorted(runs), key=lambda run: _written(location, run)), "newest"


def run_config(location: Location, run: str) -> RunConfig | None:
    """Return a run's config.json, None where there is none."""
    return Run(location, run).recorded()


def trained_runs(location: Location) -> list[str]:
    """Return the names of the runs that have a model, sorted."""
    names = location.names(paths.RUNS)
    models = [paths.run_path(name, "model.safetensors") for name in names]
    there = location.concurrently(location.exists, models)
    return [name for name, found in zip(names, there, strict=True) if found]


def _holdout_nmse_db(location: Location, run: str) -> float | None:
    """Return a finished run's held-out error, None where it has none."""
    value = run_summary(location, run).holdout_nmse_db
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _written(location: Location, run: str) -> float:
    """Return when a run's model was written, or the run begun, in seconds since 1970."""
    for name in ("model.safetensors", "config.json"):
        try:
            return location.modified_seconds(paths.run_path(run, name))
        except FileNotFoundError:
            continue
    return -math.inf
