"""The same job undisturbed: one stage after the other, in a local folder, in one process."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fadae.archive import FolderSource
from fadae.config.job import Settings
from fadae.stages.extract import extract
from fadae.stages.ingest import ingest
from fadae.stages.reconstruct import reconstruct
from fadae.store import paths
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.store.plan import Plan
from tests.soak.commands import PRESET, training


def run_quietly(disturbed: Location, music: Path, to: Path, runs: Sequence[str]) -> Location:
    """Do what a disturbed workspace has come to: add by its plans, train each run on its rows.

    The music is put aside and comes back to its folder step by step: recordings are named by it.
    """
    quiet = Location(str(to))
    every = music.rename(music.with_name(f"{music.name}-every"))
    music.mkdir()
    rows = {run: bound_rows(disturbed, run) for run in runs}
    for plan in plans_of(disturbed):
        for recording in plan.recordings():
            os.link(every / recording.track.file, music / recording.track.file)
        ingest(quiet, [FolderSource(str(music))], Settings(refresh=True))
        extract(quiet, preset=PRESET)
        published = FeatureSet.open(quiet).rows
        for run in [run for run in runs if rows[run] == published]:
            command = [sys.executable, "-m", "fadae", "train", "-w", quiet.url, *training(run, 1)]
            subprocess.run(command, check=True, capture_output=True)
    for run in runs:
        reconstruct(quiet, run)
    return quiet


def plans_of(location: Location) -> list[Plan]:
    """Return what was published, publication by publication."""
    found = (Plan.read(location, number) for number in itertools.count())
    return [plan for plan in itertools.takewhile(lambda plan: plan is not None, found) if plan]


def bound_rows(location: Location, run: str) -> int:
    """Return how many rows were published when a run began."""
    config = json.loads(location.read_bytes(paths.run_path(run, "config.json")))
    rows: int = config["dataset"]["rows"]
    return rows


def hashes(location: Location, runs: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of every object of the published arrays, and of the models."""
    found = {}
    for folder in (paths.FEATURES, *map(paths.reconstruction_path, runs)):
        for name in location.found_below(folder):
            if "/c/" in name or name.endswith("zarr.json"):
                found[f"{folder}/{name}"] = ""
    found |= {paths.run_path(run, "model.safetensors"): "" for run in runs}
    return {path: hashlib.sha256(location.read_bytes(path)).hexdigest() for path in sorted(found)}


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the paths of what is not the same in both.

    >>> differing({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    ['a', 'b', 'c']
    """
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
