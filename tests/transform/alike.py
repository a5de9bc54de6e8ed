"""Prints hashes of transforms, having checked that no bit depends on where a signal is cut.

python -m tests.transform.alike CUT..., in a process of its own: a BLAS chooses its kernel once.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fadae.transform.adaptive import MODEL_FLOOR, FrequencyAdaptiveTransform

FRAMES = 150


def check_frames(t: FrequencyAdaptiveTransform, dtype: Any, cuts: Sequence[int]) -> np.ndarray:
    H, N = t.hop_samples, t.frame_samples
    noise = 0.1 * np.random.default_rng(0).standard_normal((FRAMES - 1) * H + N)
    x = noise.astype(dtype)
    whole = t.analyze_frames(x)
    for a in cuts:
        np.testing.assert_array_equal(t.analyze_frames(x[a * H :]), whole[a:])
    return whole


def check_hops(t: FrequencyAdaptiveTransform, c: np.ndarray, cuts: Sequence[int]) -> np.ndarray:
    whole = t.synthesize_hops(c, floor=MODEL_FLOOR)
    for a in cuts:
        hops = t.synthesize_hops(c[a:], floor=MODEL_FLOOR)
        np.testing.assert_array_equal(hops, whole[a * t.hop_samples :])
    return whole


def main(cuts: Sequence[int]) -> None:
    for name in ("seed", "full"):
        t = FrequencyAdaptiveTransform.preset(name)
        for dtype in (np.float32, np.float64):
            c = check_frames(t, dtype, cuts)
            for values in (c, check_hops(t, c, cuts)):
                print(name, c.dtype, hashlib.sha256(values.tobytes()).hexdigest())


if __name__ == "__main__":
    main([int(cut) for cut in sys.argv[1:]])
