"""What a notebook shows of a recording: a picture and a player of some seconds of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fadae import html
from fadae.arrays import Float32
from fadae.audio.write import encode
from fadae.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

EXCERPT_SECONDS = 10.0  # some 50 kB of sound, whatever the recording's length
MOST_SECONDS = 60.0  # that a page is asked to hold


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a recording, which a notebook shows as a picture and a player."""

    recording_id: str
    source: str
    seconds: float
    markup: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.markup


def markup_of(picture: xr.DataArray, samples: Float32, rate_hz: int, part: str) -> str:
    """Return markup of a part of a recording, which the page itself holds.

    picture: (band, time) from `Workspace.rasterize`; samples: [n] in [-1, 1], of the same part;
    `part` says which it is.
    """
    centre_hz = np.asarray(picture["band_centre_hz"])
    caption = f"{part}: bands from {centre_hz[0]:.0f} to {centre_hz[-1]:.0f} Hz, low to high"
    try:
        sound = html.player(encode(samples, rate_hz, "ogg"), "ogg", part)
    except UsageError as error:  # a rate that the format has not
        sound = f"<p>{html.text(error)}</p>"
    return html.figure(_png(np.asarray(picture)), caption) + sound


def _png(picture: Float32) -> bytes:
    """Return magnitudes [band, time], 0 to 1, as a PNG with a pixel each, the low bands below."""
    from matplotlib import colormaps
    from PIL import Image

    levels = np.rint(255 * np.clip(picture[::-1], 0, 1)).astype(np.uint8)
    image = Image.fromarray(levels).convert("P")
    image.putpalette(colormaps["magma"](np.arange(256), bytes=True)[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it.

    >>> clock(9.6), clock(192.0), clock(10805.0)
    ('0:10', '3:12', '3:00:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
