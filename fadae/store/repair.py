"""What `verify` asks of samples, and how it has damaged blocks of features.zarr computed again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from fadae.store.checks import BlockCheck, check_block
from fadae.store.frames import FrameStore
from fadae.store.mapping import Mapper
from fadae.store.paths import FEATURES, recording_key
from fadae.store.plan import BlockTask, Plan
from fadae.store.samples import (
    RECORDINGS_A_TASK,
    LostSamples,
    StoredSamples,
    WrongSamples,
    lost_samples,
    samples_tasks,
    wrong_samples,
)

Recompute = Callable[[BlockTask], bool]


def wrong_recordings(
    store: FrameStore, plans: Iterable[Plan], mapper: Mapper
) -> Iterator[WrongSamples]:
    """Yield the planned recordings whose published samples read well but are others.

    What is erased has none.
    """
    recordings = (
        StoredSamples(
            recording_key(one.track.id),
            one.decoded.pcm_sha256,
            one.decoded.samples,
            one.frame_start,
        )
        for plan in plans
        for one in plan.recordings()
        if not {one.row, one.same_as} & plan.silent
    )
    tasks = samples_tasks(store.location, recordings)
    total = -(-store.recording_rows // RECORDINGS_A_TASK)
    for found in mapper(wrong_samples, tasks, label="verify samples", total=total, unit="parts"):
        yield from found


def lost_recordings(
    plans: Iterable[Plan], damaged: Collection[int], mapper: Mapper
) -> Iterator[LostSamples]:
    """Yield the recordings that damaged blocks cannot be computed again without."""
    if damaged:
        tasks = _tasks_of(plans, damaged)
        for found in mapper(lost_samples, tasks, label="look for samples", unit="shards"):
            yield from found


def repair_blocks(
    store: FrameStore,
    plans: Iterable[Plan],
    damaged: Collection[int],
    recompute: Recompute,
    mapper: Mapper,
) -> set[int]:
    """Compute damaged blocks again; return the sound ones."""
    tasks = list(_tasks_of(plans, damaged))
    for task in tasks:
        store.forget_block(task.block, task.plan)
    for _ in mapper(recompute, tasks, label="repair", unit="shards"):
        pass
    checks = [BlockCheck(store.location, FEATURES, t.block, t.parts) for t in tasks]
    reports = mapper(check_block, checks, label="verify again", unit="shards")
    return {report.block for report in reports if not report.problems}


def _tasks_of(plans: Iterable[Plan], blocks: Collection[int]) -> Iterator[BlockTask]:
    """Yield the units of work of some blocks."""
    for plan in plans:
        if any(block in plan.blocks for block in blocks):
            yield from (task for task in plan.tasks() if task.block in blocks)
