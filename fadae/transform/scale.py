"""Frequency scales as values: where bands lie in hertz, and which FFT bins they own.

A scale is three arrays of the same length: the low edge, the centre and the high edge of every
band. It knows nothing of frames or sample rates; `band_slices` lays it over the bins of an FFT.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from fadae.arrays import Float64, Int64
from fadae.errors import UsageError
from fadae.records import ScaleConfig


class FrequencyScale(ABC):
    """What every scale has: `low_hz`, `centre_hz`, `high_hz`, each [B] float64, bands ascending.

    A scale of your own is a frozen dataclass that derives from this one and gives `centre_hz` and
    `bandwidth_hz`; edges lie half a bandwidth to each side unless it gives its own.
    """

    kind: ClassVar[str] = "table"

    @property
    @abstractmethod
    def centre_hz(self) -> Float64:
        """[B] float64, hertz."""

    @property
    @abstractmethod
    def bandwidth_hz(self) -> Float64:
        """[B] float64, hertz: high edge minus low edge."""

    @property
    def low_hz(self) -> Float64:
        """[B] float64, hertz."""
        return self.centre_hz - self.bandwidth_hz / 2

    @property
    def high_hz(self) -> Float64:
        """[B] float64, hertz."""
        return self.centre_hz + self.bandwidth_hz / 2

    def __len__(self) -> int:
        """Return B, the number of bands."""
        return len(self.centre_hz)

    def overlap_ratios(self) -> Float64:
        """Return [B-1]: the part of each band that its successor covers too, 0 where they part."""
        shared = np.minimum(self.high_hz[:-1], self.high_hz[1:]) - self.low_hz[1:]
        return np.maximum(shared, 0.0) / self.bandwidth_hz[:-1]

    def ensure_overlap_ratio(self, ratio: float = 0.5) -> None:
        """Raise UsageError unless every band shares at least `ratio` of itself with the next.

        Smooth band windows fade to nothing at their edges; where neighbours overlap too little,
        the sum of squared windows comes near zero and the transform cannot be undone there.

        >>> GeometricScale(300, 3040, 0.016985, 300).ensure_overlap_ratio(0.5)
        >>> LinearScale(0, 100, 4).ensure_overlap_ratio(0.9)
        Traceback (most recent call last):
        fadae.errors.UsageError: band 0 (0-40 Hz) shares 0.5 of itself with band 1, less than ...
        """
        ratios = self.overlap_ratios()
        short = np.flatnonzero(ratios < ratio)
        if short.size:
            band = int(short[0])
            raise UsageError(
                f"band {band} ({self.low_hz[band]:g}-{self.high_hz[band]:g} Hz) shares "
                f"{ratios[band]:.3g} of itself with band {band + 1}, less than {ratio:g}; "
                "use wider or more bands."
            )

    def config(self) -> ScaleConfig:
        """Return a JSON-able dict from which `scale_from_config` makes an equal scale."""
        if self.kind != "table":
            values = dataclasses.asdict(self)  # type: ignore[call-overload]
            return cast(ScaleConfig, {"kind": self.kind, **values})
        return {
            "kind": "table",
            "low_hz": self.low_hz.tolist(),
            "centre_hz": self.centre_hz.tolist(),
            "high_hz": self.high_hz.tolist(),
        }


@dataclass(frozen=True)
class GeometricScale(FrequencyScale):
    """Centres in a constant ratio from `start_hz` to `stop_hz`, bandwidths in proportion.

    >>> GeometricScale(100, 400, bandwidth_ratio=0.5, bands=3).centre_hz.round(6).tolist()
    [100.0, 200.0, 400.0]
    """

    kind: ClassVar[str] = "geometric"
    start_hz: float
    stop_hz: float
    bandwidth_ratio: float
    bands: int

    def __post_init__(self) -> None:
        _ensure_range(self.start_hz, self.stop_hz, self.bands)
        if self.start_hz <= 0 or self.bandwidth_ratio <= 0:
            raise UsageError("a geometric scale needs start_hz > 0 and bandwidth_ratio > 0.")

    @property
    def centre_hz(self) -> Float64:
        centres = np.geomspace(self.start_hz, self.stop_hz, self.bands)
        return centres.astype(np.float64, copy=False)

    @property
    def bandwidth_hz(self) -> Float64:
        return np.asarray(self.centre_hz * self.bandwidth_ratio, dtype=np.float64)


@dataclass(frozen=True)
class LinearScale(FrequencyScale):
    """Evenly spaced bands from `start_hz` to `stop_hz`, each overlapping half of the next.

    >>> LinearScale(0, 100, 4).low_hz.tolist()
    [0.0, 20.0, 40.0, 60.0]
    """

    kind: ClassVar[str] = "linear"
    start_hz: float
    stop_hz: float
    bands: int

    def __post_init__(self) -> None:
        _ensure_range(self.start_hz, self.stop_hz, self.bands)

    @property
    def _step_hz(self) -> float:
        return (self.stop_hz - self.start_hz) / (self.bands + 1)

    @property
    def centre_hz(self) -> Float64:
        return np.asarray(self.start_hz + self._step_hz * np.arange(1.0, self.bands + 1))

    @property
    def bandwidth_hz(self) -> Float64:
        return np.full(self.bands, 2 * self._step_hz)


@dataclass(frozen=True)
class BarkScale(FrequencyScale):
    """Bands of equal width on the Bark scale of hearing, each overlapping half of the next.

    Formula: H. Traunmueller, "Analytical expressions for the tonotopic sensory scale",
    J. Acoust. Soc. Am. 88 (1990): z = 26.81 f / (1960 + f) - 0.53.
    """

    kind: ClassVar[str] = "bark"
    start_hz: float
    stop_hz: float
    bands: int

    def __post_init__(self) -> None:
        _ensure_range(self.start_hz, self.stop_hz, self.bands)

    @property
    def edges_hz(self) -> Float64:
        """[B+2] float64: band b rises from edge b to its centre, edge b+1, and ends at b+2."""
        start, stop = (hertz_to_bark(hz) for hz in (self.start_hz, self.stop_hz))
        return bark_to_hertz(np.linspace(start, stop, self.bands + 2))

    @property
    def low_hz(self) -> Float64:
        return self.edges_hz[:-2]

    @property
    def centre_hz(self) -> Float64:
        return self.edges_hz[1:-1]

    @property
    def high_hz(self) -> Float64:
        return self.edges_hz[2:]

    @property
    def bandwidth_hz(self) -> Float64:
        return self.high_hz - self.low_hz


@dataclass(frozen=True)
class KnotScale(FrequencyScale):
    """Bands from DC to Nyquist whose centres are knots on FFT bins; neighbours' knots are edges.

    Knots: bin 0, the bin of `first_hz`, then each the last times 2^(1/bands_per_octave), at
    least two bins on; the last is Nyquist. So every bin lies in exactly two bands, and windows
    that fade from one knot to the next can sum to one in power (the `full` preset).

    >>> KnotScale(7500, 11025).knots[[0, 1, 2, -1]].tolist()
    [0, 20, 22, 3750]
    """

    kind: ClassVar[str] = "knots"
    frame_samples: int
    sample_rate_hz: int
    first_hz: float = 30.0
    bands_per_octave: int = 24

    @property
    def knots(self) -> Int64:
        """[B] int64: the FFT bin of each band's centre."""
        last = self.frame_samples // 2
        knots = [0, max(2, round(self.first_hz * self.frame_samples / self.sample_rate_hz))]
        ratio = 2 ** (1 / self.bands_per_octave)
        while (following := max(knots[-1] + 2, round(knots[-1] * ratio))) < last:
            knots.append(following)
        if last - knots[-1] < 2:
            knots.pop()
        return np.array([*knots, last])

    def _bin_to_hertz(self, bins: Int64) -> Float64:
        return np.asarray(bins * (self.sample_rate_hz / self.frame_samples), dtype=np.float64)

    @property
    def low_hz(self) -> Float64:
        return self._bin_to_hertz(np.concatenate([[0], self.knots[:-1]]))

    @property
    def centre_hz(self) -> Float64:
        return self._bin_to_hertz(self.knots)

    @property
    def high_hz(self) -> Float64:
        return self._bin_to_hertz(np.concatenate([self.knots[1:], self.knots[-1:]]))

    @property
    def bandwidth_hz(self) -> Float64:
        return self.high_hz - self.low_hz

    def slices(self) -> Int64:
        """Return [B, 2] int64: first bin and one past the last, the neighbours' knots included."""
        knots = self.knots
        return np.stack(
            [
                np.concatenate([[0], knots[:-1]]),
                np.concatenate([knots[1:], knots[-1:]]) + 1,
            ],
            axis=1,
        )


