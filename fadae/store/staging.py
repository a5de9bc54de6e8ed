"""The staging area: one recording's PCM and its commit, under a name made safe from its id."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from fadae.errors import NoInputError
from fadae.nouns import Commit, sha256_hex
from fadae.store.location import Location

PREFIXES = tuple(f"{number:02x}" for number in range(256))


def recording_key(recording_id: str) -> str:
    """Return a file name safe on every filesystem, one to one with the id.

    >>> recording_key("AOC11B/../etc/passwd")[:21]
    'AOC11B_.._etc_passwd-'
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", recording_id[:40])
    return f"{safe}-{sha256_hex(recording_id)[:32]}"


def staging_prefix(recording_id: str) -> str:
    """Return the two hex digits that spread recordings over 256 folders."""
    return sha256_hex(recording_id)[:2]


def pcm_path(recording_id: str) -> str:
    """Return where a recording's int16 little-endian mono PCM lies, relative to the workspace."""
    return f"staging/{staging_prefix(recording_id)}/{recording_key(recording_id)}.pcm"


def commit_path(recording_id: str) -> str:
    """Return where a recording's commit lies, relative to the workspace."""
    return f"staging/{staging_prefix(recording_id)}/{recording_key(recording_id)}.json"


def source_path(recording_id: str) -> str:
    """Return where a recording's original bytes lie when they are kept."""
    return f"sources/{staging_prefix(recording_id)}/{recording_key(recording_id)}"


def write_commit(location: Location, commit: Commit) -> None:
    """Write a recording's commit; its PCM must already be there."""
    text = commit.to_json().encode("utf-8", "surrogatepass")  # names from disk may be no UTF-8
    location.write_bytes(commit_path(commit.id), text)


def improve_commit(location: Location, commit: Commit) -> Commit:
    """Write a recording's commit unless a better one is there; return the one that stands.

    A commit is never replaced by less: a failure, whatever its class, leaves a decoded recording's
    commit as it is. Another driver may have had the recording since.
    """
    there = read_commit(location, commit.id) if commit.decoded is None else None
    if there is not None and there.decoded is not None:
        return there
    write_commit(location, commit)
    return commit


def read_commit(location: Location, recording_id: str) -> Commit | None:
    """Return a recording's commit, or None where it has none yet."""
    try:
        return Commit.from_json(location.read_bytes(commit_path(recording_id)))
    except FileNotFoundError:
        return None


def read_pcm(location: Location, recording_id: str, start: int, stop: int) -> npt.NDArray[np.int16]:
    """Return samples [start, stop) of a recording's staged PCM.

    Raises NoInputError where they are not all there.
    """
    try:
        data = location.read_bytes(pcm_path(recording_id), 2 * start, 2 * stop)
    except FileNotFoundError:
        data = b""
    if len(data) != 2 * (stop - start):
        raise NoInputError(
            f"the staged PCM of {recording_id} is missing or cut short; `fadae verify --repair` "
            "clears its commit, then `fadae ingest --refresh` fetches it again"
        )
    return np.frombuffer(data, dtype="<i2")
