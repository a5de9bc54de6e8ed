"""Reading one block, one array or one page of the ledger back, and saying what is wrong with it.

Zarr alone does not tell: a missing or zero-byte object reads as fill values. So presence, index
and checksum of every object are checked, and the rows against what the plan says they hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array
from fadae.records import Commit
from fadae.store.features import NO_RECORDING, NO_SAMPLE
from fadae.store.frames import FrameStore
from fadae.store.layout import BLOCK_FRAMES, CHUNK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import commit_path, pcm_path, recording_key, staged
from fadae.store.plan import Part
from fadae.store.staging import (
    LedgerPage,
    commit_names,
    is_known,
    marked_keys,
    missing_digests,
    staged_sha256,
)

MISSING = "missing"
_ABSENT = np.uint64(2**64 - 1)  # in a shard's index: this inner chunk was not written
# What zarr raises on damaged bytes: checksum and index, compressed data, lengths.
_DAMAGE = (ValueError, RuntimeError, IndexError)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something missing or damaged, by its path in the workspace."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class BlockCheck:
    """A block of any FrameStore to check; `parts` is what it must hold, where that is known."""

    location: Location
    store: str
    block: int
    parts: tuple[Part, ...] | None = None


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What checking a block found."""

    block: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class PageReport:
    """What checking one prefix of the ledger found."""

    prefix: str
    recordings: int
    problems: tuple[Problem, ...]
    broken: tuple[str, ...]  # paths of the commits that do not hold
    spare: tuple[Problem, ...]  # damaged PCM that is published, hence not needed
    unstaged: tuple[str, ...]  # keys of decoded recordings without PCM, unknown here
    missing: tuple[int, ...]  # digests of published recordings without a commit
    unmarked: tuple[str, ...] = ()  # keys of commits neither planned nor marked as new


def check_block(check: BlockCheck) -> BlockReport:
    """Return what is wrong with one block's objects: the unit of work."""
    store = FrameStore.open(check.location, check.store)
    problems, rows = list[Problem](), dict[str, Array]()
    for name in store.frame_names:
        path = store.block_path(name, check.block)
        problem = object_problem(store, name, path)
        if problem is None:
            try:
                rows[name] = store.read_block(name, check.block)
            except _DAMAGE as error:
                problem = f"damaged: {error}"
        if problem is not None:
            problems.append(Problem(path, problem))
    for name, wrong in _wrong_rows(rows, check.parts):
        problems.append(Problem(store.block_path(name, check.block), wrong))
    return BlockReport(check.block, tuple(problems))


def check_array(store: FrameStore, name: str) -> list[Problem]:
    """Return what is wrong with an array that is not on the frame axis."""
    problems = []
    for path in store.object_paths(name):
        if problem := object_problem(store, name, path):
            problems.append(Problem(path, problem))
    if not problems:
        try:
            store.read(name)
        except _DAMAGE as error:
            problems.append(Problem(f"{store.path}/{name}", f"damaged: {error}"))
    return problems


def object_problem(store: FrameStore, name: str, path: str) -> str | None:
    """Return what is wrong with an object's presence, length or index, if anything."""
    try:
        size = store.location.size_bytes(path)
    except FileNotFoundError:
        return MISSING
    if size == 0:
        return "empty"
    if store.array(name).shards is None:
        return None
    index_bytes = 16 * (BLOCK_FRAMES // CHUNK_FRAMES)  # offset and length each, then a checksum
    if size < index_bytes + 4:
        return "cut short"
    index = store.location.read_bytes(path, size - index_bytes - 4, size - 4)
    if (np.frombuffer(index, np.uint64) == _ABSENT).any():
        return "damaged: its index misses chunks"
    return None


def _wrong_rows(
    rows: dict[str, Array], parts: tuple[Part, ...] | None
) -> Iterator[tuple[str, str]]:
    """Yield the arrays of features.zarr whose rows are not what the plan says."""
    if parts is None:
        return
    recording = np.full(BLOCK_FRAMES, NO_RECORDING, np.int32)
    samples = np.zeros(BLOCK_FRAMES, np.int64)
    hop = rows["audio"].shape[1] if "audio" in rows else 0
    for part in parts:
        target = slice(part.first_row, part.first_row + part.frames)
        recording[target] = part.recording_row
        starts = np.arange(part.first_frame, part.first_frame + part.frames) * hop
        samples[target] = np.clip(part.samples - starts, 0, hop)
    used = recording != NO_RECORDING
    if "audio" in rows and ((rows["audio"] != NO_SAMPLE).sum(axis=1) != samples).any():
        yield "audio", "does not hold the samples of the plan"
    if "features" in rows and (np.isfinite(rows["features"]).all(axis=1) != used).any():
        yield "features", "does not hold the frames of the plan"
    if "frame_recording" in rows and (rows["frame_recording"] != recording).any():
        yield "frame_recording", "does not name the recordings of the plan"
    if "frame_time" in rows and (np.isfinite(rows["frame_time"]) != used).any():
        yield "frame_time", "does not hold the times of the plan"


def check_page(page: LedgerPage) -> PageReport:
    """Return what is wrong below one staging prefix, every sample read: the unit of work."""
    names, known = commit_names(page), {page.prefix: page.known}
    paths = [staged(page.prefix, name) for name in names]
    problems, spare, recordings = list[Problem](), list[Problem](), 0
    broken, unstaged = list[str](), list[str]()

    def read(path: str) -> bytes | None:
        try:
            return page.location.read_bytes(path)
        except FileNotFoundError:  # removed by another repair since it was listed
            return None

    for path, data in zip(paths, page.location.concurrently(read, paths), strict=True):
        if data is None:
            continue
        try:
            commit = Commit.from_json(data)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(Problem(path, f"not a commit: {error!r}"))
            broken.append(path)
            continue
        recordings += commit.decoded is not None
        problem, key = _pcm_problem(page.location, commit), recording_key(commit.id)
        if problem == MISSING:
            unstaged += [] if is_known(key, known) else [key]
        elif problem is not None and is_known(key, known):
            spare.append(Problem(pcm_path(commit.id), problem))
        elif problem is not None:
            problems.append(Problem(pcm_path(commit.id), problem))
            broken.append(commit_path(commit.id))
    missing = missing_digests(page, names)
    return PageReport(
        page.prefix,
        recordings,
        tuple(problems),
        tuple(broken),
        tuple(spare),
        tuple(unstaged),
        tuple(missing),
        tuple(_unmarked(page, names)) if page.marked else (),
    )


def _unmarked(page: LedgerPage, names: list[str]) -> Iterator[str]:
    marks, known = set(marked_keys(page)), {page.prefix: page.known}
    for key in (name.removesuffix(".json") for name in names):
        if key not in marks and not is_known(key, known):
            yield key


def _pcm_problem(location: Location, commit: Commit) -> str | None:
    if commit.decoded is None:
        return None
    path, expected = pcm_path(commit.id), 2 * commit.decoded.samples
    try:
        size = location.size_bytes(path)
    except FileNotFoundError:
        return MISSING
    if size != expected:
        return f"{size} bytes where the commit says {expected}"
    found = staged_sha256(location, path)
    if found is None:  # let go meanwhile
        return MISSING
    return None if found == commit.decoded.pcm_sha256 else "damaged: other SHA-256"
