"""A small item with everything an item can have, and manners fast enough for tests."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

from fadae.archive.items import ArchiveSource
from fadae.archive.rate_limit import RequestPolicy
from fadae.embedded.items import HeldItem, hold
from fadae.embedded.server import EmbeddedArchive
from fadae.records import Track

FAST = RequestPolicy(
    metadata_pause_seconds=0.0,
    attempts=4,
    backoff_seconds=0.01,
    backoff_cap_seconds=0.05,
    block_seconds=0.3,
    connect_seconds=20.0,
    read_seconds=20.0,
    deadline_seconds=500.0,
    minimum_bytes_per_second=1000.0,
    throughput_seconds=20.0,
    metadata_bytes=2**20,
)
# Soon tired, where an answer never comes: elsewhere a busy machine would pass for a bad archive.
HASTY = dataclasses.replace(FAST, read_seconds=1.0, throughput_seconds=0.2)
AWKWARD = "disc 1/a #1? ü %41 & more.ogg"
SIZE = 50_000


def bytes_of(name: str, size: int = SIZE) -> bytes:
    """Return a file's content: noise, the same for the same name."""
    return random.Random(name).randbytes(size)


def write(folder: Path, *names: str) -> Path:
    """Write files of noise below a folder and return it."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes_of(name))
    return folder


def small_item(folder: Path, identifier: str = "small") -> HeldItem:
    """Return an item of two originals, one of them with derivatives."""
    write(folder, AWKWARD, "b.flac", "b.mp3", "b.ogg")
    derived = {"source": "derivative", "original": "b.flac"}
    files = (
        hold(folder / AWKWARD, AWKWARD, title="A\x1b[31m title"),
        hold(folder / "b.flac", "b.flac", title="Bee"),
        hold(folder / "b.mp3", "b.mp3", **derived),
        hold(folder / "b.ogg", "b.ogg", **derived),
    )
    about = {
        "title": "Small",
        "creator": ["One", "Two"],
        "collection": ["all"],
        "licenseurl": "https://creativecommons.org/publicdomain/zero/1.0/",
    }
    return HeldItem(identifier, about, files)


def source_of(
    archive: EmbeddedArchive, request_policy: RequestPolicy = FAST, **what: Any
) -> ArchiveSource:
    """Return a source that asks an embedded archive; for its item `small` unless told else."""
    return ArchiveSource(
        url=archive.url, request_policy=request_policy, **(what or {"items": ("small",)})
    )


def tracks_of(source: ArchiveSource) -> list[Track]:
    """Return all tracks a source lists; none of its entries may fail."""
    found = [track for page in source.pages() for track in source.tracks(page)]
    assert all(isinstance(track, Track) for track in found), found
    return [track for track in found if isinstance(track, Track)]
