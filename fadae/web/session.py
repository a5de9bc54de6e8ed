"""What the listening room shows of one workspace: pictures, sound, curves, generated sound.

All methods are plain and blocking; the app calls them in threads. What is costly and small (peaks,
statistics, generated sounds) is kept, least recently used first out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from fadae import metrics
from fadae.arrays import Float32
from fadae.compare import Comparison, result
from fadae.errors import NoInputError, UsageError, unknown
from fadae.query import (
    ORIGINAL,
    TRANSFORM,
    Workspace,
    samples,
    status_of,
    training_samples,
)
from fadae.store import Location, paths
from fadae.training import Role
from fadae.transform import mu_law
from fadae.web import pictures
from fadae.web.alike import alike_known, map_of, more_like, not_known
from fadae.web.pictures import Raster
from fadae.web.piece import Piece, piece
from fadae.web.runs import run_curves, run_line

STATUS_SECONDS = 30.0  # how long a look at a job's progress is kept: it takes many requests
LOOK_SECONDS = 5.0  # how long a change of the workspace may go unseen
_KEPT = 64
_Value = TypeVar("_Value")

_COLUMNS = 8  # of the picture, a hop


class WorkspaceSession:
    """A workspace as the page asks for it."""

    def __init__(self, location: Location, look_seconds: float = LOOK_SECONDS) -> None:
        """Take the location; a look at it is kept for `look_seconds`."""
        self.location = location
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._looked = self._status_looked = -float("inf")
        self._status_lock, self._metrics = threading.Lock(), b""
        self._state = ""
        self._workspace = Workspace(location)
        self._kept: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    # --- the state of the workspace ---

    def open(self) -> tuple[Workspace, str]:
        """Return the workspace and the name of its state, looked at anew every few seconds."""
        with self._lock:
            if time.monotonic() - self._looked >= self._look_seconds:
                state = self._look()
                if state != self._state:
                    self._workspace, self._state = Workspace(self.location), state
                    self._kept.clear()
                self._looked = time.monotonic()
            return self._workspace, self._state

    def metrics(self) -> bytes:
        """Return how far the job is, for Prometheus; looked at anew every `STATUS_SECONDS`.

        Raises UsageError where its package is missing.
        """
        with self._status_lock:
            if time.monotonic() - self._status_looked >= STATUS_SECONDS:
                told = samples(status_of(self.location))
                training = training_samples(self.location, None)
                self._metrics = metrics.text([*told, *training])
                self._status_looked = time.monotonic()
            return self._metrics

    def _look(self) -> str:
        """Return a hash of what says that rows, runs or reconstructions have come or gone."""
        runs = self.location.names(paths.RUNS)
        trained = list(self.location.concurrently(self._has_model, runs))
        tombstones = self.location.names(paths.TOMBSTONES)
        digest = hashlib.sha256(repr((runs, trained, tombstones)).encode())
        documents = [f"{paths.FEATURES}/zarr.json"]
        for run in runs:
            # A run trained afresh may have the same config; its summary has its model's hash.
            documents += [paths.run_path(run, name) for name in ("config.json", "summary.json")]
        for name in self.location.names(paths.RECONSTRUCTIONS):
            documents.append(f"{paths.RECONSTRUCTIONS}/{name}/zarr.json")
        documents += map(paths.comparison_path, result.names(self.location))
        contents = self.location.concurrently(self._bytes_of, documents)
        for path, content in zip(documents, contents, strict=True):
            digest.update(path.encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    def _bytes_of(self, path: str) -> bytes:
        try:
            return self.location.read_bytes(path)
        except FileNotFoundError:
            return b""

    def _has_model(self, run: str) -> bool:
        return self.location.exists(paths.run_path(run, "model.safetensors"))

    def _keep(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return what was made for the key, or make it now: once, whoever else asks waits."""
        _, state = self.open()
        with self._lock:
            future = self._kept.get((state, key))
            mine = future is None
            if future is None:
                future = self._kept[state, key] = Future()
            self._kept.move_to_end((state, key))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it too
                future.set_exception(error)
                with self._lock:
                    self._kept.pop((state, key), None)
        made: _Value = future.result()
        return made

    # --- what there is ---

    def about(self) -> dict[str, Any]:
        """Return what the page needs before it shows anything."""
        workspace, state = self.open()
        about: dict[str, Any] = {
            "name": self.location.url.rstrip("/").rpartition("/")[2],
            "state": state,
            "runs": self._runs(workspace),
            "comparisons": result.names(self.location),
            "recordings": 0,
            "seconds": 0.0,
            "transform": None,
            "alike": False,
        }
        try:
            transform = workspace.transform
        except NoInputError:
            return about
        about["recordings"] = len(workspace.recordings)
        about["seconds"] = workspace.audio_seconds
        about["alike"] = self._knows_alike(workspace)
        about["transform"] = {
            "name": transform.name,
            "rate_hz": workspace.rate_hz,
            "hop_samples": transform.hop_samples,
            "band_low_hz": np.round(transform.band_low_hz, 3).tolist(),
            "band_centre_hz": np.round(transform.band_centre_hz, 3).tolist(),
            "band_high_hz": np.round(transform.band_high_hz, 3).tolist(),
            "bark_bands": pictures.BARK_BANDS,
        }
        return about

    def _runs(self, workspace: Workspace) -> list[dict[str, Any]]:
        names = sorted({*workspace.reconstructions, *workspace.runs})
        return [run_line(workspace, name, self._has_model(name)) for name in names]

    def search(self, text: str, offset: int, limit: int) -> dict[str, Any]:
        """Return one page of the recordings that hold every word."""
        workspace, _ = self.open()
        try:
            recordings = workspace.recordings
        except NoInputError:
            return {"total": 0, "offset": offset, "recordings": []}
        rows = self._keep(("search", text), lambda: recordings.rows(text))
        roles = {run: workspace.roles(run) for run in workspace.runs}
        page = [
            {
                "id": recording.id,
                "title": recording.title or recording.file,
                "creator": recording.creator,
                "item": recording.item,
                "seconds": recording.seconds,
                "held_out_by": [run for run in roles if roles[run][recording.row] is Role.HELD_OUT],
            }
            for recording in map(recordings.__getitem__, rows[offset : offset + limit])
        ]
        return {"total": len(rows), "offset": offset, "recordings": page}

    def recording(self, recording_id: str) -> dict[str, Any]:
        """Return all about one recording: its scores in, and its role for, every run included."""
        workspace, _ = self.open()
        recording = workspace.recordings.find(recording_id)
        came_from = _local_server(recording.url)
        made = workspace.reconstructions
        scores = {run: workspace.recording_scores(recording.row, run) for run in made}
        return {
            "id": recording.id,
            "item": recording.item,
            "file": recording.file,
            "title": recording.title or recording.file,
            "creator": recording.creator,
            "licence": recording.licence,
            "url": None if came_from else recording.url,
            "came_from": came_from,
            "rate_hz": recording.rate_hz,
            "samples": recording.samples,
            "seconds": recording.seconds,
            "frames": recording.frame_count,
            "scores": scores,
            "roles": {run: workspace.roles(run)[recording.row] for run in workspace.runs},
        }

    # --- sound and pictures ---

    def audio(
        self, recording_id: str, seconds: slice, source: str, hz: slice | None
    ) -> tuple[Float32, int]:
        """Return samples of a span from a source, only of a range of bands if given."""
        workspace = self._with(source)
        return workspace.audio(recording_id, seconds, source=source, hz=hz), workspace.rate_hz

    def band_picture(self, recording_id: str, seconds: slice, source: str, columns: int) -> Raster:
        """Return the frequency-adaptive picture of a span."""
        workspace = self._with(source)
        workspace.recordings.find(recording_id)
        peak = self._keep(
            ("peak", recording_id), lambda: pictures.peak_magnitude(workspace, recording_id)
        )
        return pictures.band_picture(workspace, recording_id, seconds, source, columns, peak)

    def bark_picture(self, recording_id: str, seconds: slice, source: str, columns: int) -> Raster:
        """Return the Bark-band spectrogram of a span."""
        workspace = self._with(source)
        return pictures.bark_picture(workspace, recording_id, seconds, source, columns)

    def waveform(self, recording_id: str, seconds: slice, source: str, columns: int) -> Raster:
        """Return the lowest sample, the highest and the RMS of each column of a span."""
        workspace = self._with(source)
        return pictures.waveform(workspace, recording_id, seconds, source, columns)

    def piece(self, recording_id: str, source: str) -> Piece:
        """Return a whole recording of a source as a file."""
        return piece(self._with(source), recording_id, source)

    def more_like(self, recording_id: str, seconds: slice, k: int) -> dict[str, Any]:
        """Return what sounds like a part of a recording; UsageError where it is not known."""
        workspace = self._sure_of_alike()
        return more_like(workspace, recording_id, seconds, k)

    def map(self) -> dict[str, Any]:
        """Return all recordings in the plane; UsageError where it is not known."""
        workspace = self._sure_of_alike()
        return self._keep(("map",), lambda: map_of(workspace))

    def _sure_of_alike(self) -> Workspace:
        workspace, _ = self.open()
        if not self._knows_alike(workspace):
            raise not_known()
        return workspace

    def _knows_alike(self, workspace: Workspace) -> bool:
        """Return whether the page can tell what sounds alike; looked at anew every minute."""
        minute = int(time.monotonic() / 60)
        return self._keep(("alike", minute), lambda: alike_known(workspace))

    def code_picture(self, recording_id: str, seconds: slice, run: str) -> Raster:
        """Return a run's codes of a span."""
        workspace = self._with(run)
        workspace.recordings.find(recording_id)
        limit = self._keep(
            ("code limit", run, recording_id),
            lambda: pictures.code_limit(workspace, recording_id, run),
        )
        return pictures.code_picture(workspace, recording_id, seconds, run, limit)

    def methods(self, run: str) -> dict[str, Any]:
        """Return by which methods a run generates sound, and which are its model's own."""
        from fadae.generate import methods_of  # with torch, which few answers need

        methods = methods_of(self._with(run).codec(run))
        return {"methods": [{"name": name, "own": own} for name, own in methods.items()]}

    def generated(
        self, run: str, method: str, seed: int, seconds: float, between: tuple[str, str] | None
    ) -> Generated:
        """Return a sound that no recording has."""
        workspace = self._with(run)
        return self._keep(
            ("generated", run, method, seed, seconds, between),
            lambda: generate(workspace, run, method, seed, seconds, between),
        )

    def curves(self, run: str) -> dict[str, Any]:
        """Return a run's settings, its metrics over the steps, and what it has come to."""
        return run_curves(self.open()[0], run)

    def comparison(self, name: str) -> Comparison:
        """Return a comparison of codes that the workspace holds."""
        known = result.names(self.location)
        if name not in known:
            raise unknown("comparison", name[:80], known)
        return self._keep(("comparison", name), lambda: result.read(self.location, name))

    def _with(self, source: str) -> Workspace:
        """Return the workspace, sure that the source can be had from it."""
        workspace, _ = self.open()
        if source in (ORIGINAL, TRANSFORM) or source in workspace.reconstructions:
            return workspace
        if source not in workspace.runs:
            raise unknown("source", source[:80], [ORIGINAL, TRANSFORM, *workspace.runs])
        if not self._has_model(source):
            raise UsageError(f"run {source!r} has no model yet: it is still training")
        return workspace


