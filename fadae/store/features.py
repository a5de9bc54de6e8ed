"""features.zarr: its layout with CF attributes, and how everything downstream reads it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from fadae._version import __version__
from fadae.arrays import Array
from fadae.errors import NoInputError, StorageError
from fadae.records import FeatureAttrs, TransformConfig
from fadae.store.forgotten import NOTHING, Forgotten, forgotten_in
from fadae.store.frames import FrameStore
from fadae.store.layout import ArraySpec, fixed_array, frame_array, recording_array
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.store.recording_index import index_attrs

if TYPE_CHECKING:
    from fadae.transform import Transform

PCM_SCALE = 1 / 32768  # float sample = int16 sample / 32768
NO_SAMPLE = -32768  # beyond a recording's end and in padding rows; PCM clips at -32767
NO_RECORDING = -1

# Column: (dtype, units, what it is). The axis `recording`, in the order of the plans.
RECORDING_COLUMNS: dict[str, tuple[str, str, str]] = {
    "id": ("str", "1", "recording, item/file"),
    "item": ("str", "1", "item of the archive, or folder"),
    "file": ("str", "1", "file within the item"),
    "title": ("str", "1", "title"),
    "creator": ("str", "1", "creator"),
    "licence": ("str", "1", "licence"),
    "url": ("str", "1", "where the file was fetched"),
    "key": ("str", "1", "name of the recording's staged objects"),
    "sha1": ("str", "1", "SHA-1 of the file, hexadecimal"),
    "pcm_sha256": ("str", "1", "SHA-256 of the decoded 16-bit samples, hexadecimal"),
    "rate_hz": ("int32", "Hz", "sample rate of audio and features"),
    "source_rate_hz": ("int32", "Hz", "sample rate of the file"),
    "samples": ("int64", "1", "exact number of samples at rate_hz"),
    "seconds": ("float64", "s", "duration"),
    "frame_start": ("int64", "1", "first row on the frame axis"),
    "frame_count": ("int32", "1", "rows on the frame axis"),
    "same_as": ("int32", "1", "recording with the same samples, whose rows it shares; else -1"),
}

# Columns of which no row is a fill value.
_NEVER_FILLED = {"id", "key", "pcm_sha256", "samples", "frame_start", "frame_count"}


def feature_specs(transform: Transform, dtype: str) -> list[ArraySpec]:
    """Return the arrays of features.zarr for a transform; features as float16 or float32."""
    on_frames = {"coordinates": "frame_time frame_recording"}
    audio = {
        "units": "1",
        "long_name": "samples of the frame's hop",
        "scale_factor": PCM_SCALE,
        "_FillValue": NO_SAMPLE,
        **on_frames,
    }
    features = {"units": "1", "long_name": "frequency-adaptive coefficients", **on_frames}
    time = {"units": "s", "long_name": "start of the row's hop within its recording"}
    recording = {"units": "1", "long_name": "row of the recording table; -1 in padding rows"}
    nan = float("nan")
    return [
        frame_array("audio", {"sample": transform.hop_samples}, "int16", NO_SAMPLE, audio),
        frame_array("features", {"coefficient": transform.size}, dtype, nan, features),
        frame_array("frame_recording", {}, "int32", NO_RECORDING, recording),
        frame_array("frame_time", {}, "float64", nan, time),
        *_recording_specs(),
        *_band_specs(transform),
    ]


def _recording_specs() -> list[ArraySpec]:
    specs = []
    for name, (dtype, units, long_name) in RECORDING_COLUMNS.items():
        fill = "" if dtype == "str" else float("nan") if dtype == "float64" else -1
        attrs = {"units": units, "long_name": long_name}
        specs.append(recording_array(f"recording_{name}", dtype, fill, attrs))
    return specs


def _band_specs(transform: Transform) -> list[ArraySpec]:
    specs = [
        fixed_array(
            f"band_{edge}_hz",
            "band",
            np.asarray(getattr(transform, f"band_{edge}_hz"), dtype=np.float64),
            {"units": "Hz", "long_name": f"{edge} frequency of the band"},
        )
        for edge in ("centre", "low", "high")
    ]
    band = np.asarray(transform.coefficient_band, dtype=np.int32)
    attrs = {"units": "1", "long_name": "band of the coefficient"}
    return [*specs, fixed_array("coefficient_band", "coefficient", band, attrs)]


def feature_attrs(transform_config: TransformConfig, dtype: str) -> FeatureAttrs:
    """Return the attributes of features.zarr: conventions, provenance, configuration."""
    return {
        "Conventions": "CF-1.11",
        "title": "Frequency-adaptive features of recordings",
        "source": f"fadae {__version__}",
        "comment": "creator, licence, URL and checksum of each recording: recording_*",
        "fadae_version": __version__,
        "transform": transform_config,
        "dtype": dtype,
        "published_plans": 0,
    }


class RecordingTable:
    """The recording_* arrays as NumPy columns [recordings], each read on first use."""

    def __init__(self, store: FrameStore) -> None:
        """Take the group that holds the arrays."""
        self._store = store
        self._columns: dict[str, Array] = {}

    def __len__(self) -> int:
        return self._store.recording_rows

    def column(self, name: str) -> Array:
        """Return one column, [recordings]: "id", "title", "frame_start" ..., texts as StringDType.

        Raises KeyError for a column that is not there.
        """
        if name not in self._columns:
            values = self._store.read(f"recording_{name}")
            if self._store.location.is_http:
                self._ensure_of_root(name, values)
            self._columns[name] = values
        return self._columns[name]

    def _ensure_of_root(self, name: str, values: Array) -> None:
        """Raise StorageError where a cache on the way gave an object that is older than the root.

        These objects alone are written anew as rows come: of the others a published one stays.
        """
        if name == "same_as":
            index = index_attrs(self._store.attrs, len(self))
            own = None if index is None else sum(one["canonical"] for one in index["tables"])
            is_stale = own is not None and int((values == NO_RECORDING).sum()) != own
        elif name in _NEVER_FILLED:
            is_stale = bool(
                (values == "").any() if values.dtype.kind == "T" else (values < 0).any()
            )
        else:
            is_stale = False
        if is_stale:
            raise StorageError(
                f"{self._store.location.url}: a cache gives out a recording_{name} that is older "
                f"than {FEATURES}/zarr.json; run this again when it has expired"
            )

    @property
    def id(self) -> Array:
        """The recordings' ids, "item/file"."""
        return self.column("id")

    @property
    def samples(self) -> Array:
        """Exact number of samples at the transform's rate, int64."""
        return self.column("samples")

    @property
    def seconds(self) -> Array:
        """Durations in seconds, float64."""
        return self.column("seconds")

    @property
    def frame_start(self) -> Array:
        """First row of each recording on the frame axis, int64."""
        return self.column("frame_start")

    @property
    def frame_count(self) -> Array:
        """Rows of each recording on the frame axis, int32."""
        return self.column("frame_count")

    @property
    def same_as(self) -> Array:
        """Row of the recording with the same PCM, whose rows this one shares; -1 for none."""
        return self.column("same_as")

    @property
    def canonical(self) -> Array:
        """Whether a recording has rows of its own, bool: the ones that are counted."""
        return np.asarray(self.same_as == NO_RECORDING)

    def index(self, recording_id: str) -> int:
        """Return a recording's row in the table; raises KeyError."""
        found = np.flatnonzero(self.id == recording_id)
        if not len(found):
            raise KeyError(recording_id)
        return int(found[0])


