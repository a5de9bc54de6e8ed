"""What people ask of a workspace: its recordings, and slices of them by time and band."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.query.recordings import Recording
    from fadae.query.workspace import ORIGINAL, TRANSFORM, Workspace, open
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.query.recordings": ["Recording"],
            "fadae.query.workspace": ["ORIGINAL", "TRANSFORM", "Workspace", "open"],
        },
    )

__all__ = ["ORIGINAL", "TRANSFORM", "Recording", "Workspace", "open"]
