"""ViSQOL, a model of how listeners judge: optional, `pip install fadae[visqol]`.

Source: Chinen, Lim, Skoglund, Gureev, O'Gorman, Hines, "ViSQOL v3: an open source production
ready objective speech and audio metric" (2020), audio mode; visqol-python is a port of it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import soxr

from fadae.arrays import Float32
from fadae.errors import UsageError

_RATE_HZ = 48_000  # audio mode's
SECONDS = 10.0  # its authors ask for clips of 5 to 10 s


@functools.cache
def _visqol() -> Any:
    try:
        from visqol import VisqolApi
    except ImportError as error:
        raise UsageError(
            "--visqol needs a package that is not here: pip install 'fadae[visqol]'"
        ) from error
    api = VisqolApi()
    api.create(mode="audio")
    return api


def ensure_visqol() -> None:
    """Raise UsageError where the package is not installed."""
    _visqol()


def visqol_mos(reference: Float32, estimate: Float32, rate_hz: int) -> float:
    """Return ViSQOL's MOS-LQO of signals [n], 1 (bad) to 5, of the 10 s in their middle."""
    count = min(len(reference), round(SECONDS * rate_hz))
    start = (len(reference) - count) // 2
    pair = (
        soxr.resample(one[start : start + count], rate_hz, _RATE_HZ, quality="VHQ").astype(
            np.float64
        )
        for one in (reference, estimate)
    )
    return float(_visqol().measure_from_arrays(*pair, _RATE_HZ).moslqo)
