"""What an export holds: which recordings, cut into pieces, and the pieces into shards.

A shard is one task and one file (or one folder of sound files). It is a pure function of what its
task says and of published rows, which never change: written twice, it has the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fadae.arrays import Array, Int64
from fadae.data import RowSet
from fadae.errors import UsageError, unknown
from fadae.licences import LicencePolicy
from fadae.query import admitted_rows
from fadae.records import RunConfig, canonical_json, sha256_hex
from fadae.store import FeatureSet, FrameStore, Location
from fadae.training import Side, owners, sides_of

Format = Literal["webdataset", "parquet", "audiofolder"]
Kind = Literal["codes", "features", "audio", "metadata"]
FORMATS: tuple[Format, ...] = get_args(Format)
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_SECONDS = 600.0  # of a piece, which is in memory whole: 29 MB of the seed's features
MOST_PIECES = 10_000  # of a shard


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. Raises UsageError where no export could be so."""

    format: str
    what: tuple[str, ...] = ("audio", "metadata")
    split: str | None = None
    licence: str | None = None  # a policy, as `ingest --licence` takes one
    run: str | None = None
    seconds: float = 30.0
    shard_mb: int = 256

    def __post_init__(self) -> None:
        """Check what can be checked without a workspace."""
        for name, known, given in (
            ("format", FORMATS, (self.format,)),
            ("kind of content", KINDS, self.what),
            ("split", [*Side], () if self.split is None else (self.split,)),
        ):
            for one in given:
                if one not in known:
                    raise unknown(name, one, [*known])
        if self.format == "audiofolder" and not {"audio"} <= {*self.what} <= {"audio", "metadata"}:
            raise UsageError("an audiofolder holds audio and metadata: other content needs parquet")
        if not self.what:
            raise UsageError(f"--what: at least one of {', '.join(KINDS)}")
        if not 0 < self.seconds <= MOST_SECONDS:
            raise UsageError(f"seconds must be above 0 and at most {MOST_SECONDS:g}")
        if self.shard_mb < 1:
            raise UsageError("shard_mb must be at least 1")
        _ = self.policy

    @property
    def policy(self) -> LicencePolicy | None:
        """Which licences are admitted; None: all. Raises UsageError."""
        return None if self.licence is None else LicencePolicy.of(self.licence)


@dataclass(frozen=True, slots=True)
class Span:
    """Some of the pieces that rows [start, stop) of a recording are cut into."""

    recording: int  # row of the table
    start: int
    stop: int
    first_piece: int
    last_piece: int


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard: from where, to where, and what."""

    workspace: Location
    to: Location
    format: str
    what: tuple[str, ...]
    run: str | None
    model_sha256: str | None
    piece_rows: int
    side: str = ""
    number: int = 0
    spans: tuple[Span, ...] = ()

    @property
    def path(self) -> str:
        """Where it lies: a file, or for sound files a folder."""
        name = f"data/{self.side}"
        if self.format == "audiofolder":
            return f"{name}/{self.number:06d}"
        return f"{name}-{self.number:06d}.{'tar' if self.format == 'webdataset' else 'parquet'}"

    @property
    def commit(self) -> str:
        """The object that is there when all of it is."""
        return f"{self.path}/metadata.jsonl" if self.format == "audiofolder" else self.path


def piece_edges(start: int, stop: int, rows: int) -> list[int]:
    """Return the edges of the pieces of rows [start, stop); the last one may have one row more.

    The last row of a recording is heard in the hop before it and has no samples of its own.

    >>> piece_edges(10, 15, 2), piece_edges(10, 14, 2), piece_edges(3, 4, 2)
    ([10, 12, 15], [10, 12, 14], [3, 4])
    """
    edges = [*range(start, stop, rows), stop]
    if len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return edges


@dataclass(frozen=True)
class Plan:
    """The spans of an export by side, [n, 3] of (row of the table, start, stop), in store order."""

    spans: dict[Side, Int64]
    left_out: int  # recordings with another licence than asked for
    repeats: int  # recordings with the samples of another

    @property
    def recordings(self) -> Int64:
        """The rows of the table of all recordings in it, rising."""
        parts = [np.zeros(0, np.int64), *(spans[:, 0] for spans in self.spans.values())]
        return np.unique(np.concatenate(parts))

    @property
    def digest(self) -> str:
        """What an export that was begun is held against when it goes on."""
        told = [[side, sha256_hex(spans.tobytes().hex())] for side, spans in self.spans.items()]
        return sha256_hex(canonical_json(told))


def plan_of(
    features: FeatureSet,
    config: RunConfig | None,
    request: Request,
    rows: int,
) -> Plan:
    """Return what of the first `rows` rows is to be exported, by the split of a run.

    Memory: 24 bytes a recording.
    """
    starts, recordings = owners(features)
    policy = request.policy
    admitted = recordings if policy is None else admitted_rows(features, policy)
    kept = np.isin(recordings, admitted)
    spans = {}
    for side, rowset in sides_of(features, config).items():
        if request.split in (None, side):
            spans[side] = _spans(rowset, starts, recordings, kept, rows)
    repeats = int((features.recordings.same_as >= 0).sum())
    return Plan(spans, int((~kept).sum()), repeats)


def _spans(rows: RowSet, starts: Int64, recordings: Int64, kept: Array, stop: int) -> Int64:
    of = np.searchsorted(starts, rows.starts, side="right") - 1
    there = kept[of] & (rows.stops <= stop)
    found = np.stack([recordings[of], rows.starts, rows.stops], axis=1)[there]
    return np.ascontiguousarray(found, dtype=np.int64)


def piece_rows_of(features: FeatureSet, seconds: float) -> int:
    """Return how many rows of a piece come nearest to a time, at least 2."""
    about = features.transform
    return max(2, round(seconds * about.sample_rate_hz / about.hop_samples))


def row_bytes(features: FeatureSet, codes: FrameStore | None, what: Sequence[str]) -> int:
    """Return about what a row takes in a shard, before compression."""
    taken = 16
    if "features" in what:
        taken += _bytes_a_row(features.store, "features")
    if "audio" in what:
        taken += _bytes_a_row(features.store, "audio")
    if codes is not None:
        taken += _bytes_a_row(codes, "encoded")
    return taken


def _bytes_a_row(store: FrameStore, name: str) -> int:
    array = store.array(name)
    return int(np.prod(array.shape[1:])) * array.dtype.itemsize


def shards(template: ShardTask, plan: Plan, most_rows: int) -> Iterator[ShardTask]:
    """Yield the shards of all sides, made as they are drawn; `template` says what they share."""
    for side, spans in plan.spans.items():
        for number, part in enumerate(_shared_out(spans, template.piece_rows, most_rows)):
            yield dataclasses.replace(template, side=str(side), number=number, spans=part)


def _shared_out(spans: Int64, rows: int, most_rows: int) -> Iterator[tuple[Span, ...]]:
    """Yield the spans of each shard: pieces until it is full, never a part of one."""
    most = min(MOST_PIECES, max(1, most_rows // rows))
    held, pieces = list[Span](), 0
    for recording, start, stop in spans.tolist():
        first, count = 0, len(piece_edges(start, stop, rows)) - 1
        while first < count:
            last = min(count, first + most - pieces)
            held.append(Span(recording, start, stop, first, last))
            pieces, first = pieces + last - first, last
            if pieces == most:
                yield tuple(held)
                held, pieces = [], 0
    if held:
        yield tuple(held)
