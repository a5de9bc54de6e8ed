"""Sounds that no recording has, for the page: heard and seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fadae.query.workspace import Workspace
from fadae.transform.companding import mu_law
from fadae.web.pictures import Raster

_COLUMNS = 8  # of the picture, a hop


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated sound: samples [n] float32 and its picture."""

    samples: NDArray[np.float32]
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


def _picture(workspace: Workspace, samples: NDArray[np.float32]) -> Raster:
    """Return the sound's frequency-adaptive picture, as `Workspace.rasterize` draws recordings."""
    transform = workspace.transform
    frames = np.abs(transform.rasterize(transform.analyze(samples), 2 * _COLUMNS))
    middle = frames[:, _COLUMNS // 2 : _COLUMNS // 2 + _COLUMNS]
    # Frame 0 is centred on the sound's start: half of its columns come before it.
    picture = middle.reshape(-1, transform.bands)[_COLUMNS // 2 : -_COLUMNS // 2 or None]
    shown = mu_law(np.minimum(picture / max(float(picture.max(initial=0)), 1e-9), 1)).T
    stop = shown.shape[1] / _COLUMNS * transform.hop_samples / workspace.rate_hz
    return Raster(np.ascontiguousarray(np.rint(shown * 255).astype(np.uint8)), 0.0, stop)
