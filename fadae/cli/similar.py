"""The commands about what sounds alike, or is the same: `similar`, `duplicates`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, printable
from fadae.cli.reading import RecordingId, Seconds, pair_of
from fadae.config import Job, cluster_of
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.query import Copy, CorpusMap, Similar

HowMany = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many to find.")]
MapFile = Annotated[
    Path | None,
    typer.Option(
        "--map", metavar="FILE", help="Draw all recordings in the plane instead: .json or .png."
    ),
]
WithIndex = Annotated[
    bool, typer.Option("--index", help="Make the index of a large workspace first; needs USearch.")
]
Most = Annotated[int, typer.Option(min=1, help="Recordings on the map, at most.")]


def similar(
    recording_id: RecordingId = None,
    workspace: str = picked(Job, "workspace"),
    seconds: Seconds = None,
    k: HowMany = 10,
    map_file: MapFile = None,
    most: Most = 2000,
    index: WithIndex = False,
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Find what sounds like a part of a recording; or draw a map of all recordings."""
    import fadae
    from fadae.cluster import cluster_mapper
    from fadae.similarity import SEGMENTS, make_indexes, make_packs
    from fadae.store import FeatureSet, Location

    if (recording_id is None) == (map_file is None):
        raise UsageError("name a recording, or a file with --map")
    if map_file is not None and map_file.suffix.lower() not in (".json", ".png"):
        raise UsageError(f"--map {map_file}: a file that ends in .json or .png")
    location = Location(workspace)
    if recording_id is not None:  # a mistaken one is told before the work
        fadae.open(workspace).recordings.find(recording_id)
    with cluster_mapper(location, cluster_of(scheduler, scheduler_file), workers) as mapper:
        features = FeatureSet.open(location)
        make_packs(features, SEGMENTS, mapper)
        if index:
            make_indexes(features, mapper)
    opened = fadae.open(workspace)
    if recording_id is None:
        assert map_file is not None
        return _draw(opened.corpus_map(most), map_file)
    span = pair_of(seconds, "--seconds")
    return _found(recording_id, span, opened.similar(recording_id, span, k))


def duplicates(
    workspace: str = picked(Job, "workspace"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Find recordings that are copies or parts of others: they lie on one side of a split."""
    import fadae
    from fadae import similarity
    from fadae.cluster import cluster_mapper
    from fadae.query import families
    from fadae.store import FeatureSet, Location

    location = Location(workspace)
    features = FeatureSet.open(location)
    with cluster_mapper(location, cluster_of(scheduler, scheduler_file), workers) as mapper:
        pairs = similarity.duplicates(features, mapper)
    recordings = fadae.open(workspace).recordings
    found = families(features, recordings, pairs)
    summary = {
        "recordings": len(recordings),
        "families": [dataclasses.asdict(one) for one in found],
    }
    lines = [
        f"{'' if place else chr(10)}{_how(copy):>24}  {printable(copy.id)}"
        for one in found
        for place, copy in enumerate(one.members)
    ]
    held = sum(len(one.members) for one in found)
    total = f"{held:,} of {len(recordings):,} recordings in {len(found):,} families"
    return Shown(summary, "\n".join([*lines, "", total]).lstrip("\n"))


def _how(copy: Copy) -> str:
    """Return how much of a copy another recording holds."""
    if copy.same_samples:
        return "the same samples"
    return f"{copy.overlap_seconds:,.1f} s, score {copy.score:.2f}"


def _found(recording_id: str, span: object, found: list[Similar]) -> Shown:
    """Return what was found as a table."""
    summary = {
        "recording": recording_id,
        "seconds": span,
        "similar": [dataclasses.asdict(one) for one in found],
    }
    lines = [
        f"{one.score:5.2f}  {one.start_seconds:>9.1f} -{one.stop_seconds:>9.1f} s  "
        f"{printable(one.id)}  {printable(one.title)}".rstrip()
        for one in found
    ]
    return Shown(summary, "\n".join(lines) or "nothing else has a sound")


def _draw(made: CorpusMap, to: Path) -> Summary:
    """Write a map as its file's name says; return what was written."""
    try:
        if to.suffix.lower() == ".json":
            to.write_text(json.dumps(dataclasses.asdict(made), allow_nan=False) + "\n", "utf-8")
        else:
            from fadae import figures

            to.write_bytes(figures.corpus_map(made))
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
    return {
        "file": str(to),
        "points": len(made.points),
        "recordings": made.recordings,
        "explained": list(made.explained),
    }
