"""The frequency-adaptive transforms that have names, as configurations."""

from __future__ import annotations

import operator

import scipy.fft

from fadae.errors import UsageError
from fadae.records import TransformConfig
from fadae.transform.bands import BandWindow
from fadae.transform.scale import FrequencyScale, GeometricScale, KnotScale, band_slices

PRESETS = ("seed", "zounds", "full", "critical")

# The 2017 experiment's 300 bands: 300 to 3040 Hz, about 2.4 bands overlapping everywhere.
SEED_SCALE = GeometricScale(start_hz=300.0, stop_hz=3040.0, bandwidth_ratio=0.016985, bands=300)
_SEED_RATE_HZ = 11025


def preset_config(name: str, sample_rate_hz: int) -> TransformConfig:
    """Return the configuration of a preset at a sample rate.

    Raises UsageError for a name that is none, or a rate the preset has not.
    """
    if name == "critical":
        raise UsageError("preset 'critical' is another class: ask `fadae.transform.preset` for it.")
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}.")
    try:
        sample_rate_hz = operator.index(sample_rate_hz)
    except TypeError:
        sample_rate_hz = 0
    if sample_rate_hz < 100:
        raise UsageError("a sample rate is a whole number of hertz, 100 or more.")
    if name == "full":
        return _full(sample_rate_hz)
    if sample_rate_hz != _SEED_RATE_HZ:
        raise UsageError(
            f"preset {name!r} is defined at {_SEED_RATE_HZ} Hz, not {sample_rate_hz}; "
            "use preset 'full' or 'critical' for other sample rates."
        )
    # zounds: 7497 = the odd length its 0.68 s came to; the half-frame hop rounded up; no padding,
    # so the first and the last half-frame are seen once, where the floor bounds the division.
    # seed: the next fast even length (9.0 us an FFT against 14.5), whose windows sum to one.
    frame, hop, padding, floor = (
        (7497, 3749, 0, 1e-2) if name == "zounds" else (7500, 3750, 3750, 0.0)
    )
    slices = band_slices(SEED_SCALE, _zounds_bin_hz())
    return _config(
        name, sample_rate_hz, (frame, hop, padding), SEED_SCALE, slices.tolist(), "hann", floor
    )


def _zounds_bin_hz() -> float:
    """Return the bin spacing zounds reckons with: whole hertz up to Nyquist over N//2 + 1 bins.

    The true spacing is 11025 / 7497; the difference moves some band edges by a bin. `seed` keeps
    zounds' edges, so that both presets' coefficients mean the same.
    """
    return (_SEED_RATE_HZ // 2) / (7497 // 2 + 1)


def _full(sample_rate_hz: int) -> TransformConfig:
    """Return quarter-tone bands from DC to Nyquist: tight, so synthesis is the adjoint.

    A frame is the shortest even length of at least 0.68 s (17/25) made of the factors 2, 3 and 5,
    which real FFTs are fastest at: twice the next such length of its half.
    """
    frame = 2 * scipy.fft.next_fast_len(-(-sample_rate_hz * 17 // 50), real=True)
    scale = KnotScale(frame, sample_rate_hz)
    return _config(
        "full",
        sample_rate_hz,
        (frame, frame // 2, frame // 2),
        scale,
        scale.slices().tolist(),
        "crossfade",
        0.0,
    )


def _config(
    name: str,
    sample_rate_hz: int,
    framing: tuple[int, int, int],
    scale: FrequencyScale,
    slices: list[list[int]],
    band_window: BandWindow,
    window_floor: float,
) -> TransformConfig:
    frame, hop, padding = framing
    return {
        "name": name,
        "sample_rate_hz": sample_rate_hz,
        "frame_samples": frame,
        "hop_samples": hop,
        "padding_samples": padding,
        "frame_window": "vorbis",
        "window_floor": window_floor,
        "scale": scale.config(),
        "band_window": band_window,
        "band_slices": slices,
    }
