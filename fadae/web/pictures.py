"""Pictures as the page paints them: one byte a point, rows low to high, time to the right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fadae.arrays import Float32
from fadae.errors import UsageError
from fadae.query import Workspace
from fadae.transform import bark_spectrogram_db

BARK_BANDS = 96
BARK_FLOOR_DB = -90.0
CODE_ZERO = 127.5  # the byte, had it a half, that a code of 0 is drawn with
_PIECE_SECONDS = 60.0  # of a waveform's samples, held at a time
_SAMPLED_FRAMES, _SAMPLED_STRETCHES = 64, 4
_PEAK_QUANTILE = 0.9995  # the very peak would leave most of the picture dark


@dataclass(frozen=True, slots=True)
class Raster:
    """A picture of the seconds [start, stop): values [rows, columns] uint8."""

    values: NDArray[np.uint8]
    start_seconds: float
    stop_seconds: float


def band_picture(
    workspace: Workspace, recording_id: str, seconds: slice, source: str, columns: int, peak: float
) -> Raster:
    """Return the frequency-adaptive picture, bands x time: mu-law magnitude, 255 at `peak`.

    Its columns are `columns` a hop, of all hops that overlap the span.
    """
    picture = workspace.rasterize(recording_id, seconds, source=source, columns=columns, peak=peak)
    hop_seconds = workspace.transform.hop_samples / workspace.rate_hz
    start = float(picture["time"][0])
    values = np.nan_to_num(picture.to_numpy())
    hops = picture.sizes["time"] / columns
    return Raster(_bytes(values * 255), start, start + hops * hop_seconds)


def bark_picture(
    workspace: Workspace, recording_id: str, seconds: slice, source: str, columns: int
) -> Raster:
    """Return the Bark-band spectrogram of a span, bands x columns, from -90 to 0 dB."""
    samples = workspace.audio(recording_id, seconds, source=source)
    rate_hz = workspace.rate_hz
    hop_samples = max(1, -(-len(samples) // columns))
    levels = bark_spectrogram_db(
        samples,
        rate_hz,
        bands=BARK_BANDS,
        hop_seconds=hop_samples / rate_hz,
        floor_db=BARK_FLOOR_DB,
    )
    start = round(seconds.start * rate_hz) / rate_hz
    stop = start + len(levels) * hop_samples / rate_hz
    return Raster(_bytes((levels.T / -BARK_FLOOR_DB + 1) * 255), start, stop)


def waveform(
    workspace: Workspace, recording_id: str, seconds: slice, source: str, columns: int
) -> Raster:
    """Return the lowest sample, the highest and the RMS of each column of a span, [3, columns].

    As bytes of their square roots, so that quiet music is seen: samples from -1 as 0 to 1 as 255,
    RMS from 0. A piece of the span is held at a time.
    """
    rate_hz = workspace.rate_hz
    recording = workspace.recordings.find(recording_id)
    first = round(seconds.start * rate_hz)
    count = min(round(seconds.stop * rate_hz), recording.samples) - first
    if count < 1:
        raise UsageError(f"the recording ends at {recording.seconds:g} seconds")
    wide = -(-count // columns)  # samples a column
    step = max(1, round(_PIECE_SECONDS * rate_hz / wide)) * wide
    parts = []
    for at in range(0, count, step):
        start, stop = first + at, first + min(at + step, count)
        span = slice(start / rate_hz, stop / rate_hz)
        parts.append(_extremes(workspace.audio(recording_id, span, source), wide))
    values = np.concatenate(parts, axis=1)
    return Raster(_bytes(values), first / rate_hz, (first + values.shape[1] * wide) / rate_hz)


def _extremes(samples: Float32, wide: int) -> NDArray[np.floating]:
    """Return the lowest, the highest and the RMS [3, columns] of each `wide` samples, as bytes."""
    starts = np.arange(0, len(samples), wide)
    sizes = np.diff(np.append(starts, len(samples)))
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    rms = np.sqrt(np.add.reduceat(samples**2, starts) / sizes)
    low, high = (np.copysign(np.sqrt(np.abs(edge)), edge) for edge in (low, high))
    return np.stack([CODE_ZERO * (low + 1), CODE_ZERO * (high + 1), 255 * np.sqrt(rms)])


def code_picture(
    workspace: Workspace, recording_id: str, seconds: slice, run: str, limit: float
) -> Raster:
    """Return a run's codes, code x frames: -limit as 0, none as the middle, limit as 255."""
    rows = workspace.select(recording_id, seconds)
    codes = workspace.codes(recording_id, seconds, run)
    values = np.nan_to_num(np.asarray(codes.values, dtype=np.float32)).T
    start = float(rows["frame_time"][0])
    hop_seconds = workspace.transform.hop_samples / workspace.rate_hz
    stop = start + values.shape[1] * hop_seconds
    return Raster(_bytes((np.clip(values / limit, -1, 1) + 1) * CODE_ZERO), start, stop)


def peak_magnitude(workspace: Workspace, recording_id: str) -> float:
    """Return what coefficients of a recording hardly exceed, from a few stretches spread over it.

    All pictures of a recording share it, so that slices fit together and sources compare.
    """
    sampled = [
        np.abs(workspace.select(recording_id, seconds)["features"].to_numpy().astype(np.float32))
        for seconds in _stretches(workspace, recording_id)
    ]
    peak = float(np.nanquantile(np.concatenate([c.ravel() for c in sampled]), _PEAK_QUANTILE))
    return peak or 1.0


def code_limit(workspace: Workspace, recording_id: str, run: str) -> float:
    """Return what a run's codes hardly exceed in a recording: 1 for a tanh, more for PCA.

    For bytes it is 255: drawn from the middle up, what a short code leaves unused is blank.
    """
    sampled = [
        np.asarray(workspace.codes(recording_id, seconds, run).values)
        for seconds in _stretches(workspace, recording_id)
    ]
    if sampled[0].dtype == np.uint8:
        return 255.0
    magnitudes = np.abs(np.concatenate(sampled), dtype=np.float32)
    return max(float(np.nanquantile(magnitudes, 0.995)), 1e-3)


def _stretches(workspace: Workspace, recording_id: str) -> list[slice]:
    recording = workspace.recordings.find(recording_id)
    hop_seconds = workspace.transform.hop_samples / workspace.rate_hz
    firsts = np.linspace(0, max(0, recording.frame_count - _SAMPLED_FRAMES), _SAMPLED_STRETCHES)
    starts = sorted({int(first) for first in firsts})
    return [slice(s * hop_seconds, (s + _SAMPLED_FRAMES) * hop_seconds) for s in starts]


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
