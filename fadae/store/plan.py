"""A plan: which recordings an extraction adds, where their rows lie, and how it is published.

plans/NNNNN.jsonl.gz is created exclusively: whoever comes second, or again, adopts it. Its first
line is the header, each further one a recording in the order of ids. Rows are planned from
decoded sample counts alone, from a block's boundary on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Self

import numpy as np

from fadae.arrays import Int64
from fadae.errors import FadaeError, UsageError
from fadae.records import Commit, Decoded, Track, TransformConfig
from fadae.store.features import NO_RECORDING
from fadae.store.forgotten import Row, erased_in
from fadae.store.frames import FrameStore
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import plan_path
from fadae.store.published import PublishedRecordings
from fadae.store.staging import LedgerRuns, encoded
from fadae.store.tombstones import Tombstones
from fadae.transform import Transform

_HEADER_BYTES = 2**18
_HEX = re.compile(r"[0-9a-f]{64}")
_FIRST_SHA256 = "first_sha256"  # in the header of a plan that was erased from: what it was before


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive frames of one recording within one block."""

    recording_id: str
    recording_row: int
    samples: int  # of the whole recording
    first_frame: int  # within the recording
    first_row: int  # within the block
    frames: int
    pcm_sha256: str  # of the whole recording


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One block of 1024 frames: where, which, under which plan, and what it holds."""

    location: Location
    block: int
    plan: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class PlannedRecording:
    """One recording and its rows: its own, or those of the recording it repeats."""

    track: Track
    decoded: Decoded
    row: int  # of the recording table
    frame_start: int
    frame_count: int
    same_as: int = NO_RECORDING

    @property
    def columns(self) -> Row:
        """What tombstones and erasure go by."""
        about = (self.track.id, self.track.item, self.frame_start, self.frame_count)
        return Row(self.row, *about, self.decoded.samples, self.same_as)

    def part(self, first_frame: int, first_row: int, frames: int) -> Part:
        """Return some of its frames, at a row of a block."""
        return Part(
            self.track.id,
            self.row,
            self.decoded.samples,
            first_frame=first_frame,
            first_row=first_row,
            frames=frames,
            pcm_sha256=self.decoded.pcm_sha256,
        )


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan grows the dataset from and to, and with what configuration."""

    number: int
    transform: TransformConfig
    dtype: str
    first_recording: int
    recordings: int  # planned here
    start_row: int  # a block's boundary
    stop_row: int  # the published length of the frame axis after this plan
    fadae_version: str


def plan_header(location: Location, number: int) -> PlanHeader | None:
    """Return the header of plan `number` from its first bytes alone; None where there is none."""
    try:
        with _sound(number):
            data = location.read_bytes(plan_path(number), 0, _HEADER_BYTES)
            line = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _HEADER_BYTES)
            return _header(line.partition(b"\n")[0])[0]
    except FileNotFoundError:
        return None


def _header(line: bytes) -> tuple[PlanHeader, str | None]:
    """Return a plan's header, and its SHA-256 before it was erased from, None where it was not.

    Raises ValueError or TypeError where it is none.
    """
    told = json.loads(line)
    if not isinstance(told, dict):
        raise TypeError(f"a header expected, not {type(told).__name__}")
    before = told.pop(_FIRST_SHA256, None)
    if before is not None and not (isinstance(before, str) and _HEX.fullmatch(before)):
        raise ValueError(f"{_FIRST_SHA256} is no SHA-256")
    return PlanHeader(**told), before


