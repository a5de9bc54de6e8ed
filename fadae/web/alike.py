"""What sounds alike, for the page: more like a selection, and the map of all recordings.

The vectors that this takes are made by `fadae similar`: the page only reads. Where some are
missing, or there are so many that a visitor could keep the server busy, it says so.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from fadae.errors import UsageError
from fadae.query import Workspace
from fadae.similarity import GROUP_PACKS, SEGMENTS, indexed_groups, missing_packs, packs_of
from fadae.store import FeatureSet

MOST_FOUND = 20
MOST_POINTS = 2000
MOST_PACKS = 128  # that one question reads beside an index: 770 hours of music


def alike_known(workspace: Workspace) -> bool:
    """Return whether the page can tell what sounds alike: all vectors are there, and not too many.

    Raises NoInputError where there are no features.
    """
    features = FeatureSet.open(workspace.location)
    if missing_packs(features, SEGMENTS):
        return False
    packs = len(packs_of(features.rows))
    return packs <= MOST_PACKS or packs - indexed_groups(features) * GROUP_PACKS <= MOST_PACKS


def more_like(workspace: Workspace, recording_id: str, seconds: slice, k: int) -> dict[str, Any]:
    """Return the k recordings with the stretch that sounds most like a part of one, best first."""
    found = workspace.similar(recording_id, seconds, k)
    return {"found": [dataclasses.asdict(one) for one in found]}


def map_of(workspace: Workspace) -> dict[str, Any]:
    """Return the recordings, at most 2000, as points in the plane."""
    return dataclasses.asdict(workspace.corpus_map(MOST_POINTS))


def not_known() -> UsageError:
    """Return what the page says where it cannot tell."""
    return UsageError("what sounds alike is not known here yet: see `fadae similar`")
