"""Sounds that no recording has, for the page: drawn from a run's codes, heard and seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fadae.transform.companding import mu_law
from fadae.web.pictures import Raster
from fadae.workspace import Workspace

if TYPE_CHECKING:  # torch comes in with the codec, when something is generated
    from fadae.generate import CodeStatistics

MANNERS = ("walk", "draw")
_COLUMNS = 8  # of the picture, a hop
_STRETCHES, _STRETCH_FRAMES = 24, 256


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated sound: samples [n] float32 and its picture."""

    samples: NDArray[np.float32]
    picture: Raster


def code_statistics(workspace: Workspace, run: str) -> CodeStatistics:
    """Return the statistics of a run's codes, from stretches of recordings spread over the table.

    Bounded: at most 24 stretches of 256 frames, whatever the workspace holds.
    """
    from fadae.generate import CodeStatistics

    recordings = workspace.recordings
    rows = sorted({int(row) for row in np.linspace(0, len(recordings) - 1, _STRETCHES)})
    hop_seconds = workspace.transform.hop_samples / workspace.rate_hz
    span = slice(0, _STRETCH_FRAMES * hop_seconds)
    return CodeStatistics.measure(workspace.codes(recordings[row].id, span, run) for row in rows)


def generate(
    workspace: Workspace,
    run: str,
    statistics: CodeStatistics,
    manner: str,
    seed: int,
    seconds: float,
) -> Generated:
    """Return a sound of so many seconds, a pure function of the run, the manner and the seed."""
    from fadae.generate import draw, sound, walk

    transform = workspace.transform
    samples = round(seconds * workspace.rate_hz)
    frames = math.ceil(samples / transform.hop_samples) + 1
    codec = workspace.codec(run)
    codes = (walk if manner == "walk" else draw)(statistics, frames, seed)
    columns = np.abs(transform.rasterize(codec.decode(codes), 2 * _COLUMNS))
    middle = columns[:, _COLUMNS // 2 : _COLUMNS // 2 + _COLUMNS]
    picture = middle.reshape(-1, middle.shape[2])[_COLUMNS // 2 :][: (frames - 1) * _COLUMNS]
    shown = mu_law(np.minimum(picture / max(float(picture.max(initial=0)), 1e-9), 1)).T
    values = np.ascontiguousarray(np.rint(shown * 255).astype(np.uint8))
    stop = (frames - 1) * transform.hop_samples / workspace.rate_hz
    return Generated(sound(codec, transform, codes, samples), Raster(values, 0.0, stop))
