"""A workspace opened for reading: recordings, features, audio, runs and codes, all by slices.

Opening reads little; arrays stay where they are until a slice of them is asked for. Nothing here
writes. `fadae.open(url)` returns the `Workspace`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fadae import html
from fadae.arrays import Float32
from fadae.audio import Tags, from_pcm
from fadae.errors import NoInputError, UsageError, unknown
from fadae.licences import spdx_or_unknown
from fadae.query import notebook
from fadae.query.alike import CorpusMap, Similar, corpus_map, similar
from fadae.query.duplicates import Family, families
from fadae.query.history import PublicationLine, history
from fadae.query.licences import licence_counts
from fadae.query.notebook import Excerpt
from fadae.query.recordings import Recording, Recordings, take_inventory
from fadae.query.runs import ORIGINAL, TRANSFORM, Runs
from fadae.query.selection import Range, band_range, hop_rows, sample_span
from fadae.query.sizes import sizes_of
from fadae.records import CodeSize, FailureLine
from fadae.similarity import duplicates
from fadae.store import (
    FeatureSet,
    FrameStore,
    Location,
    PublishedRecordings,
    attrs_of,
    code_size,
    paths,
    tombstone_names,
)
from fadae.summaries import WorkspaceSummary
from fadae.training import (
    Role,
    RunSplit,
    Side,
    best_run,
    every_row,
    roles_of,
    run_config,
    run_summary,
    sides_of,
    split_of,
    trained_runs,
)
from fadae.transform import Transform, mu_law

if TYPE_CHECKING:  # xarray and torch come in when something asks for a dataset or a codec
    import xarray as xr

    from fadae.data import RowSet
    from fadae.model import Codes
    from fadae.query.torch_dataset import FrameDataset
    from fadae.query.torch_rows import What

_MOST_FAILURES = 1000
_BANDS = ("band_centre_hz", "band_low_hz", "band_high_hz")


def open(
    url: str,
    storage_options: Mapping[str, object] | None = None,
    *,
    at: int | str | None = None,
) -> Workspace:
    """Return the workspace at a folder or URL; raises UsageError where there is none.

    at: recordings and features as an earlier publication left them, by its number or the last one
    of a day or moment, "2026-11-01" or "2026-11-01T12:00" (UTC); `fadae log` lists them. Runs are
    those of now. The storage options stay in this object: nothing serialises them.
    """
    location = Location(url, storage_options)
    below = location.names("")
    if not below:
        raise UsageError(f"no workspace at {location.url}: `fadae ingest` makes one")
    return Workspace(location, below, at)


class Workspace(Runs):
    """What a workspace holds, read lazily. One state: open again to see what came since."""

    def __init__(
        self,
        location: Location,
        below: Collection[str] | None = None,
        at: int | str | None = None,
    ) -> None:
        """Take the location, and the names below it where they are known; nothing is read.

        at: the publication, of `open`.
        """
        super().__init__(location, below)
        self._at = at
        self._splits: dict[str, RunSplit] = {}
        self._roles: dict[str, Sequence[Role]] = {}
        self._numbers: dict[tuple[str, int], float] = {}

    def __repr__(self) -> str:
        at = "" if self._at is None else f", at={self._at!r}"
        return f"fadae.open({self.location.url!r}{at})"

    def _repr_html_(self) -> str:
        has_features = self._has_features
        about: dict[str, object] = {
            "recordings": len(self.recordings) if has_features else 0,
            "hours": self.audio_seconds / 3600 if has_features else 0.0,
            "transform": self.transform.name if has_features else None,
            "rate (Hz)": self.rate_hz if has_features else None,
            "coefficients a row": self.transform.size if has_features else None,
            "seconds a row": self.hop_seconds if has_features else None,
            "runs": ", ".join(self.runs) or None,
            "reconstructions": ", ".join(self.reconstructions) or None,
        }
        return html.fields(f"Workspace {self.location.url}", about)

    def _first_seconds(self, recording: Recording) -> str:
        """Return what a notebook shows below what is said of a recording."""
        return self.show(recording.id)._repr_html_()

    def history(self, last: int | None = None) -> list[PublicationLine]:
        """Return the publications that are kept, the newest first; `last`: at most so many."""
        return history(self.location, last)

    # --- recordings ---

    @cached_property
    def recordings(self) -> Recordings:
        """All recordings of the features, in the order of their rows."""
        return Recordings(self._set, self._default_roles, self._first_seconds)

    def recording(self, recording_id: str) -> Recording:
        """Return a recording by its id; raises UsageError naming near ids."""
        return self.recordings.by_id(recording_id)

    def search(self, text: str, limit: int | None = None) -> list[Recording]:
        """Return recordings whose title, creator, item and file hold every word, in any case."""
        return self.recordings.search(text, limit)

    @property
    def audio_seconds(self) -> float:
        """Duration of all recordings, those with the same samples counted once."""
        return self._set.audio_seconds

    def split(self, run: str | None = None) -> RunSplit:
        """Return which recordings, and which rows, a run trained on and held out.

        Without a name, of the default run. Raises UsageError for an unknown one.
        """
        run = self.default_run if run is None else run
        if run not in self._splits:
            self._ensure_run(run)
            self._splits[run] = split_of(self._set, run_config(self.location, run))
        return self._splits[run]

    def roles(self, run: str | None = None) -> Sequence[Role]:
        """Return what each recording was to a run, by its row: `split`, yet quick for a few."""
        run = self.default_run if run is None else run
        if run not in self._roles:
            self._ensure_run(run)
            self._roles[run] = roles_of(self.location, run, self._set) or self.split(run).roles
        return self._roles[run]

    def _default_roles(self) -> Sequence[Role] | None:
        """Return the roles that tell which recordings are held out; None where no run is begun."""
        run = self.split_run
        return self.roles(run) if run is not None and run in self.runs else None

    @cached_property
    def split_run(self) -> str | None:
        """The run whose split is meant where none is named; None where no run is begun."""
        if not self.runs:
            return None
        return best_run(self.location, trained_runs(self.location) or self.runs)[0]

    def rows_of(self, side: Side | None, run: str | None = None) -> RowSet:
        """Return the rows that a run has on a side of its split; None: all that are music.

        Without a name those of the default run, and where there is none, as one with the default
        options would divide them. Raises UsageError for an unknown run, or one of other features.
        """
        if side is None:
            return every_row(self._set)
        run = self.split_run if run is None else run
        if run is not None:
            self._ensure_run(run)
        return sides_of(self._set, None if run is None else run_config(self.location, run))[side]

    # --- features, by time and band ---

    @cached_property
    def transform(self) -> Transform:
        """The transform the features were extracted with."""
        return self._set.transform

    @property
    def rate_hz(self) -> int:
        """Sample rate of all audio here."""
        return self.transform.sample_rate_hz

    @property
    def hop_seconds(self) -> float:
        """Time from a frame to the next."""
        return self.transform.hop_samples / self.rate_hz

    @cached_property
    def features(self) -> xr.Dataset:
        """features.zarr as a lazy Dataset; raises NoInputError where there is none.

        `.chunk()` makes it one of dask arrays.
        """
        return self._open_lazily(self._set.store)

    def reconstruction(self, run: str | None = None) -> xr.Dataset:
        """Return a run's reconstructions, lazy: encoded, scale, features, audio, scores.

        Raises UsageError where the run has none.
        """
        return self._open_lazily(self._reconstructed(run or self.default_reconstruction))

    def select(
        self, recording_id: str, seconds: Range = None, hz: Range = None, source: str = ORIGINAL
    ) -> xr.Dataset:
        """Return the rows whose hop overlaps [start, stop) and the bands that overlap hz, lazily.

        Arrays (frame, coefficient) and (frame, sample); `frame_time`, in seconds, indexes the
        frames. With a run's name as source, its reconstruction: encoded (frame, code) and scale
        (frame) beside features and audio. A slice of it in time is an encoding too: see `decode`.
        """
        recording = self.recordings.find(recording_id)
        hop = self.transform.hop_samples
        first, last = hop_rows(seconds, self.rate_hz, hop, recording.frame_count)
        bands = self._bands(hz)
        parts = {
            "frame": slice(recording.frame_start + first, recording.frame_start + last),
            "coefficient": self._coefficients(bands),
            "band": bands,
        }
        chosen = self.features.drop_dims("recording").isel(parts)
        if source not in (ORIGINAL, TRANSFORM):
            self._reconstructed(source, recording)
            made = self.reconstruction(source).drop_dims("recording")
            made = made.isel({axis: part for axis, part in parts.items() if axis in made.dims})
            axes = ("frame_time", "frame_recording", "coefficient_band", *_BANDS)
            chosen = made.assign({name: chosen[name].variable for name in axes})
        chosen = chosen.assign_attrs(recording_id=recording.id)
        return chosen.set_coords(("frame_time", "frame_recording")).set_xindex("frame_time")

    def coefficients(
        self, recording_id: str, seconds: Range = None, hz: Range = None, source: str = ORIGINAL
    ) -> NDArray[np.floating[Any]]:
        """Return the coefficients [F, C] of what `select` selects, read now.

        As stored; those of a run without reconstructions are computed now, float32.
        """
        if source in (ORIGINAL, TRANSFORM) or source in self.reconstructions:
            chosen = self.select(recording_id, seconds, hz, source)
            return np.asarray(chosen["features"].to_numpy())
        chosen = self.select(recording_id, seconds)
        prepared = self._prepared(source, self.recordings.find(recording_id).frame_start)
        made = self.codec(source).reconstruct(chosen["features"].to_numpy(), prepared)
        return made[:, self._coefficients(self._bands(hz))]

    def codes(self, recording_id: str, seconds: Range = None, run: str | None = None) -> Codes:
        """Return a recording's codes with their time axis; slices of them decode alone.

        Those that are written, else encoded now from the features.
        """
        run = self.default_run if run is None else run
        chosen = self.select(recording_id, seconds)
        start_seconds = float(chosen["frame_time"][0])
        if run not in self.reconstructions:
            prepared = self._prepared(run, self.recordings.find(recording_id).frame_start)
            features = chosen["features"].to_numpy()
            return self.codec(run).encode(features, start_seconds, prepared)
        return self._codes_in(self.select(recording_id, seconds, source=run), start_seconds)

    def code_size(self, run: str | None = None) -> CodeSize | None:
        """Return what a run's codes take a row, on average; None where that is not known.

        Of all that has been reconstructed, else of the frames that the training held out.
        """
        run = self.default_reconstruction if run is None else run
        store = self._find_reconstruction(run) if run in self.reconstructions else None
        if store is not None:
            return code_size(store, self.hop_seconds)
        return run_summary(self.location, run).code_size

    def decode(self, encoding: xr.Dataset) -> Float32:
        """Return the features [F, C] of a (slice of a) run's `select`, from its codes alone."""
        return self.codec(encoding.attrs["run"]).decode(self._codes_in(encoding))

    def _codes_in(self, made: xr.Dataset, start_seconds: float = 0.0) -> Codes:
        """Return the codes of a part of a run's reconstructions."""
        from fadae.model import Codes

        scale = made["scale"].to_numpy()[:, None] if "scale" in made else None
        lengths = made["code_bytes"].to_numpy() if "code_bytes" in made else None
        values = made["encoded"].to_numpy()
        return Codes(values, scale, self.hop_seconds, start_seconds, lengths)

    def _prepared(self, run: str, row: int) -> float | None:
        """Return what a run encodes the recording at a row of the frames with, if anything."""
        if not self.codec(run).prepares:
            return None
        if (run, row) not in self._numbers:
            from fadae.model import PREPARED_FRAMES

            at, store = int(self._set.read("frame_recording", row, row + 1)[0]), self._set.store
            start = int(store.read("recording_frame_start", at, at + 1)[0])
            count = int(store.read("recording_frame_count", at, at + 1)[0])
            rows = self._set.sample(start, count, PREPARED_FRAMES)
            self._numbers[run, row] = self.codec(run).prepare(rows)
        return self._numbers[run, row]

    def rasterize(
        self,
        recording_id: str,
        seconds: Range = None,
        hz: Range = None,
        source: str = ORIGINAL,
        *,
        columns: int = 8,
        peak: float | None = None,
    ) -> xr.DataArray:
        """Return a picture (band, time) of magnitudes, mu-law from 0 to 1: `columns` for each hop.

        `peak`, the magnitude shown as 1, defaults to the picture's own and is among its attributes:
        hand it to a second picture that is to be compared.
        """
        import xarray as xr

        recording = self.recordings.find(recording_id)
        hop = self.transform.hop_samples
        first, last = hop_rows(seconds, self.rate_hz, hop, recording.frame_count)
        start = recording.frame_start
        stop = start + min(last + 1, recording.frame_count)
        bands = self._bands(hz)
        rows = self._coefficient_rows(source, start + first, stop)
        picture = self.transform.rasterize_hops(rows, columns)[: (last - first) * columns, bands]
        peak = float(picture.max(initial=0)) if peak is None else peak
        time = (first + np.arange(len(picture)) / columns) * hop / self.rate_hz
        return xr.DataArray(
            mu_law(np.minimum(picture / max(peak, 1e-9), 1)).T,
            dims=("band", "time"),
            coords={
                "time": ("time", time, {"units": "s"}),
                "band_centre_hz": ("band", self.transform.band_centre_hz[bands], {"units": "Hz"}),
            },
            attrs={"recording_id": recording_id, "source": source, "peak": peak},
        )

    # --- audio ---

    def audio(
        self, recording_id: str, seconds: Range = None, source: str = ORIGINAL, hz: Range = None
    ) -> Float32:
        """Return exactly round(seconds * rate) samples, float32 in [-1, 1].

        source: "original" (the decoded PCM), "transform" (synthesised from the features) or a
        run's name (its reconstruction; computed now where none is written). With hz, only the
        bands that overlap it are heard, and "original" sounds as the transform's own.
        """
        recording = self.recordings.find(recording_id)
        span = sample_span(seconds, self.rate_hz, recording.samples)
        hop = self.transform.hop_samples
        first, last = span.hops(hop)
        start, stop = recording.frame_start + first, recording.frame_start + last
        if hz is None and source == ORIGINAL:
            hops = from_pcm(self._set.read("audio", start, stop))
        elif hz is None and source in self.reconstructions:
            hops = from_pcm(self._reconstructed(source, recording).read("audio", start, stop))
        else:
            hops = self._synthesize(source, start, stop, hz)
        offset = span.start - first * hop
        return hops.reshape(-1)[offset : offset + span.count]

    def tags(self, source: str, *recording_ids: str) -> Tags:
        """Return what a file is to say of itself that holds a source's sound of recordings."""
        found = [self.recordings.find(one) for one in recording_ids]
        licences = list(dict.fromkeys(one.licence for one in found if one.licence))
        run = "" if source in (ORIGINAL, TRANSFORM) else source
        return Tags(
            title=found[0].title if len(found) == 1 else "",
            creator=", ".join(dict.fromkeys(one.creator for one in found if one.creator)),
            licence=", ".join(licences),
            licence_id=", ".join(dict.fromkeys(spdx_or_unknown(one.licence) for one in found)),
            source=", ".join(one.id for one in found),
            run=run,
            model_sha256=(run_summary(self.location, run).model_sha256 or "") if run else "",
        )

    def show(
        self, recording_id: str, seconds: Range = None, source: str = ORIGINAL, hz: Range = None
    ) -> Excerpt:
        """Return a part of a recording that a notebook shows: bands over time, and a player.

        Without seconds the first 10; at most 60, else UsageError: the page itself holds them.
        """
        recording = self.recordings.find(recording_id)
        if seconds is None:
            seconds = (0.0, notebook.EXCERPT_SECONDS)
        span = sample_span(seconds, self.rate_hz, recording.samples)
        shown = span.count / self.rate_hz
        most = notebook.MOST_SECONDS
        if shown > most:
            raise UsageError(f"{shown:.0f} s are too many for a page to hold: at most {most:.0f}")
        start, stop = span.start / self.rate_hz, (span.start + span.count) / self.rate_hz
        part = f"{source}, {notebook.clock(start)} to {notebook.clock(stop)}"
        part = f"{part} of {notebook.clock(recording.seconds)}"
        peak = self.rasterize(recording_id, seconds).attrs["peak"]
        picture = self.rasterize(recording_id, seconds, hz, source, peak=peak)
        samples = self.audio(recording_id, seconds, source, hz)
        markup = notebook.markup_of(picture, samples, self.rate_hz, part)
        return Excerpt(recording_id, source, shown, markup)

    def _synthesize(self, source: str, start: int, stop: int, hz: Range) -> Float32:
        """Return the hops of rows [start, stop), as the bands that overlap hz sound."""
        c = self._coefficient_rows(source, start, stop + 1)  # a hop is heard from two frames
        heard = self._coefficients(self._bands(hz))
        c[:, : heard.start] = 0
        c[:, heard.stop :] = 0
        floor = 0.0 if source in (ORIGINAL, TRANSFORM) else self.transform.model_floor
        return np.clip(self.transform.synthesize_hops(c, floor=floor), -1, 1)

    def _coefficient_rows(self, source: str, start: int, stop: int) -> Float32:
        """Return coefficients [stop - start, C] of the features or of a run's reconstruction."""
        if source in (ORIGINAL, TRANSFORM):
            return self._set.read("features", start, stop).astype(np.float32)
        if source in self.reconstructions and stop <= self._reconstructed(source).rows:
            return self._reconstructed(source).read("features", start, stop).astype(np.float32)
        features = self._set.read("features", start, stop)
        prepared = self._prepared(source, start)
        return self.codec(source).reconstruct(features.astype(np.float32), prepared)

    def _bands(self, hz: Range) -> slice:
        return slice(*band_range(hz, self.transform.band_low_hz, self.transform.band_high_hz))

    def _coefficients(self, bands: slice) -> slice:
        edges = self.transform.coefficient_slices[bands]
        return slice(int(edges[0, 0]), int(edges[-1, 1]))

    # --- what sounds alike ---

    def similar(self, recording_id: str, seconds: Range = None, k: int = 10) -> list[Similar]:
        """Return the k recordings with the stretch that sounds most like a part of one, best first.

        See `fadae.query.alike.similar`. The first call makes the vectors of what was published
        since, and keeps them in the workspace; `fadae similar` does so on a cluster.
        """
        return similar(self._set, self.recordings, recording_id, seconds, k)

    def duplicates(self) -> list[Family]:
        """Return the families of recordings that are copies or parts of each other.

        As they were found of what is published, else found now; `fadae duplicates` does so on a
        cluster.
        """
        return families(self._set, self.recordings, duplicates(self._set))

    def corpus_map(self, most: int = 2000) -> CorpusMap:
        """Return the recordings in the plane, those near to each other that sound alike.

        See `fadae.query.alike.corpus_map`; of more than `most` recordings a sample is shown.
        """
        return corpus_map(self._set, self.recordings, most)

    # --- for PyTorch ---

    def torch(
        self,
        what: What = "features",
        *,
        run: str | None = None,
        split: Literal["train", "holdout", "unseen"] | None = None,
        seconds: float | None = None,
        batch_size: int | None = 64,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> FrameDataset:
        """Return an IterableDataset of batches of rows: dicts of tensors, for a `DataLoader`.

        what: "features" [B, C] float32, "audio" [B, H] float32 in [-1, 1], or "codes" [B, N] as a
        run's reconstructions hold them, with "scale" [B] or "code_bytes" [B] where it has them;
        beside it "recording", B ids, and "start_seconds" [B]. split: the rows that the run trained
        on or held out, or neither; see `rows_of`. None: all.

        seconds: stretches of so long, in whole rows, each of one recording: [B, F, C], audio
        [B, F * H]. The last one of a recording ends in zeros after "length" [B] rows. batch_size
        None: single items. rank, world_size: else those of torch.distributed. Loads torch.

        Raises UsageError for an unknown run, or one without reconstructions where codes are asked
        for; NoInputError where there is no such row.
        """
        from fadae.query.torch_dataset import frame_dataset
        from fadae.query.torch_rows import FrameSource, Place

        if split is not None and split not in [*Side]:
            raise unknown("split", split, [*Side])
        made = None
        if what == "codes":
            run = self.default_reconstruction if run is None else run
            made = run, attrs_of(self._reconstructed(run))["model_sha256"]
        source = FrameSource(self.location, self._at, what, *(made or (None, None)))
        rows = self.rows_of(None if split is None else Side(split), run)
        place = Place.of(rank, world_size)
        return frame_dataset(source, rows, seconds, batch_size, seed, place)

    # --- generated sound, and all of it in short ---

    def generate(
        self,
        run: str | None = None,
        *,
        method: str = "walk",
        seconds: float = 10.0,
        seed: int = 0,
        between: tuple[str, str] | None = None,
    ) -> Float32:
        """Return round(seconds * rate) samples of sound that no recording holds.

        method: "normal" (independent codes with the run's mean and spread), "walk" (codes that
        move as the run's do), "interpolate" (from the first recording of `between` to the
        second), or a method of the run's own model. The first three need codes between which
        there are codes. A pure function of its arguments and the run.
        """
        from fadae import generate

        run = self.default_run if run is None else run
        codec, samples = self.codec(run), round(seconds * self.rate_hz)
        frames = -(-samples // self.transform.hop_samples) + 1
        if samples < 1:
            raise UsageError(f"seconds must be above 0, not {seconds:g}")
        if (method == "interpolate") != (between is not None):
            raise UsageError("only the method interpolate takes two recordings")
        if generate.is_own(codec, method):
            codes = codec.generate(method, frames, seed)
        elif between is not None:
            span = (0.0, frames * self.hop_seconds)
            first, second = (self.codes(recording_id, span, run) for recording_id in between)
            codes = generate.interpolate(first, second)
        else:
            stretches = generate.stretches(self._set, codec, self._find_reconstruction(run))
            codes = generate.new_codes(method, stretches, frames, seed)
        return generate.sound(codec, self.transform, codes, samples)

    def info(self) -> WorkspaceSummary:
        """Return what the workspace holds, as `fadae info --json` prints it.

        Recordings are counted as `ingest` counts those of a selection: ok; failed, for a passing
        reason; quarantined, which can never be had. `failures` lists both of the latter. `sizes`
        are exact but for the parts that `sizes_estimated` names, each told by a sample of it.
        """
        features = self._set if self._has_features else None
        published = PublishedRecordings(features.store) if features else None
        hidden = len(features.forgotten) if features else 0
        licences, counted = licence_counts(features) if features else ({}, True)
        held = take_inventory(self.location, published, hidden)
        config = features.attrs["transform"] if features else None
        failures: list[FailureLine] = [
            {"id": f.id, "class": str(f.failure_class), "reason": f.reason}
            for f in held.failures[:_MOST_FAILURES]
        ]
        store = features.store if features else None
        parts = sizes_of(self.location, store, held.ok + len(held.failures))
        sizes = {part.name: part.size_bytes for part in parts}
        return WorkspaceSummary(
            workspace=self.location.url,
            recordings={"ok": held.ok, "failed": held.failed, "quarantined": held.quarantined},
            frames=features.frames if features else 0,
            audio_seconds=features.audio_seconds if features else 0.0,
            transform=None if config is None else config["name"],
            rate_hz=None if config is None else config["sample_rate_hz"],
            runs=self.runs,
            reconstructions=self.reconstructions,
            codes=self._codes(),
            sizes={**sizes, "total": sum(sizes.values())},
            sizes_estimated=[part.name for part in parts if not part.exact],
            failures=failures,
            licences=licences,
            licences_estimated=not counted,
            forgotten=hidden,
            tombstones=len(tombstone_names(self.location)),
            learned_forgotten=self.learned_forgotten(),
        )

    def learned_forgotten(self) -> dict[str, int]:
        """Return the runs that trained on recordings forgotten since, and on how many."""
        gone = self._set.forgotten.silent.tolist() if self._has_features else []
        found = {}
        for run in self.runs if gone else ():
            roles = self.roles(run)
            found[run] = sum(roles[row] is Role.TRAINED for row in gone)
        return {run: count for run, count in found.items() if count}

    def _codes(self) -> dict[str, str]:
        """Return what the codes of each run take, in words."""
        names = sorted({*self.runs, *self.reconstructions})
        sizes = {name: self.code_size(name) for name in names}
        return {name: str(size) for name, size in sizes.items() if size is not None}

    @cached_property
    def _has_features(self) -> bool:
        try:
            return bool(self._set.rows)
        except NoInputError:
            return False

    @cached_property
    def _set(self) -> FeatureSet:
        has_tombstones = self._below is None or paths.TOMBSTONES in self._below
        return FeatureSet.open(self.location, self._at, has_tombstones=has_tombstones)

    def _open_lazily(self, store: FrameStore) -> xr.Dataset:
        import xarray as xr

        group = self.location.zarr_store(store.path, read_only=True)
        dataset: xr.Dataset = xr.open_zarr(group, consolidated=True, chunks=None, zarr_format=3)
        return dataset
