"""The runs of a workspace, read lazily: settings, curves, codecs, reconstructions, scores."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from fadae.arrays import Float64
from fadae.errors import UsageError, unknown
from fadae.query.overlay_curves import Overlay, curves, overlay
from fadae.query.recordings import Recording
from fadae.query.run_lines import RunTable, run_table
from fadae.records import MetricsRow, RunConfig, SideScores
from fadae.store import (
    SCORES,
    FrameStore,
    Location,
    attrs_of,
    paths,
    reconstruction_path,
    side_scores,
)
from fadae.training import chosen_run

if TYPE_CHECKING:  # torch comes in with the codec, when one is asked for
    from fadae.model import Codec

ORIGINAL, TRANSFORM = "original", "transform"  # sources of every recording, as runs are


class Runs:
    """What training and reconstruction left in a workspace; the part of it that knows runs."""

    def __init__(self, location: Location, below: Collection[str] | None = None) -> None:
        """Take the location, and the names below it where they are known; nothing is read."""
        self.location = location
        self._below = below
        self._codecs: dict[str, Codec] = {}
        self._stores: dict[str, FrameStore] = {}

    @cached_property
    def runs(self) -> list[str]:
        """Names of the training runs."""
        names = self._names(paths.RUNS)
        return [name for name in names if self.location.exists(paths.run_path(name, "config.json"))]

    @cached_property
    def default_run(self) -> str:
        """The run that is meant where none is named: the only one, of those with a model.

        Of several that with the best held-out error, else the newest; a log line says which.
        Raises NoInputError where there is none.
        """
        return chosen_run(self.location)

    @cached_property
    def reconstructions(self) -> list[str]:
        """Names of the runs with published reconstructions."""
        names = self._names(paths.RECONSTRUCTIONS)
        runs = [paths.reconstructed_run(name) for name in names]
        return [run for run in runs if self._find_reconstruction(run)]

    @cached_property
    def default_reconstruction(self) -> str:
        """The run whose reconstructions are meant where none is named; see `default_run`."""
        if not self.reconstructions:
            return self.default_run
        return chosen_run(self.location, self.reconstructions)

    def run_table(self, sort: str = "held_out") -> RunTable:
        """Return the training runs side by side, the best held-out error first.

        sort: one of the keys that `fadae runs --sort` takes; UsageError on another.
        """
        return run_table(self.location, sort)

    def curves(self, runs: Sequence[str] | None = None) -> Overlay:
        """Return the curves of some runs, or of all, and the axes that all of them fit into.

        Points are (step, value), at most 500 a curve. Raises UsageError for a run that is not.
        """
        chosen = self.runs if runs is None else runs
        return overlay({run: curves(self.metrics(run)) for run in chosen})

    def codec(self, run: str | None = None) -> Codec:
        """Return a run's codec: mu-law, scaling and network, both ways. Loads torch."""
        run = self.default_run if run is None else run
        if run not in self._codecs:
            self._ensure_run(run)
            from fadae.model import Codec

            self._codecs[run] = Codec.load(self.location, run)
        return self._codecs[run]

    def config(self, run: str | None = None) -> RunConfig:
        """Return a run's config.json."""
        run = self.default_run if run is None else run
        self._ensure_run(run)
        config: RunConfig = json.loads(self.location.read_bytes(paths.run_path(run, "config.json")))
        return config

    def metrics(self, run: str | None = None) -> list[MetricsRow]:
        """Return a run's metrics.jsonl, one dict a line; none before its first line."""
        run = self.default_run if run is None else run
        self._ensure_run(run)
        try:
            text = self.location.read_bytes(paths.run_path(run, "metrics.jsonl")).decode()
        except FileNotFoundError:
            return []
        # A run in progress may be read in the middle of its last line.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def scores(self, run: str | None = None) -> dict[str, Float64]:
        """Return a run's scores in dB by name, one value a recording; NaN where it has none.

        Which of them are of held-out recordings: `split(run).recording_held_out`.
        """
        store = self._reconstructed(run or self.default_reconstruction)
        return {name: store.read(f"recording_{name}") for name in SCORES}

    def recording_scores(self, row: int, run: str | None = None) -> dict[str, float]:
        """Return a run's scores of the recording at a row, as `scores` has them; none yet: {}."""
        store = self._reconstructed(run or self.default_reconstruction)
        if row >= store.recording_rows:
            return {}
        return {name: float(store.read(f"recording_{name}", row, row + 1)[0]) for name in SCORES}

    def pooled_scores(self, run: str | None = None) -> SideScores:
        """Return scores in dB pooled over all frames held out, and over all trained on."""
        return side_scores(attrs_of(self._reconstructed(run or self.default_reconstruction)))

    def ensure_source(self, source: str) -> None:
        """Raise UsageError where a source is neither original, transform nor the name of a run."""
        known = [ORIGINAL, TRANSFORM, *sorted({*self.runs, *self.reconstructions})]
        if source not in known:
            raise unknown("source", source, known)

    def _names(self, folder: str) -> list[str]:
        """Return the names in a folder; one that is known not to be there is not asked for."""
        known_absent = self._below is not None and folder not in self._below
        return [] if known_absent else self.location.names(folder)

    def _ensure_run(self, run: str) -> None:
        if run not in self.runs:
            raise unknown("run", run, self.runs)

    def _reconstructed(self, run: str, recording: Recording | None = None) -> FrameStore:
        """Return a run's reconstructions; raises UsageError where they lack the recording."""
        store = self._find_reconstruction(run) if run in self.reconstructions else None
        if store is None:
            if run not in self.runs:
                raise unknown("run", run, sorted({*self.runs, *self.reconstructions}))
            raise UsageError(f"run {run!r} has no reconstructions: fadae reconstruct --run {run}")
        if recording and recording.frame_start + recording.frame_count > store.rows:
            raise UsageError(
                f"{recording.id} came after run {run!r} was reconstructed: "
                f"fadae reconstruct --run {run}"
            )
        return store

    def _find_reconstruction(self, run: str) -> FrameStore | None:
        if run not in self._stores:
            store = FrameStore.find(self.location, reconstruction_path(run))
            if store is None or not store.rows:
                return None
            self._stores[run] = store
        return self._stores[run]
