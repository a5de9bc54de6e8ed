"""A run: its folder and settings, its state between steps, its metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from fadae._version import __version__
from fadae.config import TrainConfig, changed_settings
from fadae.errors import AccessError, NoInputError, StorageError, UsageError
from fadae.records import (
    DatasetRecord,
    GrowthRecord,
    MetricsRow,
    RunConfig,
    Scores,
    TrainRecipe,
    finite,
)
from fadae.similarity import known_families
from fadae.store import (
    FeatureSet,
    Location,
    keep_root,
    paths,
    publication_number,
)
from fadae.summaries import TrainSummary
from fadae.tracking import Tracker, TrackingError, export, open_trackers
from fadae.training.dataset import (
    Dataset,
    StaleRecordings,
    families_since,
    forgotten_below,
    forgotten_since,
    open_dataset,
    spans_of,
)

log = logging.getLogger("fadae.training")

SECONDS_BETWEEN_WRITES = 10.0
# A storage that is away is waited for as long as one call lasts: not twice in a row, while the
# other ranks wait.
SECONDS_AFTER_FAILURE = 60.0


def run_to_train(location: Location, config: TrainConfig) -> str:
    """Return the run that is meant with --on-growth new: the newest of RUN, RUN-2, RUN-3, ...

    Where that is done and recordings came since, the next one, which is not there yet.
    """
    name = config.run
    for number in itertools.count(2):
        run, following = Run(location, name), f"{config.run}-{number}"
        if Run(location, following).recorded() is None:
            done = run.finished(dataclasses.replace(config, run=name))
            return following if done is not None and done.stale_recordings else name
        name = following
    raise AssertionError("there is no last number")


class Run:
    """runs/<run>/ of a workspace."""

    def __init__(self, location: Location, name: str) -> None:
        """Name the run; nothing is read or created."""
        self.location, self.name = location, name

    def path(self, *parts: str) -> str:
        """Return a path in the run's folder."""
        return paths.run_path(self.name, *parts)

    def read(self, name: str) -> Any:
        """Return a JSON document of the run, None where there is none."""
        try:
            return json.loads(self.location.read_bytes(self.path(name)))
        except FileNotFoundError:
            return None

    def recorded(self) -> RunConfig | None:
        """Return what the run recorded when it began, None where it has not."""
        config: RunConfig | None = self.read("config.json")
        return config

    def write(self, name: str, document: Mapping[str, object]) -> None:
        """Write a JSON document of the run."""
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        self.location.write_bytes(self.path(name), text.encode())

    def continuing(self, config: TrainConfig) -> TrainConfig:
        """Return the config to go on with: what it leaves open is as the run has it, if begun."""
        recorded = self.recorded()
        return config if recorded is None else config.continuing(recorded["recipe"])

    def finished(self, config: TrainConfig) -> TrainSummary | None:
        """Return the summary of this very training where it is done already.

        `stale_recordings` is of now: what was published since the run began is not learned,
        unless --on-growth continue: then the training is not done.

        Raises UsageError, naming what differs, where the run was started with other settings, and
        with --on-growth refuse where recordings came since.
        """
        ended = self._ended(config)
        if ended is None:
            return None
        recorded, summary = ended
        with contextlib.suppress(NoInputError):  # the features may be gone: the run is done
            features = FeatureSet.open(self.location)
            stale = StaleRecordings.after(features, recorded["dataset"]["rows"])
            if stale.count and config.on_growth == "continue":
                return None
            if stale.count and config.on_growth == "refuse":
                raise UsageError(
                    f"{stale.count} recordings came after run {self.name} began: --on-growth "
                    "continue goes on with them, --on-growth new or --run NEW trains another run",
                    summary,
                )
            stale.warn(self.name)
            if gone := forgotten_since(features, recorded["dataset"]):
                log.warning("run %s learned from %s", self.name, _told(gone))
            summary = dataclasses.replace(summary, stale_recordings=stale.count)
        return summary

    def _ended(self, config: TrainConfig) -> tuple[RunConfig, TrainSummary] | None:
        """Return what the run recorded and came to, where this very training is done."""
        recorded = self.recorded()
        if recorded is None:
            return None
        config = config.continuing(recorded["recipe"])
        self._check_recipe(recorded, config)
        done = self.read("summary.json")
        if done is None or done["recipe"] != config.recipe():
            return None
        return recorded, TrainSummary.from_dict(done["summary"])

    def grow(self, config: TrainConfig) -> bool:
        """Bind a finished run to all that is published now; return whether it was due.

        With --on-growth continue, where recordings came since: the run then goes on from its last
        step over all rows. It records where it stood, so its outcome is a function of that too.
        Killed in between, the run is done once more, and grows again.
        """
        if config.on_growth != "continue" or self.read("summary.json") is None:
            return False  # a run under way is checked by all ranks together
        ended = self._ended(config)
        if ended is None:
            return False
        recorded, summary = ended
        assert summary.steps is not None
        config = config.continuing(recorded["recipe"])
        features, was = FeatureSet.open(self.location), recorded["dataset"]
        stale = StaleRecordings.after(features, was["rows"]).count
        if not stale:
            return False
        self._ensure_remembered(features, was)
        later = spans_of(forgotten_below(features, was["rows"], features.rows))
        left_out = [*was.get("forgotten", []), *later]
        now: GrowthRecord = {
            "rows": was["rows"],
            "step": summary.steps,
            "train_frames": was["train_frames"],
        }
        if "families" in was:
            now["families"] = families_since(features, was["rows"])
        growths, families = [*was.get("growths", []), now], was.get("families")
        dataset = open_dataset(self.location, config, features.rows, growths, families, left_out)
        log.info("run %s: taking in %d new recordings", self.name, stale)
        for name in ("summary.json", "baseline.json"):
            self.location.delete(self.path(name))
        publication = publication_number(features.store)
        document = {**recorded, "dataset": dataset.description, "publication": publication}
        self.write("config.json", document)
        return True

    def bind(self, config: TrainConfig) -> Dataset:
        """Return the run's dataset, checked against what the run recorded when it began.

        Raises UsageError where recipe or dataset differ.
        """
        recorded = self.recorded()
        if recorded is None:
            features = FeatureSet.open(self.location)
            found = known_families(features)
            return open_dataset(self.location, config, features.rows, (), found)
        self._check_recipe(recorded, config)
        known = recorded["dataset"]
        growths, families = known.get("growths", []), known.get("families")
        left_out = known.get("forgotten", [])
        dataset = open_dataset(self.location, config, known["rows"], growths, families, left_out)
        self._ensure_remembered(dataset.features, known)
        if dataset.description != recorded["dataset"]:
            raise UsageError(
                f"the features of {self.location.url} are not those that runs/{self.name} was "
                "started on; train under another --run, or --fresh"
            )
        return dataset

    def _ensure_remembered(self, features: FeatureSet, dataset: DatasetRecord) -> None:
        """Raise UsageError where going on would be learning from what was forgotten since."""
        if gone := forgotten_since(features, dataset):
            raise UsageError(
                f"{self.path()} would go on learning from {_told(gone)}: begin it again without "
                "with --fresh, or train another --run"
            )

    def begin(self, config: TrainConfig, dataset: Dataset, model: Mapping[str, object]) -> None:
        """Record what the run is bound to, and the publication that it found."""
        recorded = self.recorded()
        publication = publication_number(dataset.features.store)
        if recorded is not None:
            publication = recorded.get("publication", 0)
        document: RunConfig = {
            "fadae_version": __version__,
            "model": {"name": config.model, **model},
            "recipe": cast(TrainRecipe, config.recipe()),
            "dataset": dataset.description,
            "publication": publication,
        }
        if recorded != document:
            self.write("config.json", document)
        if recorded is None:  # `prune` may have looked before this run named it
            keep_root(dataset.features.store)

    def _check_recipe(self, recorded: RunConfig, config: TrainConfig) -> None:
        changed = changed_settings(dict(recorded["recipe"]), config.recipe())
        if changed:
            raise UsageError(
                f"{self.path()} was started with other settings: {'; '.join(changed)}. Ask for "
                "the same, train under another --run, or discard it with --fresh"
            )

    def discard(self) -> None:
        """Remove the run, its checkpoints included."""
        log.info("discarding runs/%s", self.name)
        self.location.delete(self.path())


