"""More like this: the stretches of a workspace that sound most like one, and a map of them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array, Float32, Float64
from fadae.errors import NoInputError, UsageError
from fadae.query.recordings import Recording, Recordings
from fadae.query.selection import Range, hop_rows
from fadae.similarity import (
    GROUP_PACKS,
    SEGMENT_ROWS,
    best_of,
    every_pack,
    indexed_groups,
    indexed_hits,
    nearest,
    packs_of,
    unit,
    windows_of,
)
from fadae.store import FeatureSet

_MOST_WINDOWS = 64  # of a selection: more are spread over it
_FEWEST_ROWS = 4  # of a shorter selection, those around it are heard too


@dataclass(frozen=True, slots=True)
class Similar:
    """A stretch that sounds like another: seconds [start, stop) of a recording, and how much."""

    id: str
    title: str
    creator: str
    start_seconds: float
    stop_seconds: float
    score: float  # cosine of the vectors, at most 1


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A recording on the map: x and y from -1 to 1, and its most typical stretch, to be heard."""

    id: str
    title: str
    creator: str
    x: float
    y: float
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True, slots=True)
class CorpusMap:
    """Recordings in the plane: those near to each other sound alike, as far as two axes can tell.

    explained: the share of the vectors' variance that each axis tells. recordings: how many there
    are in all; the map may show a sample of them.
    """

    points: tuple[MapPoint, ...]
    explained: tuple[float, float]
    recordings: int


def similar(
    features: FeatureSet,
    recordings: Recordings,
    recording_id: str,
    seconds: Range = None,
    k: int = 10,
) -> list[Similar]:
    """Return the k recordings with the stretch that sounds most like a part of one, best first.

    seconds: the part, as `slice(12, 18)` or (12, 18); None for the whole recording. Each recording
    comes once, with its best stretch of some 3 seconds; the recording asked for too, with another
    stretch than the part and its surroundings. Raises UsageError for an unknown id (naming near
    ones), a part beyond its end, or k below 1.
    """
    if k < 1:
        raise UsageError(f"k must be 1 or more, not {k}")
    transform, recording = features.transform, recordings.find(recording_id)
    hop, rate_hz = transform.hop_samples, transform.sample_rate_hz
    first, last = hop_rows(seconds, rate_hz, hop, recording.frame_count)
    while last - first < min(_FEWEST_ROWS, recording.frame_count):
        first, last = max(0, first - 1), min(recording.frame_count, last + 1)
    start, stop = recording.frame_start + first, recording.frame_start + last
    vector = _vector(features, start, stop)
    if not vector.any():
        raise NoInputError(f"this part of {recording_id} is silent or cannot be read")
    own = recording.frame_start, recording.frame_start + recording.frame_count
    around = max(own[0], start - SEGMENT_ROWS), min(own[1], stop + SEGMENT_ROWS)
    count = k
    while True:
        hits = _hits(features, vector, count, around)
        found = [_found(features, its, hit) for hit in hits if (its := _whose(recordings, hit))]
        if len(found) >= k or len(hits) < count:
            return found[:k]
        count *= 2  # some of those that are near are not shown


def _hits(features: FeatureSet, vector: Float32, count: int, without: tuple[int, int]) -> Array:
    """Return the nearest stretches, of a large workspace through its index where it has one."""
    groups = indexed_groups(features)
    rest = nearest(features, vector, count, without, groups * GROUP_PACKS)
    if not groups:
        return rest
    return best_of([rest, indexed_hits(features, vector, count, groups, without)], count)


def _whose(recordings: Recordings, stretch: Array) -> Recording | None:
    return recordings.heard_at(int(stretch["recording"]))


