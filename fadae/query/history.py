"""The publications of a workspace, as `fadae log` lists them, and which runs learned from which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fadae.records import FeatureAttrs
from fadae.store import (
    DamagedError,
    FeatureSet,
    Location,
    Publication,
    open_publication,
    paths,
    publications,
)
from fadae.training import run_config


@dataclass(frozen=True, slots=True)
class PublicationLine:
    """One publication: what features.zarr held with it, in all.

    frames: of music. seconds: of audio. runs: that were trained on it.
    """

    number: int
    published: str  # UTC
    recordings: int
    frames: int
    seconds: float
    fadae_version: str
    runs: Sequence[str]


def history(location: Location, last: int | None = None) -> list[PublicationLine]:
    """Return the publications that are kept, the newest first; `last`: at most so many."""
    runs = trained_on(location)
    return [
        line
        for one in publications(location, last)
        if (line := _line(location, one, runs.get(one.number, ()))) is not None
    ]


def _line(
    location: Location, publication: Publication, runs: Iterable[str]
) -> PublicationLine | None:
    try:
        features = FeatureSet(open_publication(location, publication.number))
    except DamagedError:  # `verify` tells
        return None
    attrs: FeatureAttrs = features.attrs
    return PublicationLine(
        number=publication.number,
        published=publication.published,
        recordings=len(features.recordings),
        frames=features.frames,
        seconds=features.audio_seconds,
        fadae_version=attrs["fadae_version"],
        runs=sorted(runs),
    )


def trained_on(location: Location) -> dict[int, list[str]]:
    """Return the publications that runs were trained on, and the names of these."""
    named: dict[int, list[str]] = {}
    runs = location.names(paths.RUNS)
    configs = location.concurrently(lambda run: run_config(location, run), runs)
    for run, config in zip(runs, configs, strict=True):
        if config is not None:
            named.setdefault(config.get("publication", 0), []).append(run)
    return named
