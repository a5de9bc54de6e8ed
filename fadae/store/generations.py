"""Generations: named passes over the stages, each of which notes its end in the workspace.

generations/<name>/<stage>.json    the stage ended well in this generation
"""

from __future__ import annotations

import json
import re

from fadae.errors import UsageError
from fadae.records import canonical_json
from fadae.store import paths
from fadae.store.location import Location
from fadae.summaries import StageSummary


def checked(generation: str | None) -> str | None:
    """Return a generation's name; raises UsageError where it is none."""
    if generation is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", generation):
        raise UsageError(
            f"--generation {generation!r}: letters, digits, '.', '_' and '-' only, at most 64"
        )
    return generation


def note_summary(location: Location, generation: str | None, summary: StageSummary) -> None:
    """Note that the stage of a summary ended well in a generation; nothing where there is none."""
    if generation is None:
        return
    stage = type(summary).__name__.removesuffix("Summary").lower()
    about = {"run": summary["run"]} if "run" in summary else {}
    path = paths.generation_path(generation, stage)
    location.write_bytes(path, canonical_json({"stage": stage, **about}).encode())


def noted(location: Location, generation: str | None, stage: str) -> dict[str, str]:
    """Return what was noted of a stage in a generation; empty where nothing was."""
    if checked(generation) is None:
        return {}
    try:
        path = paths.generation_path(str(generation), stage)
        found: dict[str, str] = json.loads(location.read_bytes(path))
    except FileNotFoundError:
        return {}
    return found
