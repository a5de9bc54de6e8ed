"""The recordings that codes are compared over: which, which part of each, and who knew them.

A code may not be judged by what it was trained on. A workspace tells for its runs; the card of the
packaged model names its files by their hashes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from fadae.arrays import Int16
from fadae.audio import decoded, to_pcm
from fadae.compare.result import PACKAGED
from fadae.errors import UsageError
from fadae.query import Workspace
from fadae.training import Role

LONGEST_SECONDS = 600.0  # of an excerpt, so that memory has a bound


@dataclass(frozen=True)
class Excerpt:
    """Samples [n] int16 from the middle of a recording."""

    start_seconds: float
    pcm: Int16


@dataclass(frozen=True)
class Candidate:
    """A recording that could be compared; `roles` says what it was to each code that learns."""

    id: str
    title: str
    roles: dict[str, Role]
    load: Callable[[float], Excerpt]  # at most so many seconds; raises PermanentFailure

    def in_role(self, *roles: Role) -> list[str]:
        """Return the codes to which it was one of these."""
        return sorted(name for name, role in self.roles.items() if role in roles)


def of_workspace(workspace: Workspace, learned: Iterable[str]) -> list[Candidate]:
    """Return a workspace's recordings, each set of samples once."""
    names = list(learned)
    splits = {name: workspace.split(name).roles for name in names if name != PACKAGED}

    def load(recording_id: str, length_seconds: float, seconds: float) -> Excerpt:
        start = max(0.0, (length_seconds - seconds) / 2)
        samples = workspace.audio(recording_id, slice(start, start + seconds))
        return Excerpt(start, to_pcm(samples))

    found = []
    for one in workspace.recordings:
        if one.same_as >= 0 or not one.samples:
            continue
        roles = {name: role[one.row] for name, role in splits.items()}
        if PACKAGED in names:
            roles[PACKAGED] = _packaged_role(one.sha1, "sha1")
        found.append(
            Candidate(one.id, one.title, roles, functools.partial(load, one.id, one.seconds))
        )
    return found


def of_files(
    files: Sequence[Path], rate_hz: int, workspace: Workspace | None, learned: Iterable[str]
) -> list[Candidate]:
    """Return the files, and those in the folders among them, each once.

    Runs know a file by its SHA-1, where it is a recording of their workspace. Raises UsageError
    where a file is not there.
    """
    names = list(learned)
    known = _known_files(workspace, [name for name in names if name != PACKAGED])
    found: dict[str, Candidate] = {}
    for path in _listed(files):
        sha1, sha256 = _hashes(path)
        roles = {name: known.get(sha1, {}).get(name, Role.UNSEEN) for name in names}
        if PACKAGED in names:
            roles[PACKAGED] = _packaged_role(sha256, "sha256")
        one = Candidate(path.name, path.stem, roles, functools.partial(_load_file, path, rate_hz))
        found.setdefault(sha256, one)
    return list(found.values())


def chosen(
    candidates: Sequence[Candidate], limit: int, everything: bool
) -> tuple[list[Candidate], list[Candidate]]:
    """Return those to compare, at most `limit` spread evenly, and those that a code knew.

    With `everything` the latter may be compared too.
    """
    known = [one for one in candidates if one.in_role(Role.TRAINED, Role.UNKNOWN)]
    usable = [*candidates] if everything else [one for one in candidates if one not in known]
    places = np.linspace(0, len(usable) - 1, min(limit, len(usable))).round().astype(int)
    return [usable[place] for place in places], [] if everything else known


def _packaged_role(digest: str, kind: str) -> Role:
    """Return what a file was to the packaged model, by its hash; see its card."""
    card = _card_hashes(kind)
    if card is None:
        return Role.UNKNOWN
    return Role.TRAINED if digest in card else Role.UNSEEN


@functools.cache
def _card_hashes(kind: str) -> frozenset[str] | None:
    """Return the hashes of the files that the packaged model was trained on, None if not told."""
    try:
        text = resources.files("fadae.coding").joinpath("music.json").read_text("utf-8")
    except FileNotFoundError:
        return None
    trained = json.loads(text)["trained_on"]
    return frozenset(one[kind] for one in trained) if all(kind in one for one in trained) else None


def _known_files(workspace: Workspace | None, runs: list[str]) -> dict[str, dict[str, Role]]:
    """Return what each file of a workspace, by its SHA-1, was to each run."""
    if workspace is None or not runs:
        return {}
    roles = {run: workspace.split(run).roles for run in runs}
    return {
        one.sha1: {run: its[one.row] for run, its in roles.items()} for one in workspace.recordings
    }


def _listed(files: Sequence[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            inside = (one for one in path.rglob("*") if one.is_file())
            yield from sorted(one for one in inside if not one.name.startswith("."))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"--files {path}: no such file or folder")


def _hashes(path: Path) -> tuple[str, str]:
    """Return a file's SHA-1 and SHA-256."""
    digests = []
    for kind in ("sha1", "sha256"):
        try:
            with path.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, kind).hexdigest())
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return digests[0], digests[1]


def _load_file(path: Path, rate_hz: int, seconds: float) -> Excerpt:
    """Return the middle of a file, decoded in the sandbox to a temporary file."""
    with decoded(path, rate_hz) as pcm:
        samples = pcm.seek(0, os.SEEK_END) // 2
        count = min(samples, round(seconds * rate_hz))
        start = (samples - count) // 2
        pcm.seek(2 * start)
        return Excerpt(start / rate_hz, np.frombuffer(pcm.read(2 * count), "<i2").astype(np.int16))