@dataclass(frozen=True)
class Plan:
    """A plan in the workspace; its recordings are streamed, never held.

    Of what is erased it tells no more than where it lies; blocks hold none of its sound.
    """

    location: Location
    header: PlanHeader
    sha256: str
    erased: Tombstones = field(default_factory=Tombstones)
    silent: frozenset[int] = frozenset()  # rows of the recording table whose sound is erased

    @classmethod
    def read(cls, location: Location, number: int) -> Self | None:
        """Return plan `number`, or None where nobody has made it; raises FadaeError on damage."""
        try:
            # Inside the reading: bad gzip is an OSError, which there is the storage's.
            with location.reading(plan_path(number)) as file, _sound(number):
                digest = _sha256(file)
                file.seek(0)
                header, before = _header(gzip.GzipFile(fileobj=file).readline())
                if header.number != number:
                    raise ValueError(f"it is plan {header.number}")
        except FileNotFoundError:
            return None
        return cls(location, header, before or digest)

    def without(self, store: FrameStore | None, tombstones: Tombstones) -> Self:
        """Return the plan as these tombstones leave it, beside features.zarr as it is published."""
        if not tombstones.erasing:
            return self
        first = 0 if store is None else store.recording_rows
        planned = (one.columns for one in self.recordings() if one.row >= first)
        silent = erased_in(store, tombstones, planned).silent.tolist()
        return self.marked(tombstones.erasing, silent)

    def marked(self, erased: Tombstones, silent: Iterable[int] = ()) -> Self:
        """Return the plan with what is erased of it, and which rows' sound is."""
        return dataclasses.replace(self, erased=erased, silent=frozenset(silent))

    @property
    def token(self) -> str:
        """What blocks are kept under: no other plan's, were it of the same number."""
        return f"{self.header.number:05d}-{self.sha256[:16]}"

    @property
    def blocks(self) -> range:
        """The blocks this plan fills."""
        return range(
            self.header.start_row // BLOCK_FRAMES, -(-self.header.stop_row // BLOCK_FRAMES)
        )

    def recordings(self) -> Iterator[PlannedRecording]:
        """Yield the planned recordings in their order; raises FadaeError on a damaged plan."""
        number = self.header.number
        with self.location.reading(plan_path(number)) as file, _sound(number):
            lines = gzip.GzipFile(fileobj=file)
            next(lines)
            for offset, line in enumerate(lines):
                values = json.loads(line)
                track = Track.from_dict(values["track"])
                decoded = Decoded.from_dict(values["decoded"])
                if self.erased.match(track.id, track.item):
                    track, decoded = track.bare, dataclasses.replace(decoded, source_sha1="")
                yield PlannedRecording(
                    track=track,
                    decoded=decoded,
                    row=self.header.first_recording + offset,
                    frame_start=values["frame_start"],
                    frame_count=values["frame_count"],
                    same_as=values["same_as"],
                )

    def tasks(self) -> Iterator[BlockTask]:
        """Yield the unit of work of every block, in their order."""
        for block, parts in self._parts():
            yield BlockTask(self.location, block, self.token, parts)

    def _parts(self) -> Iterator[tuple[int, tuple[Part, ...]]]:
        block, parts, begun = self.blocks.start, list[Part](), False
        for recording in self.recordings():
            if recording.same_as != NO_RECORDING:
                continue
            done = 0
            while done < recording.frame_count:
                begun = True
                row = recording.frame_start + done
                if row // BLOCK_FRAMES != block:
                    yield block, tuple(parts)
                    block, parts = row // BLOCK_FRAMES, []
                first = row % BLOCK_FRAMES
                frames = min(recording.frame_count - done, BLOCK_FRAMES - first)
                if recording.row not in self.silent:
                    parts.append(recording.part(done, first, frames))
                done += frames
        if begun:
            yield block, tuple(parts)


@contextlib.contextmanager
def _sound(number: int) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        raise FadaeError(
            f"{plan_path(number)} is damaged ({error!r}); restore it from a copy, or remove it "
            "if nothing was published from it"
        ) from error


def erase_from_plan(plan: Plan) -> None:
    """Write a plan again without what is erased of it, unless it is so already.

    It keeps its token, which blocks and index are under.
    """
    path = plan_path(plan.header.number)

    def erased(stored: bytes | None) -> bytes:
        if stored is None:
            raise FileNotFoundError(path)
        first, *lines = gzip.decompress(stored).splitlines(keepends=True)
        made = [_without_track(line, plan.erased) for line in lines]
        if made == lines:
            return stored
        header = {**json.loads(first), _FIRST_SHA256: plan.sha256}
        data = b"".join([encoded(header), *made])
        return gzip.compress(data, compresslevel=1, mtime=0)

    plan.location.change(path, erased)


def _without_track(line: bytes, erased: Tombstones) -> bytes:
    values = json.loads(line)
    track = Track.from_dict(values["track"])
    if not erased.match(track.id, track.item):
        return line
    decoded = {**values["decoded"], "source_sha1": ""}
    return encoded({**values, "track": track.bare.to_dict(), "decoded": decoded})