def _told(gone: Sequence[str]) -> str:
    """Return in words what was forgotten since a run began."""
    few = ", ".join(map(repr, gone[:3])) + (" ..." if len(gone) > 3 else "")
    return f"{len(gone)} recordings that were forgotten since it began ({few})"


@dataclass
class State:
    """The counters of a run, saved with every checkpoint; times are none of its business."""

    step: int = 0  # batches learned
    interval_loss: float = 0.0  # sums since the last line of metrics
    interval_count: int = 0
    epoch_loss: float = 0.0  # sums since the epoch began
    epoch_count: int = 0
    epoch_silent: int = 0
    epoch_failed: int = 0
    train_loss: float | None = None  # of the last whole epoch
    silent_rows: int = 0  # among the training rows
    failed_rows: int = 0
    evaluated_step: int | None = None
    evaluation: Scores | None = None
    best_step: int | None = None
    best_nmse_db: float | None = None
    best_loss: float | None = None  # of a model with a loss of its own
    evaluations_since_best: int = 0
    stopped_early: bool = False

    @property
    def latest_train_loss(self) -> float | None:
        """The last whole epoch's mean loss; before one has ended, that of its part so far."""
        if self.train_loss is None and self.epoch_count:
            return self.epoch_loss / self.epoch_count
        return self.train_loss

    def add_batch(self, loss_sum: float, count: int, silent: int, failed: int) -> None:
        """Count one learned batch."""
        self.step += 1
        self.interval_loss += loss_sum
        self.interval_count += count
        self.epoch_loss += loss_sum
        self.epoch_count += count
        self.epoch_silent += silent
        self.epoch_failed += failed

    def grow(self) -> None:
        """Begin anew what speaks of the rows so far: scores, the best of them, epochs."""
        kept = {"step": self.step}
        for one in dataclasses.fields(self):
            setattr(self, one.name, kept.get(one.name, one.default))

    def end_interval(self) -> float:
        """Return the mean loss since the last call, NaN when no row was learned."""
        loss = self.interval_loss / self.interval_count if self.interval_count else math.nan
        self.interval_loss, self.interval_count = 0.0, 0
        return loss

    def end_epoch(self) -> None:
        """Keep the epoch's figures and begin the next one's."""
        self.train_loss = self.epoch_loss / self.epoch_count if self.epoch_count else None
        self.silent_rows, self.failed_rows = self.epoch_silent, self.epoch_failed
        self.epoch_loss, self.epoch_count = 0.0, 0
        self.epoch_silent = self.epoch_failed = 0

    def add_evaluation(
        self, scores: Scores, patience: int | None, *, by_loss: bool = False
    ) -> bool:
        """Keep an evaluation's scores; return whether they are the best so far.

        Best is the smallest NMSE; with `by_loss`, for models with a loss of their own, that loss.

        >>> state = State()
        >>> scores = [Scores(loss, -1.0, -1.0, 9, 0, 0) for loss in (3.0, 2.0)]
        >>> [state.add_evaluation(one, None, by_loss=True) for one in scores]
        [True, True]
        """
        self.evaluated_step, self.evaluation = self.step, scores
        best, found = self.best_nmse_db, scores.nmse_db
        if by_loss:
            best, found = self.best_loss, scores.loss
        better = best is None or found < best
        if better:
            self.best_step, self.best_nmse_db = self.step, scores.nmse_db
            self.best_loss = found if by_loss else None
            self.evaluations_since_best = 0
        else:
            self.evaluations_since_best += 1
            self.stopped_early = patience is not None and self.evaluations_since_best >= patience
        return better

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able dict that `from_dict` reads back."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        if self.evaluation is not None:
            values["evaluation"] = self.evaluation.to_dict()
        if self.best_loss is None:  # as states were written before models had losses
            del values["best_loss"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the state that `to_dict` wrote."""
        scores = values.get("evaluation")
        return cls(**{**values, "evaluation": None if scores is None else Scores(**scores)})


class Metrics:
    """The lines of one run, written whole at most every few seconds and when asked.

    Object stores know no appending, and a whole file is never torn; a year of training is a few
    megabytes of lines.
    """

    def __init__(
        self, location: Location, run: str, step: int, trackers: Sequence[Tracker] = ()
    ) -> None:
        """Take up a run at a step: lines of later steps, from before a kill, are dropped."""
        self._location, self._path = location, paths.run_path(run, "metrics.jsonl")
        self._lines = [line for line in self._written() if line["step"] <= step]
        self._last_write = time.monotonic()
        self._last_failure = self._last_untracked = float("-inf")
        self._trackers = trackers

    def add(self, step: int, **figures: float | int | None) -> None:
        """Add figures to the line of a step; NaN is written as null."""
        known: dict[str, float | int | None] = finite(figures)
        row = cast(MetricsRow, {"step": step, **known})
        if self._lines and self._lines[-1]["step"] == step:
            self._lines[-1].update(row)
        else:
            self._lines.append(row)
        if time.monotonic() - self._last_write > SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self, at_once: bool = False) -> None:
        """Write all lines. Where the storage fails, that is logged and the lines are kept.

        Soon after a failure nothing is tried unless it must be `at_once`.
        """
        if not at_once and time.monotonic() - self._last_failure < SECONDS_AFTER_FAILURE:
            return
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        try:
            self._location.write_bytes(self._path, text.encode())
        except (StorageError, AccessError) as error:
            log.warning("metrics are not written: %s", error)
            self._last_failure = time.monotonic()
        if not at_once:  # a checkpoint waits for those, and none shall for a tracker
            self._track()
        self._last_write = time.monotonic()

    def close(self, done: bool = False) -> None:
        """Let go of the trackers, which have all that is known once the run is `done`."""
        for tracker in self._trackers:
            try:
                export([tracker], self._lines, done=done)
            except TrackingError as error:
                log.warning("%s; `fadae runs --track` logs the rest", error)

    def _track(self) -> None:
        """Tell the trackers what is new, but for the last line, which may get more figures.

        One that is away is told later: training goes on.
        """
        if time.monotonic() - self._last_untracked < SECONDS_AFTER_FAILURE:
            return
        for tracker in self._trackers:
            try:
                tracker.take(self._lines[:-1])
            except TrackingError as error:
                log.warning("%s", error)
                self._last_untracked = time.monotonic()

    def _written(self) -> list[MetricsRow]:
        try:
            text = self._location.read_bytes(self._path).decode()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]


def trackers_of(run: Run, names: Sequence[str]) -> list[Tracker]:
    """Return a begun run's trackers; one that cannot be had now is logged and left out."""
    config, opened = run.recorded() if names else None, list[Tracker]()
    if config is None:
        return opened
    for name in names:
        try:
            opened += open_trackers([name], run.location, run.name, config)
        except TrackingError as error:
            log.warning("%s; `fadae runs %s --track %s` logs it later", error, run.name, name)
    return opened
