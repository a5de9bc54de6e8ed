"""A workspace opened for reading: recordings, features, audio, runs and codes, all by slices.

Opening reads little; arrays stay where they are until a slice of them is asked for. Nothing here
writes. `fadae.open(url)` returns the `Workspace`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fadae.errors import NoInputError, UsageError
from fadae.selection import Range, band_range, hop_rows, sample_span
from fadae.store.location import Location

if TYPE_CHECKING:  # torch comes in with the codec, when one is asked for
    from fadae.model.codec import Codec
    from fadae.store.dataset import FeatureSet
    from fadae.transform import FrequencyAdaptiveTransform

FEATURES = "features.zarr"
ORIGINAL, TRANSFORM = "original", "transform"
PCM_SCALE = np.float32(1 / 32768)


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the recording table; `same_as` is the row whose frames it shares, or -1."""

    row: int
    id: str
    item: str
    file: str
    title: str
    creator: str
    licence: str
    url: str
    sha1: str
    rate_hz: int
    samples: int
    seconds: float
    frame_start: int
    frame_count: int
    same_as: int


def open(url: str, storage_options: dict[str, Any] | None = None) -> Workspace:  # noqa: A001
    """Return the workspace at a folder or URL; raises UsageError where there is none.

    The storage options stay in this object: nothing serialises them.
    """
    location = Location(url, storage_options)
    if not location.names(""):
        raise UsageError(f"no workspace at {location.url}: `fadae ingest` makes one")
    return Workspace(location)


class Workspace:
    """What a workspace holds, read lazily. One state: open again to see what came since."""

    def __init__(self, location: Location) -> None:
        """Take the location; nothing is read."""
        self.location = location

    # --- recordings ---

    @cached_property
    def recordings(self) -> Sequence[Recording]:
        """All recordings of the features, in the order of their rows."""
        raise NotImplementedError

    def recording(self, recording_id: str) -> Recording:
        """Return a recording by its id; raises UsageError naming near ids."""
        raise NotImplementedError

    def search(self, text: str, limit: int | None = None) -> list[Recording]:
        """Return recordings whose title, creator, item and file hold every word, any case."""
        raise NotImplementedError

    # --- features, by time and band ---

    @cached_property
    def transform(self) -> FrequencyAdaptiveTransform:
        """The transform the features were extracted with."""
        raise NotImplementedError

    @property
    def rate_hz(self) -> int:
        """Sample rate of all audio here."""
        return int(self.transform.sample_rate_hz)

    @cached_property
    def features(self) -> xr.Dataset:
        """features.zarr as a lazy xarray.Dataset; `.chunk()` makes it one of dask arrays."""
        raise NotImplementedError

    def reconstruction(self, run: str) -> xr.Dataset:
        """A run's reconstructions as a lazy Dataset: encoded, scale, features, audio, scores."""
        raise NotImplementedError

    def select(
        self, recording_id: str, seconds: Range = None, hz: Range = None, source: str = ORIGINAL
    ) -> xr.Dataset:
        """Return the rows whose hop overlaps [start, stop) and the bands that overlap hz, lazily.

        Dimensions (frame, coefficient), (frame, sample); `frame_time` is the frame axis' index.
        With a run's name as source, the reconstruction: encoded (frame, code) and scale (frame)
        beside its features and audio. A slice of it in time is an encoding too: see `decode`.
        """
        raise NotImplementedError

    def decode(self, encoding: xr.Dataset) -> NDArray[np.float32]:
        """Return the features [F, C] of a (slice of a) run's `select`, from its codes alone."""
        raise NotImplementedError

    def rasterize(
        self,
        recording_id: str,
        seconds: Range = None,
        hz: Range = None,
        source: str = ORIGINAL,
        columns: int = 8,
    ) -> xr.DataArray:
        """Return a picture (band, time), mu-law magnitudes from 0 to 1, `columns` a hop."""
        raise NotImplementedError

    # --- audio ---

    def audio(
        self, recording_id: str, seconds: Range = None, source: str = ORIGINAL, hz: Range = None
    ) -> NDArray[np.float32]:
        """Return exactly round(seconds * rate) samples, float32 in [-1, 1].

        source: "original" (the decoded PCM), "transform" (synthesised from the features) or a
        run's name (its reconstruction; computed on the fly where none is written). With hz, only
        the bands that overlap it are heard, and "original" sounds as the transform's own.
        """
        raise NotImplementedError

    # --- runs ---

    @property
    def runs(self) -> list[str]:
        """Names of the training runs."""
        raise NotImplementedError

    @property
    def reconstructions(self) -> list[str]:
        """Names of the runs with published reconstructions."""
        raise NotImplementedError

    def codec(self, run: str = "default") -> Codec:
        """Return a run's codec: mu-law, scaling and network, both ways. Loads torch."""
        raise NotImplementedError

    def config(self, run: str) -> dict[str, Any]:
        """Return a run's config.json."""
        raise NotImplementedError

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """Return a run's metrics.jsonl, one dict a line."""
        raise NotImplementedError

    def scores(self, run: str) -> dict[str, NDArray[np.float64]]:
        """Return a run's scores, one value a recording: nmse_db, snr_db, si_sdr_db, lsd_db."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """Return what the workspace holds, as `fadae info --json` prints it."""
        raise NotImplementedError
