"""Which samples, hops and bands a span of seconds and a range of hertz touch: plain arithmetic.

A recording of L samples has hops [jH, (j+1)H), one store row each; hop j is heard from frames j
and j+1 (TRANSFORM: N = 2H, P = H), so audio of hops [a, b) needs the frames [a, b+1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Float64
from fadae.errors import UsageError

Range = slice | tuple[float | None, float | None] | None


@dataclass(frozen=True, slots=True)
class SampleSpan:
    """Samples [start, stop) of a recording at the transform's rate."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many samples."""
        return self.stop - self.start

    def hops(self, hop_samples: int) -> tuple[int, int]:
        """Return the hops [first, last) that hold the samples.

        >>> SampleSpan(3750, 7501).hops(3750)
        (1, 3)
        """
        return self.start // hop_samples, -(-self.stop // hop_samples)


def bounds(span: Range, name: str) -> tuple[float, float]:
    """Return (start, stop) of a slice or pair of numbers, open ends as 0 and infinity.

    >>> bounds(slice(1, None), "seconds")
    (1.0, inf)
    """
    if span is None:
        return 0.0, math.inf
    if isinstance(span, slice):
        if span.step is not None:
            raise UsageError(f"{name} takes no step: {span}")
        start, stop = span.start, span.stop
    else:
        start, stop = span
    low = 0.0 if start is None else float(start)
    high = math.inf if stop is None else float(stop)
    if not (0 <= low < high) or math.isinf(low):
        raise UsageError(f"{name} must run from a smaller to a larger number from 0 on: {span}")
    return low, high


def sample_span(seconds: Range, rate_hz: int, samples: int) -> SampleSpan:
    """Return the samples of a span of seconds: exactly round(duration * rate), cut at the end.

    Raises UsageError where the span starts behind the recording's end.

    >>> sample_span(slice(1, 3), 11025, 100_000)
    SampleSpan(start=11025, stop=33075)
    """
    low, high = bounds(seconds, "seconds")
    start = round(low * rate_hz)
    if start >= samples:
        raise UsageError(
            f"the recording is {samples / rate_hz:.3f} s long; nothing is there from {low:g} s on"
        )
    count = samples if math.isinf(high) else round((high - low) * rate_hz)
    return SampleSpan(start, min(start + count, samples))


def hop_rows(seconds: Range, rate_hz: int, hop_samples: int, frames: int) -> tuple[int, int]:
    """Return the rows [first, last) of a recording whose hops overlap [start, stop).

    A hop that ends where the span starts, or starts where it stops, stays outside. Compared are
    the hops' own times j*H/rate, those of `frame_time`, so that a border given by its row's time
    falls where it is written.

    >>> hop_rows(slice(1, 3), 11025, 3750, 100)
    (2, 9)
    """
    low, high = bounds(seconds, "seconds")
    hop_seconds = hop_samples / rate_hz
    if low >= frames * hop_samples / rate_hz:
        raise UsageError(
            f"the recording is {frames * hop_seconds:.3f} s long; nothing is there from {low:g} s"
        )
    first = max(0, math.floor(low / hop_seconds) - 1)
    while (first + 1) * hop_samples / rate_hz <= low:
        first += 1
    if math.isinf(high):
        return first, frames
    last = max(first, math.ceil(high / hop_seconds) - 1)
    while last * hop_samples / rate_hz < high:
        last += 1
    return first, min(last, frames)


def band_range(hz: Range, low_hz: Float64, high_hz: Float64) -> tuple[int, int]:
    """Return the bands [first, last) that overlap a range of hertz.

    low_hz, high_hz: [B], both rising. Raises UsageError where no band overlaps.

    >>> band_range(slice(400, 900), np.array([0.0, 300, 800]), np.array([400.0, 900, 1200]))
    (1, 3)
    """
    low, high = bounds(hz, "hz")
    if hz is None:
        return 0, len(low_hz)
    inside = np.flatnonzero((low_hz < high) & (high_hz > low))
    if not inside.size:
        raise UsageError(
            f"no band overlaps {low:g} to {high:g} Hz; the bands span "
            f"{low_hz[0]:.0f} to {high_hz[-1]:.0f} Hz"
        )
    return int(inside[0]), int(inside[-1]) + 1