def spread(count: int, most: int) -> list[slice]:
    """Return at most `most` of `count` rows: all of them, or eight stretches evenly apart.

    Stretches, because rows are stored in chunks: single rows would cost a chunk each.

    >>> spread(100, 256), spread(1000, 16)[:2]
    ([slice(0, 100, None)], [slice(0, 2, None), slice(142, 144, None)])
    """
    if count <= most:
        return [slice(0, count)]
    length = most // 8
    starts = np.linspace(0, count - length, 8).astype(int).tolist()
    return [slice(start, start + length) for start in starts]


class FeatureSet:
    """features.zarr as published when it was opened."""

    def __init__(self, store: FrameStore, *, has_tombstones: bool = True) -> None:
        """Take the opened group, and whether tombstones are to be looked for; use `open`."""
        self.store = store
        self.recordings = RecordingTable(store)
        self._has_tombstones = has_tombstones

    @classmethod
    def open(
        cls, location: Location, at: int | str | None = None, *, has_tombstones: bool = True
    ) -> Self:
        """Return the features published now; raises NoInputError where there are none.

        at: those of an earlier publication, by its number or a date: see `number_at`.
        """
        if at is not None:
            from fadae.store.history import number_at, open_publication

            kept = open_publication(location, number_at(location, at))
            return cls(kept, has_tombstones=has_tombstones)
        store = FrameStore.find(location, FEATURES)
        if store is None or store.rows == 0:
            location.ensure_workspace()
            raise NoInputError(f"{location.url} holds no features; run `fadae extract` first")
        return cls(store, has_tombstones=has_tombstones)

    @property
    def rows(self) -> int:
        """Published rows of the frame axis, padding included."""
        return self.store.rows

    @property
    def attrs(self) -> FeatureAttrs:
        """The group's attributes: transform configuration, fadae version, conventions."""
        return cast(FeatureAttrs, self.store.attrs)

    @cached_property
    def transform(self) -> Transform:
        """The transform the features were extracted with."""
        from fadae.transform import transform_from_config

        return transform_from_config(self.attrs["transform"])

    @cached_property
    def forgotten(self) -> Forgotten:
        """What of this is to be forgotten: nobody lists, draws, shows or hands it on."""
        return forgotten_in(self.store) if self._has_tombstones else NOTHING

    @property
    def frames(self) -> int:
        """Frames of music: padding and what is forgotten left out, equal PCM counted once."""
        forgotten = int(self.forgotten.counts.sum())
        if (index := index_attrs(self.store.attrs, len(self.recordings))) is not None:
            return index["frames"] - forgotten
        return int(self.recordings.frame_count[self.recordings.canonical].sum()) - forgotten

    @property
    def audio_seconds(self) -> float:
        """Duration of all recordings not forgotten, those with the same PCM counted once."""
        rate_hz = self.attrs["transform"]["sample_rate_hz"]
        forgotten = int(self.forgotten.samples.sum()) / rate_hz
        if (index := index_attrs(self.store.attrs, len(self.recordings))) is not None:
            return index["samples"] / rate_hz - forgotten
        return float(self.recordings.seconds[self.recordings.canonical].sum()) - forgotten

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows [start, stop) of an array as stored: "features", "audio" (int16) ...

        Whole blocks of 1024 rows from a multiple of 1024 cost one object each; any other row
        costs its chunk of 64. Raises DamagedError where a checksum does not match.
        """
        return self.store.read(name, start, stop)

    def sample(self, frame_start: int, frame_count: int, most: int) -> Array:
        """Return at most `most` feature rows spread over a recording: see `spread`."""
        parts = spread(frame_count, most)
        rows = [self.read("features", frame_start + p.start, frame_start + p.stop) for p in parts]
        return np.concatenate(rows)
