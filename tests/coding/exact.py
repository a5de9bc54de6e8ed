"""Prints a hash of what both models make of the same sound: `python -m tests.coding.exact`.

The same whatever the processor, the BLAS kernel and the number of threads.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fadae.coding import ByteCoder, EntropyModel, Network, compress, decompress, find_step, packaged
from fadae.coding.rate import draft_rows
from tests.coding import models

RATE_HZ = 11025
ROWS = 16


def digest() -> str:
    """Return the hash of codes, decoded coefficients, files, and decoded sound."""
    network = packaged()
    found = [of_model(model) for model in (network, models.tables())]
    assert of_model(Network(network.tensors(), np.float64)) == found[0], "float64 differs"
    return hashlib.sha256("".join(found).encode()).hexdigest()


def of_model(model: EntropyModel) -> str:
    """Return the hash of one model's."""
    coder, c = ByteCoder(model, models.SIZE), models.rows(ROWS, seed=13)
    step = find_step(coder, c, 200)
    steps = step.of_rows(0, ROWS)
    codes = coder.codes(draft_rows(coder, c, steps))
    decoded = coder.decode(codes)
    for size in (1, 7):
        for first in range(0, ROWS, size):
            part = slice(first, first + size)
            assert coder.codes(draft_rows(coder, c[part], steps[part])) == codes[part]
            np.testing.assert_array_equal(coder.decode(codes[part]), decoded[part])
    made = hashlib.sha256(repr(step).encode() + b"".join(codes) + decoded.tobytes())
    made.update(ByteCoder(model, models.SIZE, fill=0.3).decode(codes).tobytes())
    time = np.arange(3 * RATE_HZ) / RATE_HZ
    sound = 6000 * np.exp(-3 * (time % 0.5)) * np.sin(2 * np.pi * 220 * (1 + time // 0.5) * time)
    noise = 200 * np.random.default_rng(14).standard_normal(len(time))
    pcm = np.round(sound + noise).astype(np.int16)
    for rate_kind in ("average", "constant"):
        file = compress(pcm, RATE_HZ, model=model, code_bytes=100, rate_kind=rate_kind)
        made.update(file + decompress(file, model=model)[0].tobytes())
    return made.hexdigest()


if __name__ == "__main__":
    print(digest())