def _vector(features: FeatureSet, start: int, stop: int) -> Float32:
    """Return the vector [128] of rows [start, stop): the mean of those of stretches in them."""
    last = max(start, stop - SEGMENT_ROWS)
    if stop - start <= _MOST_WINDOWS * SEGMENT_ROWS:
        vectors = windows_of(features.transform, features.read("features", start, stop))
    else:
        firsts = np.linspace(start, last, _MOST_WINDOWS).astype(int).tolist()
        vectors = np.concatenate(
            [
                windows_of(features.transform, features.read("features", one, one + SEGMENT_ROWS))
                for one in firsts
            ]
        )
    mean: Float32 = unit(vectors.mean(axis=0, keepdims=True))[0]
    return mean


def _found(features: FeatureSet, recording: Recording, hit: Array) -> Similar:
    begin, end = _span(features, int(hit["row"]) - recording.frame_start, int(hit["rows"]))
    return Similar(
        id=recording.id,
        title=recording.title,
        creator=recording.creator,
        start_seconds=begin,
        stop_seconds=min(end, recording.seconds),
        score=float(hit["score"]),
    )


def _span(features: FeatureSet, first: int, rows: int) -> tuple[float, float]:
    """Return the seconds [start, stop) of rows of a recording."""
    hop_seconds = features.transform.hop_samples / features.transform.sample_rate_hz
    return first * hop_seconds, (first + rows) * hop_seconds


def corpus_map(features: FeatureSet, recordings: Recordings, most: int = 2000) -> CorpusMap:
    """Return the recordings in the plane: the first two principal components of their vectors.

    A recording's vector is the mean of those of its stretches. Of more than `most` recordings a
    sample is shown, those of packs spread evenly over the store. The same store gives the same
    map. Raises UsageError for `most` below 1, NoInputError where all is silence.
    """
    if most < 1:
        raise UsageError(f"most must be 1 or more, not {most}")
    packs = len(packs_of(features.rows))
    wanted = min(packs, max(1, -(-packs * most // max(1, len(recordings)))))
    chosen = np.unique(np.linspace(0, packs - 1, wanted).astype(int)).tolist()
    sums, typical = dict[int, Float64](), dict[int, Array]()
    for segments in every_pack(features, chosen):
        for own in np.split(segments, np.flatnonzero(np.diff(segments["recording"])) + 1):
            if len(own):
                row, vectors = int(own["recording"][0]), unit(own["vector"])
                total = vectors.sum(axis=0, dtype=np.float64)
                typical.setdefault(row, own[int(np.argmax(vectors @ total))])
                sums[row] = sums.get(row, 0) + total
    shown = {row: about for row in sorted(sums) if (about := recordings.heard_at(row)) is not None}
    if not shown:
        raise NoInputError("there is no sound to draw a map of")
    rows = list(shown)
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    places, explained = _plane(unit(np.stack([sums[row] for row in rows])))
    points = [
        _point(features, shown[row], typical[row], place)
        for row, place in zip(rows, places.tolist(), strict=True)
    ]
    return CorpusMap(tuple(points), explained, len(recordings))


def _plane(vectors: Float32) -> tuple[Float64, tuple[float, float]]:
    """Return places [n, 2] from -1 to 1 by principal components, and the variance they tell."""
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    two = np.zeros((2, vectors.shape[1]))
    two[: len(axes[:2])] = axes[:2]
    strongest = np.abs(two).argmax(axis=1)
    two *= np.where(two[[0, 1], strongest] < 0, -1.0, 1.0)[:, None]  # an axis has no sign
    places = centred @ two.T
    shares = [*(values**2 / max(float((values**2).sum()), 1e-12)), 0.0][:2]
    return places / max(float(np.abs(places).max()), 1e-12), (float(shares[0]), float(shares[1]))


def _point(features: FeatureSet, about: Recording, segment: Array, place: list[float]) -> MapPoint:
    begin, end = _span(features, int(segment["row"]) - about.frame_start, int(segment["rows"]))
    stop = min(end, about.seconds)
    return MapPoint(about.id, about.title, about.creator, place[0], place[1], begin, stop)
