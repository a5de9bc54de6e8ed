"""Stage 1: recordings of a source -> PCM and commits in the workspace's staging area.

listing.py asks the source what there is, page by page, and remembers the answer; recording.py is
the unit of work, one recording; driver.py maps the one over the other.
"""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.stages.ingest.driver import ingest
    from fadae.stages.ingest.listing import Listing
    from fadae.stages.ingest.recording import Job, Outcome, ingest_recording
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.stages.ingest.driver": ["ingest"],
            "fadae.stages.ingest.listing": ["Listing"],
            "fadae.stages.ingest.recording": ["Job", "Outcome", "ingest_recording"],
        },
    )

__all__ = ["Job", "Listing", "Outcome", "ingest", "ingest_recording"]
