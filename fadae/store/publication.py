"""Publishing a filled plan: its recordings' rows first, the group's metadata last."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence

from fadae.store.frames import FrameStore, OvertakenError
from fadae.store.history import keep_root, publication_number
from fadae.store.index_objects import COLUMNS, RecordingRow
from fadae.store.indexing import extend_index, sweep_index
from fadae.store.layout import RECORDINGS_PER_CHUNK
from fadae.store.paths import FEATURES, recording_key
from fadae.store.plan import Plan, PlannedRecording
from fadae.store.published import PublishedRecordings
from fadae.store.staging import forget_marks
from fadae.store.tombstones import storable

log = logging.getLogger("fadae.store")


def published_plans(store: FrameStore | None) -> int:
    """Return how many plans a features.zarr has published: the number of the next one."""
    return 0 if store is None else publication_number(store)


def publish(plan: Plan) -> None:
    """Show a filled plan's rows and recordings to every reader at once.

    The rows of the recording table and the index come before, where no reader looks yet: they
    are the same whoever writes them, and are compared and swapped in objects that plans share.
    Then the root is, unless another driver has published this plan: that one's stands.
    """
    header, location = plan.header, plan.location
    while True:
        store = FrameStore.open(location, FEATURES)
        if published_plans(store) != header.number:
            break
        keep_root(store)
        sweep_index(store, header.number)
        index = extend_index(store, _written(store, plan), plan.token)
        recordings = header.first_recording + header.recordings
        attrs = {"published_plans": header.number + 1, "index": index}
        try:
            store = store.publish(header.stop_row, recordings, attrs)
        except OvertakenError:
            continue
        log.info("published %d recordings, %d rows", recordings, header.stop_row)
        break
    if published_plans(store) < header.number:
        raise OvertakenError(
            f"plan {header.number} comes after one that is not published any more: "
            "run `fadae verify`, then this again"
        )
    keep_root(store)
    rows = PublishedRecordings(store).every(
        header.first_recording, header.first_recording + header.recordings
    )
    forget_marks(location, (row.key for row in rows))


def planned_columns(rows: Sequence[RecordingRow]) -> dict[str, list[object]]:
    """Return rows of the recording table as the columns of its arrays."""
    return {f"recording_{name}": [getattr(row, name) for row in rows] for name in COLUMNS}


def planned_rows(plan: Plan) -> Iterator[RecordingRow]:
    """Yield a plan's rows of the recording table."""
    return map(_row, plan.recordings())


def _written(store: FrameStore, plan: Plan) -> Iterator[RecordingRow]:
    """Yield a plan's rows of the recording table, each once it is written."""
    rows = planned_rows(plan)
    start = plan.header.first_recording
    # Batches end at the chunks' boundaries: each chunk is written once.
    while batch := list(
        itertools.islice(rows, RECORDINGS_PER_CHUNK - start % RECORDINGS_PER_CHUNK)
    ):
        store.write_recordings(start, planned_columns(batch))
        start += len(batch)
        yield from batch


def _row(planned: PlannedRecording) -> RecordingRow:
    """Return a planned recording as its row of the table."""
    track, decoded = planned.track, planned.decoded
    return RecordingRow(
        id=storable(track.id),
        item=storable(track.item),
        file=storable(track.file),
        title=storable(track.title),
        creator=storable(track.creator),
        licence=storable(track.licence),
        url=storable(track.url),
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