@dataclass(frozen=True)
class TableScale(FrequencyScale):
    """A scale given band by band: what a scale of a user's own becomes when read back."""

    low: tuple[float, ...]
    centre: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def low_hz(self) -> Float64:
        return np.array(self.low)

    @property
    def centre_hz(self) -> Float64:
        return np.array(self.centre)

    @property
    def high_hz(self) -> Float64:
        return np.array(self.high)

    @property
    def bandwidth_hz(self) -> Float64:
        return self.high_hz - self.low_hz


def scale_from_config(config: ScaleConfig) -> FrequencyScale:
    """Return the scale whose `config()` this is.

    >>> scale_from_config(LinearScale(0, 100, 4).config())
    LinearScale(start_hz=0, stop_hz=100, bands=4)
    """
    values: Any = dict(config)
    kind = values.pop("kind", None)
    if kind == "table":
        edges = (config["low_hz"], config["centre_hz"], config["high_hz"])
        return TableScale(*map(tuple, edges))
    for scale in (GeometricScale, LinearScale, BarkScale, KnotScale):
        if scale.kind == kind:
            return scale(**values)
    raise UsageError(
        f"unknown frequency scale {kind!r}; this version knows geometric, linear, bark, knots "
        "and table."
    )


def band_slices(scale: FrequencyScale, bin_hz: float) -> Int64:
    """Return [B, 2] int64: the first FFT bin of every band and one past its last.

    Bins lie `bin_hz` apart; a band owns every bin its edges touch.

    >>> band_slices(LinearScale(0, 100, 4), bin_hz=10).tolist()
    [[0, 4], [2, 6], [4, 8], [6, 10]]
    """
    first = np.floor(scale.low_hz / bin_hz)
    end = np.ceil(scale.high_hz / bin_hz)
    return np.stack([first, end], axis=1).astype(np.int64)


def hertz_to_bark(hz: npt.ArrayLike) -> Float64:
    """Return Traunmueller's Bark number of a frequency, elementwise; 1 kHz is Bark 8.5."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.asarray(26.81 * hz / (1960.0 + hz) - 0.53)


def bark_to_hertz(bark: npt.ArrayLike) -> Float64:
    """Return the frequency of a Bark number, elementwise: the inverse of `hertz_to_bark`.

    >>> round(float(bark_to_hertz(hertz_to_bark(1000.0))), 6)
    1000.0
    """
    z = np.asarray(bark, dtype=np.float64) + 0.53
    return np.asarray(1960.0 * z / (26.81 - z))


def _ensure_range(start_hz: float, stop_hz: float, bands: int) -> None:
    if not 0 <= start_hz < stop_hz or bands < 1:
        raise UsageError(
            f"a frequency scale runs upwards from 0 Hz or more in at least one band; "
            f"got {start_hz:g} to {stop_hz:g} Hz in {bands} bands."
        )
