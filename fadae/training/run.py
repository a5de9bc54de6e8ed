"""A run's folder: what it is bound to, whether it may go on, and whether it is done."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fadae
from fadae.data.rows import Split, split_rows
from fadae.errors import NoInputError, UsageError
from fadae.nouns import canonical_json, sha256_hex
from fadae.store.dataset import FeatureSet
from fadae.store.location import Location
from fadae.training.config import TrainConfig, changed_settings

log = logging.getLogger("fadae.training")


@dataclass(frozen=True)
class Dataset:
    """The rows a run is bound to: those published when it began."""

    features: FeatureSet
    rows: int
    split: Split
    description: dict[str, Any]  # as config.json records it
    stale_recordings: int = 0  # published since, unknown to the run

    def recording_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number for each row [n] that is the same for all rows of a recording."""
        starts = np.sort(self.features.recordings.frame_start)
        return np.asarray(np.searchsorted(starts, rows, side="right"))


def open_dataset(location: Location, config: TrainConfig, rows: int | None) -> Dataset:
    """Return the first `rows` rows of the store (None: all published) as a run sees them.

    Raises NoInputError where no row can be trained on.
    """
    features = FeatureSet.open(location)
    if rows is not None and rows > features.rows:
        raise UsageError(
            f"runs/{config.run} was begun on {rows} rows, the store has {features.rows}: it is "
            "another one; train under another --run, or --fresh"
        )
    rows = features.rows if rows is None else rows
    stale = stale_recordings(features, rows, config.run)
    divided = divide(features, rows, config.holdout, config.seed)
    split = divided.split
    if config.max_frames is not None:
        split = dataclasses.replace(split, train=split.train.thinned(config.max_frames))
    if not split.train.count:
        raise NoInputError(f"{location.url} holds no frames to train on")
    transform = features.transform
    description = {
        "rows": rows,
        "recordings_sha256": divided.sha256,
        "transform": features.attrs["transform"],
        "hop_seconds": transform.hop_samples / transform.sample_rate_hz,
        "train_frames": split.train.count,
        "holdout_frames": split.holdout.count,
        "padding_rows": split.padding_rows,
    }
    return Dataset(features, rows, split, description, stale)


def stale_recordings(features: FeatureSet, rows: int, run: str) -> int:
    """Return how many recordings with frames were published after `rows` rows; warn of them."""
    table = features.recordings
    own = table.canonical & (table.frame_count > 0)
    stale = int((own & (table.frame_start >= rows)).sum())
    if stale:
        log.warning(
            "run %s began with %d of %d recordings; the new ones need --run NEW or --fresh",
            run, int(own.sum()) - stale, int(own.sum()),
        )  # fmt: skip
    return stale


@dataclass(frozen=True)
class Divided:
    """The recordings of the store's first rows, divided between training and holdout."""

    split: Split
    sha256: str  # of the recordings' ids and places: what a run is bound to


def divide(features: FeatureSet, rows: int, holdout: float, seed: int) -> Divided:
    """Return how a run divides the recordings of the first `rows` rows, before any sampling."""
    table = features.recordings
    used = np.flatnonzero(table.canonical & (table.frame_start < rows) & (table.frame_count > 0))
    ids = [str(i) for i in table.id[used]]
    starts = table.frame_start[used].astype(np.int64)
    counts = table.frame_count[used].astype(np.int64)
    split = split_rows(ids, starts, counts, rows, holdout, seed)
    return Divided(split, sha256_hex(canonical_json([ids, starts.tolist(), counts.tolist()])))


class Run:
    """runs/<run>/ of a workspace."""

    def __init__(self, location: Location, name: str) -> None:
        """Name the run; nothing is read or created."""
        self.location, self.name = location, name

    def path(self, *parts: str) -> str:
        """Return a path in the run's folder."""
        return self.location.join("runs", self.name, *parts)

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON document of the run, None where there is none."""
        try:
            document: dict[str, Any] = json.loads(self.location.read_bytes(self.path(name)))
        except FileNotFoundError:
            return None
        return document

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a JSON document of the run."""
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        self.location.write_bytes(self.path(name), text.encode())

    def finished(self, config: TrainConfig) -> dict[str, Any] | None:
        """Return the summary of this very training where it is done already.

        `stale_recordings` is of now: what was published since the run began is not learned.

        Raises UsageError, naming what differs, where the run was begun with other settings.
        """
        recorded = self.read("config.json")
        if recorded is None:
            return None
        self._check_recipe(recorded, config)
        done = self.read("summary.json")
        if done is None or done["recipe"] != config.recipe():
            return None
        summary: dict[str, Any] = done["summary"]
        with contextlib.suppress(NoInputError):  # the features may be gone: the run is done
            features, rows = FeatureSet.open(self.location), recorded["dataset"]["rows"]
            summary["stale_recordings"] = stale_recordings(features, rows, self.name)
        return summary

    def bind(self, config: TrainConfig) -> Dataset:
        """Return the run's dataset, checked against what the run recorded when it began.

        Raises UsageError where recipe or dataset differ.
        """
        recorded = self.read("config.json")
        if recorded is None:
            return open_dataset(self.location, config, None)
        self._check_recipe(recorded, config)
        dataset = open_dataset(self.location, config, recorded["dataset"]["rows"])
        if dataset.description != recorded["dataset"]:
            raise UsageError(
                f"the features of {self.location.url} are not those that runs/{self.name} was "
                "begun on; train under another --run, or --fresh"
            )
        return dataset

    def begin(self, config: TrainConfig, dataset: Dataset, model: dict[str, Any]) -> None:
        """Record what the run is bound to."""
        document = {
            "fadae_version": fadae.__version__,
            "model": {"name": config.model, **model},
            "recipe": config.recipe(),
            "dataset": dataset.description,
        }
        if self.read("config.json") != document:
            self.write("config.json", document)

    def _check_recipe(self, recorded: dict[str, Any], config: TrainConfig) -> None:
        changed = changed_settings(recorded["recipe"], config.recipe())
        if changed:
            raise UsageError(
                f"runs/{self.name} was begun with other settings: {'; '.join(changed)}. Ask for "
                "the same, train under another --run, or discard it with --fresh"
            )

    def discard(self) -> None:
        """Remove the run, its checkpoints included."""
        log.info("discarding runs/%s", self.name)
        self.location.delete(self.path())
