"""What a notebook shows of a recording: a picture and a player of its first seconds."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from fadae import html
from fadae.arrays import Float32
from fadae.audio.write import encode
from fadae.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

EXCERPT_SECONDS = 10.0  # some 50 kB of sound, whatever the recording's length


def excerpt(picture: xr.DataArray, samples: Float32, rate_hz: int, seconds: float) -> str:
    """Return markup of a recording's beginning, which the page itself holds.

    picture: (band, time) from `Workspace.rasterize`; samples: [n] in [-1, 1], the same part of
    the recording's `seconds`.
    """
    shown = len(samples) / rate_hz
    part = f"the first {shown:.0f} s of {_clock(seconds)}" if shown < seconds else "all of it"
    centre_hz = np.asarray(picture["band_centre_hz"])
    caption = f"{part}: bands from {centre_hz[0]:.0f} to {centre_hz[-1]:.0f} Hz, low to high"
    try:
        sound = html.player(encode(samples, rate_hz, "ogg"), "ogg", part)
    except UsageError as error:  # a rate that the format has not
        sound = f"<p>{html.text(error)}</p>"
    return html.figure(_png(np.asarray(picture)), caption) + sound


def _png(picture: Float32) -> bytes:
    """Return magnitudes [band, time], 0 to 1, as a PNG with a pixel each, the low bands below."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, vmin=0, vmax=1, cmap="magma", format="png", origin="lower")
    return buffer.getvalue()


def _clock(seconds: float) -> str:
    """Return a duration as a clock shows it.

    >>> _clock(9.6), _clock(192.0), _clock(10805.0)
    ('0:10', '3:12', '3:00:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
