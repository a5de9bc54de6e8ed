"""Reconstructing a store against the bare codec and synthesis of the same frames in memory.

The limit is 1.3 times the cost: reading, writing, the reference's synthesis and scores included.
One thread; the two alternate, and the medians are compared. `--code` and the widths are those of
the default model.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import fadae
from fadae.reconstruct import reconstruct
from fadae.store.dataset import FeatureSet
from fadae.store.location import Location
from fadae.store.reconstruction import reconstruction_path
from fadae.transform import MODEL_FLOOR
from tests.synthetic import music, write_features, write_run

LIMIT = 1.3
ROUNDS = 5
SECONDS = 690.0  # two blocks of 1024 frames, nearly full
WIDTHS = (1024, 512, 256)


def main() -> int:
    """Print both costs and their ratio; return 1 beyond the limit."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        location = Location(str(Path(folder)))
        write_features(location, {"a/music.ogg": music(SECONDS)})
        write_run(location, widths=WIDTHS)
        bare, whole = [], []
        codec = fadae.open(location.url).codec()
        features = FeatureSet.open(location)
        c = features.read("features", 0, features.frames).astype(np.float32)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            made = codec.reconstruct(c)
            features.transform.synthesize_hops(made, floor=MODEL_FLOOR)
            bare.append(time.perf_counter() - start)
            location.delete(reconstruction_path("default"))
            start = time.perf_counter()
            reconstruct(location, device="cpu")
            whole.append(time.perf_counter() - start)
    ratio = statistics.median(whole) / statistics.median(bare)
    frames = len(c)
    print(f"{frames} frames, one thread, default model, local folder")
    print(f"bare codec + synthesis  {1e6 * statistics.median(bare) / frames:8.0f} us a frame")
    print(f"fadae reconstruct       {1e6 * statistics.median(whole) / frames:8.0f} us a frame")
    print(f"ratio {ratio:.2f} (limit {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