def _local_server(url: str) -> str | None:
    """Return how to name a source that only the ingesting computer could reach, else None.

    The archive inside `fadae demo` is one: it is gone as soon as the demonstration ends.

    >>> _local_server("http://127.0.0.1:8000/download/item/a.ogg")
    'ingested from a local server (127.0.0.1:8000)'
    >>> _local_server("https://archive.org/download/item/a.ogg")
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            return None
    except ValueError:  # a name, or no URL at all
        return None
    return f"ingested from a local server ({parts.netloc.rpartition('@')[2]})"


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated sound: samples [n] float32 and its picture."""

    samples: Float32
    picture: Raster


def generate(
    workspace: Workspace,
    run: str,
    method: str,
    seed: int,
    seconds: float,
    between: tuple[str, str] | None,
) -> Generated:
    """Return a sound of so many seconds, a pure function of the run and the arguments."""
    samples = workspace.generate(run, method=method, seconds=seconds, seed=seed, between=between)
    return Generated(samples, _picture(workspace, samples))


def _picture(workspace: Workspace, samples: Float32) -> Raster:
    """Return the sound's frequency-adaptive picture, as `Workspace.rasterize` draws recordings."""
    transform = workspace.transform
    rows = transform.analyze(samples)
    picture = transform.rasterize_hops(rows, _COLUMNS)[: (len(rows) - 1) * _COLUMNS]
    shown = mu_law(np.minimum(picture / max(float(picture.max(initial=0)), 1e-9), 1)).T
    stop = shown.shape[1] / _COLUMNS * transform.hop_samples / workspace.rate_hz
    return Raster(np.ascontiguousarray(np.rint(shown * 255).astype(np.uint8)), 0.0, stop)
