"""Small feature stores for the tests of training: structured noise, shaped as real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fadae.store.features import RECORDING_COLUMNS, feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from fadae.transform.adaptive import FrequencyAdaptiveTransform


def structured_frames(count: int, seed: int, size: int = 8192) -> NDArray[np.float16]:
    """Frames [count, size] of a few patterns and noise: something to learn.

    Added up without BLAS, whose last bits depend on its threads and kernels: what is learned of
    the frames is compared to the bit.
    """
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).standard_normal((12, size), dtype=np.float32)
    weights = random.standard_normal((count, 12), dtype=np.float32) * 0.02
    noise = random.standard_normal((count, size), dtype=np.float32) * 0.01
    for weight, pattern in zip(weights.T, patterns, strict=True):
        noise += weight[:, None] * pattern
    return noise.astype(np.float16)


def write_features(
    location: Location,
    counts: list[int],
    silent: tuple[int, ...] = (),
    failed: tuple[int, ...] = (),
) -> None:
    """Publish recordings of so many frames; some rows of the first one silent or lost."""
    transform = FrequencyAdaptiveTransform.preset("seed")
    config = transform.config()
    store = FrameStore.create(
        location, FEATURES, feature_specs(transform, "float16"), feature_attrs(config, "float16")
    )
    append_recordings(location, store, counts, silent, failed)


def append_recordings(
    location: Location,
    store: FrameStore,
    counts: list[int],
    silent: tuple[int, ...] = (),
    failed: tuple[int, ...] = (),
) -> None:
    """Publish more recordings, from the next block boundary on."""
    first = -(-store.rows // BLOCK_FRAMES) * BLOCK_FRAMES
    rows = sum(counts)
    blocks = -(-rows // BLOCK_FRAMES)
    features = np.full((blocks * BLOCK_FRAMES, 8192), np.nan, dtype=np.float16)
    recording = np.full(blocks * BLOCK_FRAMES, -1, dtype=np.int32)
    starts = np.cumsum([0, *counts[:-1]])
    before = store.recording_rows
    for index, (start, count) in enumerate(zip(starts, counts, strict=True)):
        features[start : start + count] = structured_frames(count, before + index + 1)
        recording[start : start + count] = before + index
    features[list(silent)] = 0
    features[list(failed)] = np.nan
    for block in range(blocks):
        part = slice(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES)
        store.write_block(
            first // BLOCK_FRAMES + block,
            {
                "features": features[part],
                "audio": np.zeros((BLOCK_FRAMES, 3750), dtype=np.int16),
                "frame_recording": recording[part],
                "frame_time": np.zeros(BLOCK_FRAMES),
            },
            under="test",
        )
    names = [f"item/{before + index}.ogg" for index in range(len(counts))]
    columns: dict[str, list[object]] = {}
    for name, (dtype, _, _) in RECORDING_COLUMNS.items():
        columns[f"recording_{name}"] = ["" if dtype == "str" else 0] * len(counts)
    columns["recording_id"] = list(names)
    columns["recording_frame_start"] = [int(first + start) for start in starts]
    columns["recording_frame_count"] = list(counts)
    columns["recording_same_as"] = [-1] * len(counts)
    store.write_recordings(before, columns)
    store.publish(first + rows, before + len(counts))
