"""Stage 1: recordings of a source -> PCM and commits in the workspace's staging area.

listing.py asks the source what there is, page by page, and remembers the answer; recording.py is
the unit of work, one recording; driver.py maps the one over the other.
"""

from fadae.ingest.driver import Settings, ingest
from fadae.ingest.recording import Job, Outcome, Retry, ingest_recording

__all__ = ["Job", "Outcome", "Retry", "Settings", "ingest", "ingest_recording"]
