"""What people ask of a workspace: its recordings, and slices of them by time and band."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.query.alike import CorpusMap, MapPoint, Similar, corpus_map, similar
    from fadae.query.duplicates import Copy, Family, families
    from fadae.query.history import PublicationLine, trained_on
    from fadae.query.licences import admitted_rows
    from fadae.query.notebook import Excerpt
    from fadae.query.overlay_curves import Overlay, curve, curves, overlay
    from fadae.query.recordings import Recording, Recordings
    from fadae.query.run_lines import HEADS, SORTS, RunLine, RunTable
    from fadae.query.runs import ORIGINAL, TRANSFORM
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
            "fadae.query.overlay_curves": ["Overlay", "curve", "curves", "overlay"],
            "fadae.query.duplicates": ["Copy", "Family", "families"],
            "fadae.query.history": ["PublicationLine", "trained_on"],
            "fadae.query.notebook": ["Excerpt"],
            "fadae.query.licences": ["admitted_rows"],
            "fadae.query.recordings": ["Recording", "Recordings"],
            "fadae.query.run_lines": ["HEADS", "SORTS", "RunLine", "RunTable"],
            "fadae.query.runs": ["ORIGINAL", "TRANSFORM"],
            "fadae.query.alike": ["CorpusMap", "MapPoint", "Similar", "corpus_map", "similar"],
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
    "HEADS",
    "ORIGINAL",
    "SORTS",
    "TRANSFORM",
    "Copy",
    "CorpusMap",
    "Excerpt",
    "Family",
    "MapPoint",
    "Overlay",
    "PublicationLine",
    "Recording",
    "Recordings",
    "RunLine",
    "RunTable",
    "Similar",
    "Workspace",
    "WorkspaceStatus",
    "admitted_rows",
    "corpus_map",
    "curve",
    "curves",
    "families",
    "open",
    "overlay",
    "samples",
    "similar",
    "status_of",
    "trained_on",
    "training_samples",
]