def create_plan(
    location: Location,
    runs: LedgerRuns,
    published: PublishedRecordings | None,
    *,
    number: int,
    published_rows: int,
    transform: Transform,
    dtype: str,
    fadae_version: str,
) -> None:
    """Plan all recordings of the merged ledger; another driver's plan of this number stands.

    Raises UsageError for recordings decoded at another rate than the transform's.
    """
    layout = _lay_out(runs, published, published_rows, transform)
    header = PlanHeader(
        number=number,
        transform=transform.config(),
        dtype=dtype,
        first_recording=len(published) if published else 0,
        recordings=len(layout.same_as),
        start_row=layout.start_row,
        stop_row=layout.stop_row,
        fadae_version=fadae_version,
    )
    with tempfile.TemporaryFile(prefix="fadae-plan-") as spool:
        with gzip.GzipFile(fileobj=spool, mode="wb", compresslevel=1, filename="", mtime=0) as out:
            out.write(encoded(dataclasses.asdict(header)))
            for offset, commit in enumerate(runs.merged()):
                out.write(_line(commit, layout, offset))
        spool.seek(0)
        location.create_exclusive(plan_path(number), spool.read())


@dataclass(frozen=True)
class _Layout:
    """The planned rows as columns, one entry a recording in the order of ids."""

    start_row: int
    stop_row: int
    frame_start: Int64
    frame_count: Int64
    same_as: Int64


def _lay_out(
    runs: LedgerRuns,
    published: PublishedRecordings | None,
    published_rows: int,
    transform: Transform,
) -> _Layout:
    digests, counts = bytearray(), np.zeros(runs.recordings, np.int64)
    for offset, commit in enumerate(runs.merged()):
        decoded = _decoded_at(commit, transform)
        digests += bytes.fromhex(decoded.pcm_sha256)
        counts[offset] = transform.frame_count(decoded.samples)
    # The first of equal digests is canonical: a published one, else the smallest id.
    every = np.frombuffer(digests, "S32")
    _, first, inverse = np.unique(every, return_index=True, return_inverse=True)
    different = [digests[32 * at : 32 * at + 32].hex() for at in first.tolist()]
    canonical = first[inverse]
    first_recording = len(published) if published else 0
    rows = first_recording + canonical
    own = canonical == np.arange(len(counts))
    old = published.canonical(different) if published else {}
    repeats = np.array([digest in old for digest in different], bool)[inverse]
    own &= ~repeats
    start_row = -(-published_rows // BLOCK_FRAMES) * BLOCK_FRAMES
    ends = np.cumsum(np.where(own, counts, 0))
    frame_start = (start_row + ends - np.where(own, counts, 0))[canonical]
    for offset in np.flatnonzero(repeats).tolist():
        rows[offset], row = old[different[inverse[offset]]]
        frame_start[offset] = row.frame_start
    has_rows = len(ends) and ends[-1] > 0
    return _Layout(
        start_row=start_row,
        stop_row=int(start_row + ends[-1]) if has_rows else published_rows,
        frame_start=frame_start,
        frame_count=counts,
        same_as=np.where(own, NO_RECORDING, rows),
    )


def _decoded_at(commit: Commit, transform: Transform) -> Decoded:
    decoded = commit.decoded
    assert decoded is not None
    if decoded.rate_hz != transform.sample_rate_hz:
        raise UsageError(
            f"{commit.id} was ingested at {decoded.rate_hz} Hz; this run asks for "
            f"{transform.sample_rate_hz} Hz. Pass --sample-rate {decoded.rate_hz} (with --preset "
            "full or critical for others than 11025), or use another workspace."
        )
    return decoded


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def _line(commit: Commit, layout: _Layout, offset: int) -> bytes:
    assert commit.decoded is not None
    return encoded(
        {
            "track": commit.track.to_dict(),
            "decoded": dataclasses.asdict(commit.decoded),
            "frame_start": int(layout.frame_start[offset]),
            "frame_count": int(layout.frame_count[offset]),
            "same_as": int(layout.same_as[offset]),
        }
    )
