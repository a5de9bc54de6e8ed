"""What people ask of a workspace: its recordings, and slices of them by time and band."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.query.history import PublicationLine, trained_on
    from fadae.query.licences import admitted_rows
    from fadae.query.recordings import Recording, Recordings
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
            "fadae.query.history": ["PublicationLine", "trained_on"],
            "fadae.query.licences": ["admitted_rows"],
            "fadae.query.recordings": ["Recording", "Recordings"],
            "fadae.query.runs": ["ORIGINAL", "TRANSFORM"],
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
    "PublicationLine",
    "Recording",
    "Recordings",
    "Workspace",
    "WorkspaceStatus",
    "admitted_rows",
    "open",
    "samples",
    "status_of",
    "trained_on",
    "training_samples",
]
