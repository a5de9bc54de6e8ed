"""The scores of a reconstruction: sums a frame, pooled over recordings and sides of the split.

Sums are kept beside the arrays they judge, so that scores of what is published later are those of
all that was, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fadae.arrays import Array
from fadae.data import RowSet
from fadae.scores import ErrorSums
from fadae.store import (
    BLOCK_FRAMES,
    CODE_BYTES,
    CODED_FRAMES,
    HOPS,
    SCORES,
    SIDES,
    SUMS,
    FeatureSet,
    FrameStore,
    attrs_of,
    features_sha256,
)
from fadae.training import run_config, split_of


def blocks_of(rows: int) -> int:
    """Return how many blocks published rows lie in: the last one may be filled in part only.

    What is published later begins at the next block, so a published block never changes.
    """
    return -(-rows // BLOCK_FRAMES)


def publish_scored(run: str, store: FrameStore, features: FeatureSet) -> FrameStore:
    """Score the new recordings and show them with their rows; return the store as published."""
    recordings, known = len(features.recordings), store.recording_rows
    split = split_of(features, run_config(store.location, run))
    sides = dict(zip(SIDES, (split.held_out_rows, split.trained_rows), strict=True))
    sums, side_sums = _pooled_sums(store, features, sides)
    totals = totals_of(store, features) + [sum(column) for column in sums.T]
    store.write_recordings(known, _score_columns(store, features, sums))
    attrs: dict[str, object] = {
        "totals": dict(zip((*SUMS, HOPS), map(float, totals), strict=True))
        | _code_totals(store, features),
        "features_sha256": features_sha256(features, recordings),
    }
    known_sides = attrs_of(store).get("side_totals")
    if known_sides is not None:  # else begun by an earlier fadae: what is missing stays so
        attrs["side_totals"] = _added(known_sides, side_sums)
    return store.publish(features.rows, recordings, attrs)


def totals_of(store: FrameStore, features: FeatureSet) -> Array:
    """Return [sums + 1]: the sums over all published frames, and the hops they were taken of."""
    totals = attrs_of(store)["totals"]
    table, known = features.recordings, store.recording_rows
    # A store from before hops were counted divided by all of them.
    every = int(_hops(features)[:known][table.canonical[:known]].sum())
    return np.array([*(totals[name] for name in SUMS), totals.get(HOPS, every)])


def _code_totals(store: FrameStore, features: FeatureSet) -> dict[str, float]:
    """Return the bytes of all codes, and of how many frames, where their length varies."""
    if CODE_BYTES not in store.names:
        return {}
    known = attrs_of(store)["totals"]
    taken, frames = known.get(CODE_BYTES, 0.0), known.get(CODED_FRAMES, 0.0)
    for number in range(blocks_of(store.rows), blocks_of(features.rows)):
        start = number * BLOCK_FRAMES
        coded = features.read("frame_recording", start, start + BLOCK_FRAMES) >= 0
        coded &= ~features.forgotten.silenced(start, start + len(coded))
        taken += float(store.read_block(CODE_BYTES, number)[: len(coded)][coded].sum())
        frames += float(np.count_nonzero(coded))
    return {CODE_BYTES: taken, CODED_FRAMES: frames}


def _hops(features: FeatureSet) -> Array:
    """Return how many hops of each recording hold samples, [recordings]."""
    return np.asarray(-(-features.recordings.samples // features.transform.hop_samples))


def _pooled_sums(
    store: FrameStore, features: FeatureSet, sides: dict[str, RowSet]
) -> tuple[Array, dict[str, Array]]:
    """Return the new frames' sums: [new recordings, sums + 1], and [sums] of each set of rows.

    The last column counts the hops that a recording's sums are of. Added block after block.
    """
    known, hops = store.recording_rows, _hops(features)
    starts = features.recordings.frame_start
    sums = np.zeros((len(features.recordings) - known, len(SUMS) + 1))
    of_sides = {side: np.zeros(len(SUMS)) for side in sides}
    for number in range(blocks_of(store.rows), blocks_of(features.rows)):
        start = number * BLOCK_FRAMES
        recording = features.read("frame_recording", start, start + BLOCK_FRAMES)
        block = store.read_block("frame_sums", number)[: len(recording)]
        # A frame of features that are no numbers is no frame to judge a model by.
        rows = np.flatnonzero((recording >= 0) & np.isfinite(block).all(axis=1))
        found = recording[rows]
        is_hop = start + rows - starts[found] < hops[found]  # the last frame ends the last hop
        np.add.at(sums, found - known, np.column_stack([block[rows], is_hop]))
        for side, side_rows in sides.items():
            inside = side_rows.within(start, start + len(recording)) - start
            of_sides[side] += block[np.intersect1d(rows, inside)].sum(axis=0)
    return sums, of_sides


def _added(
    totals: dict[str, dict[str, float]], sums: dict[str, Array]
) -> dict[str, dict[str, float]]:
    """Return the totals of each side with new sums added."""
    return {
        side: {
            name: totals[side][name] + float(value)
            for name, value in zip(SUMS, values, strict=True)
        }
        for side, values in sums.items()
    }


def _score_columns(
    store: FrameStore, features: FeatureSet, sums: Array
) -> dict[str, Sequence[str] | Array]:
    """Return the recording_* columns of the new recordings; repeated PCM has its own's scores."""
    table, known = features.recordings, store.recording_rows
    scores = [scores_of(row) for row in sums]
    columns: dict[str, Sequence[str] | Array] = {"recording_id": table.id[known:].tolist()}
    for name in SCORES:
        values = np.append(store.read(f"recording_{name}"), [score[name] for score in scores])
        same_as = table.same_as
        values = np.where(same_as >= 0, values[same_as], values)
        columns[f"recording_{name}"] = values[known:]
    return columns


def scores_of(sums: Array) -> dict[str, float]:
    """Return the scores that sums over frames (columns SUMS, then hops) stand for."""
    companded = ErrorSums(float(sums[0]), float(sums[1]))
    audio = ErrorSums(*sums[2:5].tolist())
    distance = float(sums[5] / sums[6]) if sums[6] else float("nan")
    return {
        "nmse_db": companded.nmse_db,
        "snr_db": audio.snr_db,
        "si_sdr_db": audio.si_sdr_db,
        "log_spectral_distance_db": distance,
    }
