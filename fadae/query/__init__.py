"""What people ask of a workspace: its recordings, and slices of them by time and band."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.query.duplicates import Copy, Family, families
    from fadae.query.history import PublicationLine, trained_on
    from fadae.query.recordings import Recording, Recordings
    from fadae.query.runs import ORIGINAL, TRANSFORM
    from fadae.query.similar import CorpusMap, MapPoint, Similar, corpus_map, similar
    from fadae.query.status import (
        WorkspaceStatus,
        samples,
        status_of,
        training_samples,
    )
    from fadae.query.workspace import Workspace, open
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.query.duplicates": ["Copy", "Family", "families"],
            "fadae.query.history": ["PublicationLine", "trained_on"],
            "fadae.query.recordings": ["Recording", "Recordings"],
            "fadae.query.runs": ["ORIGINAL", "TRANSFORM"],
            "fadae.query.similar": ["CorpusMap", "MapPoint", "Similar", "corpus_map", "similar"],
            "fadae.query.status": [
                "WorkspaceStatus",
                "samples",
                "status_of",
                "training_samples",
            ],
            "fadae.query.workspace": ["Workspace", "open"],
        },
    )

__all__ = [
    "ORIGINAL",
    "TRANSFORM",
    "Copy",
    "CorpusMap",
    "Family",
    "MapPoint",
    "PublicationLine",
    "Recording",
    "Recordings",
    "Similar",
    "Workspace",
    "WorkspaceStatus",
    "corpus_map",
    "families",
    "open",
    "samples",
    "similar",
    "status_of",
    "trained_on",
    "training_samples",
]
