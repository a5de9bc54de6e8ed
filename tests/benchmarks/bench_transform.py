"""What the transform costs beside window + rfft of the same frames, and exactness, in one run.

python -m tests.benchmarks.bench_transform [seconds of audio]

librosa's constant-Q transform stands beside `full` where it is installed. (nsgt 0.19, another peer,
does not run with NumPy 2.)
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable

# One core, before NumPy starts its pool.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - the thread count must be set first
import scipy.fft  # noqa: E402

from fadae.scores import snr_db  # noqa: E402
from fadae.transform.adaptive import FrequencyAdaptiveTransform  # noqa: E402
from fadae.transform.companding import compand, expand  # noqa: E402
from fadae.transform.critical import CriticalTransform  # noqa: E402
from fadae.transform.factory import preset  # noqa: E402
from fadae.transform.framing import vorbis_window  # noqa: E402
from fadae.transform.half import to_float16  # noqa: E402
from tests.benchmarks.figures import report  # noqa: E402

# The most that analysis and synthesis may cost, times window + rfft.
LIMITS = {"seed": (2.6, 2.6), "full": (4.0, 4.5), "critical": (2.2, 1.9)}
ROUNDS = 7
BLOCK_FRAMES = 1024
PRESETS = (("seed", 11025), ("zounds", 11025), ("full", 11025), ("full", 44100))


def seconds_of(*works: Callable[[], object]) -> list[list[float]]:
    """The times of each, rounds interleaved so that a busy machine troubles all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return times


def window_and_rfft(signal: np.ndarray, N: int, H: int) -> None:
    """The peer: the same frames, windowed and transformed in blocks that suit the cache."""
    window = vorbis_window(N).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(signal, N)[::H]
    rows = max(8, 2**18 // N)
    for first in range(0, len(views), rows):
        scipy.fft.rfft(views[first : first + rows] * window, norm="ortho", overwrite_x=True)


def compare(name: str, rate_hz: int, seconds: float) -> None:
    t = preset(name, rate_hz)
    # A row of `critical` is three blocks, each windowed and transformed by itself.
    blocks = t.hop_samples // t.bands if isinstance(t, CriticalTransform) else 1
    H = t.hop_samples // blocks
    N = 2 * H
    frames = int(seconds * rate_hz) // t.hop_samples // BLOCK_FRAMES * BLOCK_FRAMES
    samples = (max(frames, BLOCK_FRAMES) - 1) * t.hop_samples
    signal = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.1
    padded = np.pad(signal, (t.hop_samples, 2 * t.hop_samples))
    padded = padded[: samples + 2 * t.hop_samples]
    c = t.analyze(signal)
    peer, analyze, synthesize = seconds_of(
        lambda: window_and_rfft(padded, N, H),
        lambda: t.analyze(signal),
        lambda: t.synthesize(c),
    )
    what = f"{name} {rate_hz} Hz"
    limits = LIMITS.get(name, (None, None)) if rate_hz == 11025 else (None, None)
    for verb, taken, limit in zip(
        ("analyze", "synthesize"), (analyze, synthesize), limits, strict=True
    ):
        each = f"{1e6 * statistics.median(taken) / len(c):.1f} us a frame"
        ratios = [own / bare for own, bare in zip(taken, peer, strict=True)]
        report(f"{what}, {verb} / window + rfft", ratios, "x", limit=limit, beside=each)
    if name == "full" and importlib.util.find_spec("librosa"):
        librosa = importlib.import_module("librosa")
        (taken,) = seconds_of(lambda: librosa.cqt(signal, sr=rate_hz))
        ratios = [own / bare for own, bare in zip(taken, peer, strict=True)]
        report(f"{what}, librosa cqt / window + rfft", ratios, "x")


def companding(quiet: float) -> None:
    c = np.random.default_rng(0).standard_normal((512, 8192)).astype(np.float32) * np.float32(quiet)
    values, scale = compand(c)
    taken = seconds_of(
        lambda: compand(c),
        lambda: expand(values, scale),
        lambda: to_float16(c),
        lambda: c.astype(np.float16),
    )
    for name, seconds in zip(("compand", "expand", "to_float16"), taken, strict=False):
        ratios = [own / cast for own, cast in zip(seconds, taken[-1], strict=True)]
        report(f"{name}, coefficients about {quiet:g} / NumPy's cast", ratios, "x")


def exactness(name: str, rate_hz: int) -> None:
    t = FrequencyAdaptiveTransform.preset(name, rate_hz)
    n, N = 60 * rate_hz, t.frame_samples
    noise = np.random.default_rng(1).standard_normal(n)
    inner = slice(None)
    if name != "full":
        spectrum, hz = scipy.fft.rfft(noise), scipy.fft.rfftfreq(n, 1 / rate_hz)
        spectrum[(hz < 360) | (hz > 2980)] = 0
        noise, inner = scipy.fft.irfft(spectrum, n), slice(N, -N)
    for dtype in (np.float64, np.float32):
        x = noise.astype(dtype)
        score = snr_db(x[inner], t.synthesize(t.analyze(x), length=n)[inner])
        report(f"{name} {rate_hz} Hz, SNR in {np.dtype(dtype)}", [score], "dB", better="higher")


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    for name, rate in (*PRESETS, ("critical", 11025)):
        compare(name, rate, duration if rate == 11025 else duration / 4)
    for level in (0.1, 1e-6):
        companding(level)
    for name, rate in PRESETS:
        exactness(name, rate)
