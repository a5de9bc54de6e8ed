"""What the transform costs beside window + rfft of the same frames, and exactness, in one run.

python -m tests.benchmarks.bench_transform [seconds of audio]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

# One core, before NumPy starts its pool.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - the thread count must be set first
import scipy.fft  # noqa: E402

from fadae.memory import keep_freed_memory  # noqa: E402
from fadae.scores import snr_db  # noqa: E402
from fadae.transform.adaptive import FrequencyAdaptiveTransform  # noqa: E402
from fadae.transform.companding import compand, expand  # noqa: E402
from fadae.transform.framing import vorbis_window  # noqa: E402
from fadae.transform.half import to_float16  # noqa: E402

# Of (analyze, synthesize), as multiples of window + rfft.
LIMITS = {"seed": (2.6, 2.6), "zounds": (2.6, 2.6), "full": (4.0, 4.5)}
ROUNDS = 7


def best_seconds(*works: Callable[[], object]) -> list[float]:
    """The least processor time of each, rounds interleaved: a busy machine troubles all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in times]


def window_and_rfft(signal: np.ndarray, N: int, H: int) -> None:
    """The peer: the same frames, windowed and transformed in blocks that suit the cache."""
    window = vorbis_window(N).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(signal, N)[::H]
    rows = max(8, 2**18 // N)
    for first in range(0, len(views), rows):
        scipy.fft.rfft(views[first : first + rows] * window, norm="ortho", overwrite_x=True)


def compare(name: str, rate_hz: int, seconds: float) -> None:
    t = FrequencyAdaptiveTransform.preset(name, rate_hz)
    N, H = t.frame_samples, t.hop_samples
    frames = max(t.framing.block_frames, int(seconds * rate_hz) // H)
    frames = -(-frames // t.framing.block_frames) * t.framing.block_frames
    signal = np.random.default_rng(0).standard_normal((frames - 1) * H).astype(np.float32) * 0.1
    padded = np.pad(signal, (t.padding_samples, N))[: (frames - 1) * H + N]
    c = t.analyze(signal)
    peer, analyze, synthesize = best_seconds(
        lambda: window_and_rfft(padded, N, H),
        lambda: t.analyze(signal),
        lambda: t.synthesize(c),
    )
    per_frame = 1e6 / len(c)
    audio = len(signal) / rate_hz
    analyze_limit, synthesize_limit = LIMITS[name]
    print(
        f"{name:6} {rate_hz:6} Hz  window+rfft {peer * per_frame:6.1f} us/frame"
        f"  analyze {analyze * per_frame:6.1f} = {analyze / peer:4.2f}x (limit {analyze_limit}x)"
        f"  synthesize {synthesize * per_frame:6.1f} = {synthesize / peer:4.2f}x"
        f" (limit {synthesize_limit}x)  {audio / analyze:7.0f} audio s/s",
        flush=True,
    )


def companding(quiet: float) -> None:
    c = np.random.default_rng(0).standard_normal((512, 8192)).astype(np.float32) * np.float32(quiet)
    values, scale = compand(c)
    taken = best_seconds(
        lambda: compand(c),
        lambda: expand(values, scale),
        lambda: to_float16(c),
        lambda: c.astype(np.float16),
    )
    names = ("compand", "expand", "to_float16", "numpy's cast")
    print(
        f"coefficients about {quiet:g}:",
        ", ".join(f"{n} {s / 512 * 1e6:.1f} us/frame" for n, s in zip(names, taken, strict=True)),
    )


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
        print(f"{name:6} {rate_hz:6} Hz  {np.dtype(dtype).name}: {score:.1f} dB")


if __name__ == "__main__":
    keep_freed_memory()  # as the tasks of every stage do
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    for preset, rate in (("seed", 11025), ("zounds", 11025), ("full", 11025), ("full", 44100)):
        compare(preset, rate, duration if rate == 11025 else duration / 4)
    for level in (0.1, 1e-6):
        companding(level)
    for preset, rate in (("seed", 11025), ("zounds", 11025), ("full", 11025), ("full", 44100)):
        exactness(preset, rate)
