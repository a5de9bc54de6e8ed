"""Checks that no frame's code or coefficients depend on the frames computed beside it.

python -m tests.model.alike, in a process of its own: MKL chooses its kernels once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fadae.model.codec import Codec
from fadae.model.dense import Dense

SIZE = 2048


def main() -> None:
    for threads in (1, 2):
        torch.set_num_threads(threads)
        check()


def check() -> None:
    torch.manual_seed(0)
    config: Any = {"dataset": {"hop_seconds": 0.25}, "model": {"name": "dense", "features": SIZE}}
    codec = Codec(Dense(SIZE, (256, 128, 64)), config)
    raw = (0.1 * np.random.default_rng(0).standard_normal((300, SIZE))).astype(np.float32)
    codes = codec.encode(raw)
    decoded = codec.decode(codes)
    for start, count in ((0, 1), (3, 2), (17, 3), (5, 7), (30, 17), (100, 31), (1, 257), (44, 256)):
        part = codec.encode(raw[start : start + count])
        stop = start + count
        np.testing.assert_array_equal(part.values, codes.values[start:stop])
        assert part.scale is not None and codes.scale is not None
        np.testing.assert_array_equal(part.scale, codes.scale[start:stop])
        np.testing.assert_array_equal(codec.decode(part), decoded[start:stop])


if __name__ == "__main__":
    main()
