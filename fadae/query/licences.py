"""The recordings of a workspace by their licences, as SPDX names these."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fadae.arrays import Int64
from fadae.licences import LicencePolicy, spdx_or_unknown
from fadae.store import ROWS_PER_PACK, FeatureSet

_MOST_CHUNKS = 8  # of 16384 recordings, that `info` counts


def admitted_rows(features: FeatureSet, policy: LicencePolicy) -> Int64:
    """Return the rows of the recording table, forgotten ones too, whose licence is admitted."""
    found = [np.empty(0, np.int64)]
    for low in range(0, len(features.recordings), ROWS_PER_PACK):
        texts, which = _chunk(features, low)
        admitted = np.array([policy.admits(text) for text in texts], bool)
        found.append(low + np.flatnonzero(admitted[which]))
    return np.concatenate(found)


def licence_counts(features: FeatureSet) -> tuple[dict[str, int], bool]:
    """Return how many recordings have which licence, and whether that is exact.

    Of more than 131,072 recordings as many are counted, spread evenly, and tell of the rest.
    """
    starts = np.arange(0, len(features.recordings), ROWS_PER_PACK)
    places = np.linspace(0, len(starts) - 1, min(len(starts), _MOST_CHUNKS)).astype(int)
    counts, counted, gone = Counter[str](), 0, features.forgotten
    for low in starts[np.unique(places)].tolist() if len(starts) else ():
        texts, which = _chunk(features, low)
        kept = which[~np.isin(low + np.arange(len(which)), gone.rows)]
        counted += len(kept)
        for at, count in zip(*np.unique(kept, return_counts=True), strict=True):
            counts[spdx_or_unknown(texts[at])] += int(count)
    every = len(features.recordings) - len(gone)
    scale = every / counted if counted else 0.0
    return {name: round(n * scale) for name, n in sorted(counts.items())}, counted == every


def _chunk(features: FeatureSet, low: int) -> tuple[list[str], Int64]:
    """Return the different licences of one chunk of recordings, and which each one has."""
    stop = min(low + ROWS_PER_PACK, len(features.recordings))
    values = features.store.read("recording_licence", low, stop).tolist()
    texts = sorted(set(values))
    places = {text: at for at, text in enumerate(texts)}
    return texts, np.array([places[value] for value in values], np.int64)
