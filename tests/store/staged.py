"""A ledger of made-up recordings, written straight to staging: extraction without ingest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fadae.records import Commit, Decoded, Failure, FailureClass, Track
from fadae.store.location import Location
from fadae.store.paths import pcm_path
from fadae.store.staging import write_commit

RATE_HZ = 11025
HOP = 3750
Samples = npt.NDArray[np.int16]


def noise(seed: int, samples: int) -> Samples:
    """Samples [n] int16 in +-32767 that differ with the seed."""
    drawn = np.random.default_rng(seed).integers(-32767, 32768, samples, dtype=np.int16)
    return np.asarray(drawn)


def stage(location: Location, recording_id: str, pcm: Samples, rate_hz: int = RATE_HZ) -> None:
    """Stage one recording as ingest would: PCM first, then its commit."""
    item, _, file = recording_id.partition("/")
    data = pcm.astype("<i2").tobytes()
    location.write_bytes(pcm_path(recording_id), data)
    track = Track(item, file, title=f"Title of {file}", creator="A. Composer", licence="CC0")
    decoded = Decoded(
        rate_hz=rate_hz,
        samples=len(pcm),
        pcm_sha256=hashlib.sha256(data).hexdigest(),
        source_rate_hz=44100,
        source_channels=2,
        source_bytes=2 * len(data),
        source_sha1=hashlib.sha1(recording_id.encode("utf-8", "replace")).hexdigest(),
    )
    write_commit(location, Commit(track, decoded=decoded, fadae_version="test"))


def stage_all(location: Location, lengths: Mapping[str, int], first_seed: int = 0) -> None:
    """Stage recordings of given lengths in samples, each with noise of its own."""
    for number, (recording_id, samples) in enumerate(lengths.items()):
        stage(location, recording_id, noise(first_seed + number, samples))


def stage_failure(location: Location, recording_id: str) -> None:
    """Stage a recording that failed."""
    item, _, file = recording_id.partition("/")
    failure = Failure(recording_id, FailureClass.PERMANENT, "no audio")
    write_commit(location, Commit(Track(item, file), failure=failure))


def tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder: two equal trees hold the same bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
