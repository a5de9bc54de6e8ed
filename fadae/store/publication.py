"""Publishing a filled plan: its recordings' rows first, the group's metadata last."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from fadae.store.frames import FrameStore
from fadae.store.layout import RECORDINGS_PER_CHUNK
from fadae.store.paths import FEATURES, recording_key
from fadae.store.plan import Plan, PlannedRecording

log = logging.getLogger("fadae.store")


def published_plans(store: FrameStore | None) -> int:
    """Return how many plans a features.zarr has published: the number of the next one."""
    return 0 if store is None else int(store.attrs["published_plans"])


def publish(plan: Plan) -> None:
    """Show a filled plan's rows and recordings to every reader at once.

    A second driver that comes late finds the plan published and leaves the metadata alone. Were
    it overtaken while it wrote the recordings, whose chunks it shares with the next plan, it puts
    the next plans' back; were it overtaken in the instant after, it finds the next plan
    unpublished when it looks for more, and publishes that again.
    """
    header = plan.header
    store = FrameStore.open(plan.location, FEATURES)
    if published_plans(store) > header.number:
        return
    write_planned_recordings(store, plan)
    published = published_plans(FrameStore.open(plan.location, FEATURES))
    for number in range(header.number + 1, published):
        if later := Plan.read(plan.location, number):
            write_planned_recordings(store, later)
    if published > header.number:
        return
    recordings = header.first_recording + header.recordings
    store.publish(header.stop_row, recordings, {"published_plans": header.number + 1})
    log.info("published %d recordings, %d rows", recordings, header.stop_row)


def write_planned_recordings(store: FrameStore, plan: Plan) -> None:
    """Write a plan's rows of the recording table, streaming."""
    recordings = plan.recordings()
    row = plan.header.first_recording
    # Batches end at the chunks' boundaries: each chunk is written once.
    while batch := list(
        itertools.islice(recordings, RECORDINGS_PER_CHUNK - row % RECORDINGS_PER_CHUNK)
    ):
        store.write_recordings(row, _columns(batch))
        row += len(batch)


def _columns(batch: list[PlannedRecording]) -> dict[str, list[Any]]:
    """Return planned recordings as the recording_* columns."""
    track_texts = ("id", "item", "file", "title", "creator", "licence", "url")
    columns: dict[str, list[Any]] = {
        name: [_storable(getattr(r.track, name)) for r in batch] for name in track_texts
    }
    columns["key"] = [recording_key(r.track.id) for r in batch]
    columns["sha1"] = [r.decoded.source_sha1 for r in batch]
    for name in ("pcm_sha256", "rate_hz", "source_rate_hz", "samples", "seconds"):
        columns[name] = [getattr(r.decoded, name) for r in batch]
    for name in ("frame_start", "frame_count", "same_as"):
        columns[name] = [getattr(r, name) for r in batch]
    return {f"recording_{name}": values for name, values in columns.items()}


def _storable(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: a file name may be no text at all.

    >>> _storable("caf\udce9.ogg")
    'caf\\udce9.ogg'
    """
    return text.encode("utf-8", "backslashreplace").decode()
