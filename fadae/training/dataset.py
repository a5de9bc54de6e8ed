"""What a run learns from and is judged by: rows of the features, divided between the two.

A run is bound to the rows that were published when it began; how they are divided is a function of
its rules, of copies and of what is forgotten, all as the run recorded them.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fadae.arrays import Int64
from fadae.config import TrainConfig
from fadae.data import CHUNK_ROWS, RowSet, Split
from fadae.errors import NoInputError, UsageError
from fadae.records import DatasetRecord, GrowthRecord, canonical_json, sha256_hex
from fadae.similarity import known_families
from fadae.store import FeatureSet, Location, PublishedRecordings, paths
from fadae.training.sides import Families, Sides

log = logging.getLogger("fadae.training")


@dataclass(frozen=True)
class Dataset:
    """The rows a run is bound to: those published when it began."""

    features: FeatureSet
    rows: int
    split: Split
    description: DatasetRecord  # as config.json records it
    stale_recordings: int = 0  # published since, unknown to the run

    def recording_of(self, rows: Int64) -> Int64:
        """Return a number for each row [n] that is the same for all rows of a recording."""
        starts = np.sort(self.features.recordings.frame_start)
        return np.asarray(np.searchsorted(starts, rows, side="right"))


def open_dataset(
    location: Location,
    config: TrainConfig,
    rows: int | None,
    growths: Sequence[GrowthRecord] = (),
    families: Families | None = None,
    forgotten: Sequence[Sequence[int]] | None = None,
) -> Dataset:
    """Return the first `rows` rows of the store (None: all published) as a run sees them.

    `growths` say where the run stood when it took in more: what was there then stays divided.
    `families`: of copies, as the run recorded them, where it did.
    `forgotten`: what was left out when it began; None for what is forgotten now.

    Raises NoInputError where no row can be trained on.
    """
    features = FeatureSet.open(location)
    if rows is not None and rows > features.rows:
        raise UsageError(
            f"{paths.run_path(config.run)} was started on {rows} rows, the store has "
            f"{features.rows}: it is another one; train under another --run, or --fresh"
        )
    rows = features.rows if rows is None else rows
    stale = StaleRecordings.after(features, rows)
    stale.warn(config.run)
    if forgotten is None:
        forgotten = forgotten_now(features, rows)
    divided = divide(
        features, rows, config.holdout, config.seed, growths, families or (), forgotten
    )
    split = divided.split
    if config.max_frames is not None:
        drawn = sample_of(split.train, config.max_frames, config.rules)
        split = dataclasses.replace(split, train=drawn)
    if not split.train.count:
        raise NoInputError(f"{location.url} holds no frames to train on")
    transform = features.transform
    description: DatasetRecord = {
        "rows": rows,
        "recordings_sha256": divided.sha256,
        "transform": features.attrs["transform"],
        "hop_seconds": transform.hop_samples / transform.sample_rate_hz,
        "train_frames": split.train.count,
        "holdout_frames": split.holdout.count,
        "padding_rows": split.padding_rows,
    }
    if growths:
        description["growths"] = list(growths)
    if families is not None:
        description["families"] = [list(members) for members in families]
    if forgotten:
        description["forgotten"] = [list(span) for span in forgotten]
    return Dataset(features, rows, split, description, stale.count)


def sample_of(rows: RowSet, count: int, rules: int) -> RowSet:
    """Return a seeded sample of rows by a run's rules: of single rows, or of whole chunks."""
    return rows.thinned(count) if rules == 1 else rows.in_chunks(count, CHUNK_ROWS)


@dataclass(frozen=True)
class StaleRecordings:
    """How many recordings with frames came after a run's rows, and how many there are in all."""

    count: int
    total: int

    @classmethod
    def after(cls, features: FeatureSet, rows: int) -> Self:
        """Return those published after `rows` rows."""
        table = features.recordings
        own = table.canonical & (table.frame_count > 0)
        own[features.forgotten.silent] = False
        return cls(int((own & (table.frame_start >= rows)).sum()), int(own.sum()))

    def warn(self, run: str) -> None:
        """Warn of them, where there are any, for a run that keeps to the older ones."""
        if self.count:
            log.warning(
                "run %s began with %d of %d recordings; the new ones need --run NEW or --fresh, "
                "or --on-growth",
                run,
                self.total - self.count,
                self.total,
            )


@dataclass(frozen=True)
class Divided:
    """The recordings of the store's first rows, divided between training and holdout."""

    split: Split
    sha256: str  # of the recordings' ids and places: what a run is bound to


def divide(
    features: FeatureSet,
    rows: int,
    holdout: float,
    seed: int,
    growths: Sequence[GrowthRecord] = (),
    families: Families = (),
    forgotten: Sequence[Sequence[int]] = (),
) -> Divided:
    """Return how a run divides the recordings of the first `rows` rows, before any sampling.

    Recordings of a family lie on one side. What came with each growth is divided by itself: no
    recording that was trained on is ever held out, nor the other way about; a copy of an older one
    joins its side, and one of recordings on both sides is left out. `forgotten` are spans of the
    recording table to leave out.
    """
    table = features.recordings
    wanted = table.canonical & (table.frame_start < rows) & (table.frame_count > 0)
    for first, stop in forgotten:
        wanted[first:stop] = False
    used = np.flatnonzero(wanted)
    ids = [str(i) for i in table.id[used]]
    starts = table.frame_start[used].astype(np.int64)
    counts = table.frame_count[used].astype(np.int64)
    borders = [0, *(growth["rows"] for growth in growths), rows]
    of_parts = [families, *(growth.get("families", ()) for growth in growths)]
    sides = Sides(lambda row: str(table.id[row]), holdout, seed)
    for (low, high), its in zip(itertools.pairwise(borders), of_parts, strict=True):
        (own,) = np.nonzero((starts >= low) & (starts < high))
        sides.add(used[own], starts[own], counts[own], high - low, its)
    return Divided(sides.split, sha256_hex(canonical_json([ids, starts.tolist(), counts.tolist()])))


def families_since(features: FeatureSet, rows: int) -> list[list[int]]:
    """Return the families with a recording whose frames came after the first `rows` rows."""
    starts = features.recordings.frame_start
    return [one for one in known_families(features) if any(starts[row] >= rows for row in one)]


def forgotten_below(features: FeatureSet, low: int, rows: int) -> Int64:
    """Return the recordings that are forgotten now and have frames from row `low` on, below `rows`.

    Those with sound that another recording shares are no such ones.
    """
    gone = features.forgotten
    wanted = (gone.counts > 0) & (gone.starts >= low) & (gone.starts < rows)
    return np.asarray(gone.silent[wanted])


def forgotten_now(features: FeatureSet, rows: int) -> list[list[int]]:
    """Return what a run that begins now on the first rows leaves out, for `divide`."""
    return spans_of(forgotten_below(features, 0, rows))


def spans_of(rows: Int64) -> list[list[int]]:
    """Return rising numbers as spans [start, stop).

    >>> spans_of(np.array([1, 2, 3, 7]))
    [[1, 4], [7, 8]]
    """
    if not len(rows):
        return []
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [[int(part[0]), int(part[-1]) + 1] for part in parts]


def forgotten_since(features: FeatureSet, dataset: DatasetRecord) -> list[str]:
    """Return the ids of the recordings that a run is bound to and that were forgotten since."""
    rows = forgotten_below(features, 0, dataset["rows"])
    for first, stop in dataset.get("forgotten", []):
        rows = rows[(rows < first) | (rows >= stop)]
    published = PublishedRecordings(features.store)
    return [published.row(row).id for row in rows.tolist()]
