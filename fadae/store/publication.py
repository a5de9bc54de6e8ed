"""Publishing a filled plan: its recordings' rows first, the group's metadata last."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

from fadae.store.frames import FrameStore
from fadae.store.index_objects import COLUMNS, RecordingRow
from fadae.store.indexing import extend_index, sweep_index
from fadae.store.layout import RECORDINGS_PER_CHUNK
from fadae.store.paths import FEATURES, recording_key
from fadae.store.plan import Plan, PlannedRecording
from fadae.store.published import PublishedRecordings
from fadae.store.staging import forget_marks

log = logging.getLogger("fadae.store")


def published_plans(store: FrameStore | None) -> int:
    """Return how many plans a features.zarr has published: the number of the next one."""
    return 0 if store is None else int(store.attrs["published_plans"])


def publish(plan: Plan) -> None:
    """Show a filled plan's rows and recordings to every reader at once.

    The index of recordings is written before, under names of the plan's own; the root names it.

    A second driver that comes late finds the plan published and leaves the metadata alone. Were
    it overtaken while it wrote the recordings, whose chunks it shares with the next plan, it puts
    the next plans' back; were it overtaken in the instant after, it finds the next plan
    unpublished when it looks for more, and publishes that again.
    """
    header = plan.header
    store = FrameStore.open(plan.location, FEATURES)
    if published_plans(store) > header.number:
        return
    sweep_index(store, header.number)
    index = extend_index(store, _written(store, plan), plan.token)
    published = published_plans(FrameStore.open(plan.location, FEATURES))
    for number in range(header.number + 1, published):
        if later := Plan.read(plan.location, number):
            write_planned_recordings(store, later)
    if published > header.number:
        return
    recordings = header.first_recording + header.recordings
    attrs = {"published_plans": header.number + 1, "index": index}
    store = store.publish(header.stop_row, recordings, attrs)
    rows = PublishedRecordings(store).every(header.first_recording)
    forget_marks(plan.location, (row.key for row in rows))
    log.info("published %d recordings, %d rows", recordings, header.stop_row)


def write_planned_recordings(store: FrameStore, plan: Plan) -> None:
    """Write a plan's rows of the recording table, streaming."""
    for _ in _written(store, plan):
        pass


def _written(store: FrameStore, plan: Plan) -> Iterator[RecordingRow]:
    """Yield a plan's rows of the recording table, each once it is written."""
    recordings = plan.recordings()
    row = plan.header.first_recording
    # Batches end at the chunks' boundaries: each chunk is written once.
    while batch := list(
        itertools.islice(recordings, RECORDINGS_PER_CHUNK - row % RECORDINGS_PER_CHUNK)
    ):
        rows = list(map(_row, batch))
        columns = {f"recording_{n}": [getattr(one, n) for one in rows] for n in COLUMNS}
        store.write_recordings(row, columns)
        row += len(batch)
        yield from rows


def _row(planned: PlannedRecording) -> RecordingRow:
    """Return a planned recording as its row of the table."""
    track, decoded = planned.track, planned.decoded
    return RecordingRow(
        id=_storable(track.id),
        item=_storable(track.item),
        file=_storable(track.file),
        title=_storable(track.title),
        creator=_storable(track.creator),
        licence=_storable(track.licence),
        url=_storable(track.url),
        key=recording_key(track.id),
        sha1=decoded.source_sha1,
        pcm_sha256=decoded.pcm_sha256,
        rate_hz=decoded.rate_hz,
        source_rate_hz=decoded.source_rate_hz,
        samples=decoded.samples,
        seconds=decoded.seconds,
        frame_start=planned.frame_start,
        frame_count=planned.frame_count,
        same_as=planned.same_as,
    )


def _storable(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: a file name may be no text at all.

    >>> _storable("caf\udce9.ogg")
    'caf\\udce9.ogg'
    """
    return text.encode("utf-8", "backslashreplace").decode()
