"""The samples of a shard, one after the other: a piece of a recording, named and described."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fadae.arrays import Array, Int16
from fadae.audio import Tags, from_pcm, write
from fadae.errors import TransientError
from fadae.export.plan import ShardTask, piece_edges
from fadae.licences import spdx_or_unknown
from fadae.store import (
    CODE_ARRAYS,
    FeatureSet,
    FrameStore,
    PublishedRecordings,
    RecordingRow,
    attrs_of,
    reconstruction_path,
)

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Sample:
    """A piece of a recording: its rows of what is asked for, and what is known of it."""

    key: str  # unique, of letters, digits, "_" and "-" only
    rows: Mapping[str, Array]  # codes, scale, code_bytes, features: [n, ...] as stored
    pcm: Int16 | None  # [samples]
    rate_hz: int
    metadata: Mapping[str, str | int | float]
    tags: Tags

    def flac(self) -> bytes:
        """Return its sound as a FLAC file, tagged: the samples as they are stored."""
        assert self.pcm is not None, "its sound was asked for"
        return write.encode(from_pcm(self.pcm), self.rate_hz, "flac", self.tags)


def sample_key(recording_key: str, first_row: int) -> str:
    """Return a name that is safe in any tar, on any disk, and that no other sample has.

    Without dots: webdataset takes what follows the first one for the kind of member. The key of a
    recording ends in a digest of its id.

    >>> sample_key("a_.._.ogg-0123", 7)
    'a_____ogg-0123-00000007'
    """
    return f"{recording_key.replace('.', '_')}-{first_row:08d}"


def samples_of(task: ShardTask) -> Iterator[Sample]:
    """Yield the samples of a shard in their order; memory: a piece and 1024 rows."""
    features = FeatureSet.open(task.workspace)
    published = PublishedRecordings(features.store)
    reads = _reads(task, features)
    hop = features.transform.hop_samples
    rate_hz = features.transform.sample_rate_hz
    for span in task.spans:
        recording = published.row(span.recording)
        tags = Tags(
            title=recording.title,
            creator=recording.creator,
            licence=recording.licence,
            licence_id=spdx_or_unknown(recording.licence),
            source=recording.id,
        )
        edges = piece_edges(span.start, span.stop, task.piece_rows)
        windows = {name: _Window(read, edges[span.last_piece]) for name, read in reads.items()}
        for piece in range(span.first_piece, span.last_piece):
            low, high = edges[piece], edges[piece + 1]
            found = {name: window.rows(low, high) for name, window in windows.items()}
            first = low - recording.frame_start
            samples = min((high - low) * hop, recording.samples - first * hop)
            pcm = None
            if "audio" in found:
                # A span cut behind the last sample holds silence: no file is without a sample.
                pcm = found.pop("audio").reshape(-1)[: max(samples, 1)]
                pcm = pcm if samples > 0 else pcm * 0
            metadata = _described(task, recording, first * hop / rate_hz, samples / rate_hz)
            yield Sample(sample_key(recording.key, first), found, pcm, rate_hz, metadata, tags)


def _described(
    task: ShardTask, recording: RecordingRow, start_seconds: float, seconds: float
) -> dict[str, str | int | float]:
    """Return what is told of a sample; where it lies in any case."""
    told: dict[str, str | int | float] = {
        "id": recording.id,
        "start_seconds": start_seconds,
        "seconds": max(seconds, 0.0),
        "split": task.side,
    }
    if "metadata" in task.what:
        texts = ("item", "file", "title", "creator", "licence", "url", "sha1")
        told |= {name: str(getattr(recording, name)) for name in texts}
        told["licence_id"] = spdx_or_unknown(recording.licence)
    return told


class _Window:
    """Reads an array forwards, some rows ahead, so that no chunk is read for every piece."""

    def __init__(self, read: Callable[[int, int], Array], stop: int) -> None:
        self._read, self._stop = read, stop
        self._low = self._high = 0
        self._held: Array | None = None

    def rows(self, low: int, high: int) -> Array:
        if self._held is None or not (self._low <= low and high <= self._high):
            ahead = (low // _ROWS_AT_A_TIME + 1) * _ROWS_AT_A_TIME
            self._low, self._high = low, max(high, min(self._stop, ahead))
            self._held = self._read(self._low, self._high)
        return self._held[low - self._low : high - self._low]


def _reads(task: ShardTask, features: FeatureSet) -> dict[str, Callable[[int, int], Array]]:
    """Return what reads rows of each array that is asked for."""

    def reading(store: FrameStore, name: str) -> Callable[[int, int], Array]:
        return lambda low, high: store.read(name, low, high)

    reads = {}
    if "codes" in task.what:
        assert task.run is not None, "codes are a run's"
        store = FrameStore.open(task.workspace, reconstruction_path(task.run))
        if attrs_of(store)["model_sha256"] != task.model_sha256:
            raise TransientError(f"run {task.run!r} was reconstructed anew meanwhile")
        reads = {n: reading(store, of) for n, of in CODE_ARRAYS.items() if of in store.names}
    for name in ("features", "audio"):
        if name in task.what:
            reads[name] = reading(features.store, name)
    return reads
