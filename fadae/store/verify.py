"""Verifying a workspace: every published chunk, every index, the ledger; and repairing blocks."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator

from fadae.errors import FadaeError, NoInputError
from fadae.records import ProblemLine
from fadae.store.checks import (
    MISSING,
    BlockCheck,
    PageReport,
    Problem,
    check_array,
    check_block,
    check_page,
)
from fadae.store.forgotten import Row, erased_in
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.history import replace_attrs
from fadae.store.indexing import check_index, extend_index
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.listing import publish_listing
from fadae.store.location import Location
from fadae.store.mapping import Mapper, map_serially
from fadae.store.paths import (
    ALL_MARKED,
    FEATURES,
    MARKS,
    PREFIXES,
    RECONSTRUCTIONS,
    STAGING,
    TOMBSTONES,
    commit_path,
    marked,
    plan_path,
    prefix_of,
    reconstructed_run,
    recording_key,
    staged,
)
from fadae.store.plan import Plan
from fadae.store.publication import published_plans
from fadae.store.published import PublishedRecordings
from fadae.store.recording_index import index_attrs
from fadae.store.repair import Recompute, lost_recordings, repair_blocks, wrong_recordings
from fadae.store.root_checks import (
    Found,
    check_documents,
    check_fixed,
    check_history,
    check_lengths,
    check_recordings,
    checked_root,
    is_of_another,
)
from fadae.store.samples import OTHER_SAMPLES, REMEDY, WrongSamples
from fadae.store.staging import (
    LedgerPage,
    key_digest,
    known_digests,
)
from fadae.store.tombstones import Tombstone, Tombstones, read_tombstones, tombstone_names
from fadae.summaries import VerifySummary

log = logging.getLogger("fadae.store")

MAX_PROBLEMS = 1000  # listed in a summary
Reconstruct = Callable[[str, list[int]], None]  # of a run's name and blocks


def verify(
    location: Location,
    *,
    recompute: Recompute | None = None,
    reconstruct: Reconstruct | None = None,
    mapper: Mapper = map_serially,
) -> VerifySummary:
    """Read the ledger, features.zarr and every reconstruction; return what was found.

    With `recompute` (`fadae.stages.extract.extract_shard`), exactly the damaged blocks of
    features.zarr are computed again, from the samples in `audio`, and its small arrays written
    again. A recording whose samples are damaged wherever they lie, staged or published, loses its
    commit, so that ingest fetches it again. `reconstruct` does the same
    for the damaged blocks of reconstructions; without it they are named. Raises NoInputError where
    there is nothing to verify.
    """
    if not {STAGING, FEATURES} & set(location.names("")):
        location.ensure_workspace()
        raise NoInputError(f"{location.url} holds nothing to verify")
    found = _Verification(location, recompute, reconstruct, mapper).run()
    if recompute is not None:
        publish_listing(location)
    return found


class _Verification:
    """One pass over a workspace, gathering what it finds."""

    def __init__(
        self,
        location: Location,
        recompute: Recompute | None,
        reconstruct: Reconstruct | None,
        mapper: Mapper,
    ) -> None:
        self.location, self.mapper = location, mapper
        self.recompute, self.reconstruct = recompute, reconstruct
        self.problems: list[ProblemLine] = []
        self.found = self.repaired = 0
        self.recordings = self.shards = self.damaged_shards = self.repaired_shards = 0
        self.damaged_columns = False

    def run(self) -> VerifySummary:
        """Check everything, the ledger first."""
        repair = self.recompute is not None
        store, found = checked_root(self.location, repair=repair)
        self._tell(found)
        tombstones = self._read_tombstones()
        plans = self._read_plans(store) if FEATURES in self.location.names("") else []
        plans = self._without_erased(plans, store, tombstones)
        self._check_ledger(plans, store)
        if store is not None:
            store = self._check_root(store, plans, repair)
            self._check_index(store)
            self._check_features(store, plans)
            for name in self.location.names(RECONSTRUCTIONS):
                self._check_reconstruction(name)
        return VerifySummary(
            recordings_checked=self.recordings,
            shards_checked=self.shards,
            shards_damaged=self.damaged_shards,
            shards_repaired=self.repaired_shards,
            problems_found=self.found,
            problems_repaired=self.repaired,
            problems=self.problems,
        )

    def _note(self, problems: Iterable[Problem], *, repaired: bool = False) -> None:
        for problem in problems:
            self.found += 1
            self.repaired += repaired
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(
                    {"path": problem.path, "problem": problem.problem, "repaired": repaired}
                )

    def _tell(self, found: Iterable[Found]) -> list[Found]:
        """Note what was found; return it."""
        every = list(found)
        for one in every:
            self._note([one.problem], repaired=one.repaired)
        return every

    def _read_tombstones(self) -> Tombstones:
        """Return the tombstones that can be read; the others are named."""
        found = list[Tombstone]()
        for name in tombstone_names(self.location):
            try:
                found += read_tombstones(self.location, [name]).every
            except DamagedError as error:
                self._note([Problem(f"{TOMBSTONES}/{name}", str(error))])
        return Tombstones(found)

    def _without_erased(
        self, plans: list[Plan], store: FrameStore | None, tombstones: Tombstones
    ) -> list[Plan]:
        """Return the plans as the tombstones leave them: what is erased is no damage."""
        if not tombstones.erasing:
            return plans
        try:
            gone = erased_in(store, tombstones, () if store else _planned(plans))
        except DamagedError:  # a column, which the plans tell too
            gone = erased_in(None, tombstones, _planned(plans))
        silent = gone.silent.tolist()
        return [plan.marked(tombstones.erasing, silent) for plan in plans]

    def _check_root(self, store: FrameStore, plans: list[Plan], repair: bool) -> FrameStore:
        """Check what tells what is published; return features.zarr as it is after repair."""
        if self._tell(check_lengths(store, plans, repair=repair)) and repair:
            store = FrameStore.open(self.location, FEATURES)
        self._tell(check_documents(self.location, repair=repair))
        self._tell(check_fixed(store, repair=repair))
        columns = self._tell(check_recordings(store, plans, repair=repair))
        self.damaged_columns = not all(one.repaired for one in columns)
        self._tell(check_history(store, plans, repair=repair))
        return store

    def _check_ledger(self, plans: list[Plan], store: FrameStore | None) -> None:
        known = known_digests(_keys(plans))
        used = sorted({*known, *self.location.names(STAGING)} & set(PREFIXES))
        told = ALL_MARKED in self.location.names(MARKS)
        pages = [LedgerPage(self.location, p, known.get(p, b""), told) for p in used]
        missing: set[tuple[str, int]] = set()
        for report in self.mapper(check_page, pages, label="verify ledger", unit="prefixes"):
            self.recordings += report.recordings
            missing.update((report.prefix, digest) for digest in report.missing)
            unstaged, spare = self._unstaged(report), [one.path for one in report.spare]
            for path in (*report.broken, *spare, *unstaged) if self.recompute else ():
                self.location.delete(path)
            self._note(report.problems)
            self._note(report.spare, repaired=self.recompute is not None)
            self._note(Problem(f"{path.removesuffix('.json')}.pcm", MISSING) for path in unstaged)
            self._check_marks(report, store)
        for key in _keys(plans) if missing else ():
            prefix = key[-32:][:2]
            if (prefix, key_digest(key)) in missing:
                path = staged(prefix, f"{key}.json")
                self._note([Problem(path, "missing: published, but no longer in the ledger")])

    def _unstaged(self, report: PageReport) -> list[str]:
        """Return the paths of the commits whose samples are neither staged nor published."""
        published = set[str]()
        if report.unstaged:
            try:
                # As it is now: a recording's PCM goes once it is published, meanwhile perhaps.
                if (store := FrameStore.find(self.location, FEATURES)) is not None:
                    published = PublishedRecordings(store).published_keys(report.unstaged)
            except DamagedError as error:
                log.warning("whether all samples are published cannot be told: %s", error)
                return []
        return [staged(report.prefix, f"{k}.json") for k in report.unstaged if k not in published]

    def _check_marks(self, report: PageReport, store: FrameStore | None) -> None:
        """Name the commits that no extraction would find: neither published nor marked as new."""
        if store is None or not report.unmarked:
            return
        published = PublishedRecordings(store).published_keys(report.unmarked)
        lost = [marked(report.prefix, key) for key in report.unmarked if key not in published]
        for path in lost if self.recompute else ():
            self.location.write_bytes(path, b"")
        wrong = "missing: `fadae extract` passes the recording over"
        self._note([Problem(path, wrong) for path in lost], repaired=self.recompute is not None)

    def _read_plans(self, store: FrameStore | None) -> list[Plan]:
        """Return the plans that were published; without a root to tell, all of them."""
        plans = list[Plan]()
        numbers: Iterable[int] = range(published_plans(store))
        if store is None:
            numbers = itertools.takewhile(
                lambda n: self.location.exists(plan_path(n)), itertools.count()
            )
        for number in numbers:
            try:
                plan = Plan.read(self.location, number)
                if plan is None:
                    self._note(
                        [
                            Problem(
                                plan_path(number),
                                "missing: its blocks cannot be repaired, only checked for damage",
                            )
                        ]
                    )
                    continue
                for _ in plan.recordings():
                    pass
                if store is not None and is_of_another(plan, store):
                    why = "is not the plan that was published: restore it from a copy"
                    self._note([Problem(plan_path(number), why)])
                    continue
                plans.append(plan)
            except FadaeError as error:
                self._note([Problem(plan_path(number), str(error))])
        return plans

    def _check_index(self, store: FrameStore) -> None:
        """Check the index of recordings against their columns; write it again to repair it."""
        if self.damaged_columns:
            return  # there is nothing to compare it with
        repair = self.recompute is not None
        if store.recording_rows and index_attrs(store.attrs, store.recording_rows) is None:
            self._add_index(store, repair)
        else:
            self._note(check_index(store, repair=repair), repaired=repair)

    def _add_index(self, store: FrameStore, repair: bool) -> None:
        """Give a store of an earlier fadae its index; without, everything works but slowly."""
        if not repair:
            log.info("%s has no index of recordings: --repair writes one", FEATURES)
            return
        last = Plan.read(self.location, max(0, published_plans(store) - 1))
        index = extend_index(store, (), last.token if last else "00000-none")
        replace_attrs(store, {"index": index})

    def _check_features(self, store: FrameStore, plans: list[Plan]) -> None:
        blocks = -(-store.rows // BLOCK_FRAMES)
        damaged = self._check_blocks(_feature_checks(store, plans, blocks), blocks)
        wrong = list(wrong_recordings(store, plans, self.mapper))
        for one in wrong:
            path = store.block_path("audio", one.stored.frame_start // BLOCK_FRAMES)
            for block in one.stored.blocks(store):
                problem = Problem(path, f"{one.stored.key}: {OTHER_SAMPLES}")
                damaged[block] = (*damaged.get(block, ()), problem)
        self.damaged_shards += len(damaged)
        lost = self._lost(store, plans, damaged, wrong)
        repaired = set[int]()
        if self.recompute and (computed := set(damaged) - lost):
            repaired = repair_blocks(store, plans, computed, self.recompute, self.mapper)
        self.repaired_shards += len(repaired)
        for block, problems in sorted(damaged.items()):
            self._note(problems, repaired=block in repaired)

    def _lost(
        self,
        store: FrameStore,
        plans: list[Plan],
        damaged: Collection[int],
        wrong: list[WrongSamples],
    ) -> set[int]:
        """Name the recordings whose right samples nothing holds; return the blocks that need them.

        In repair they lose their commits, but for those that were fetched again and have changed.
        """
        blocks, whys = set[int](), dict[str, tuple[str, bool]]()
        for one in wrong:
            if not one.mendable:
                blocks.update(one.stored.blocks(store))
                path = staged(prefix_of(one.stored.key), f"{one.stored.key}.json")
                whys[path] = (f"{OTHER_SAMPLES}: {REMEDY}", one.staged)
        for lost in lost_recordings(plans, damaged, self.mapper):
            blocks.add(lost.block)
            whys.setdefault(commit_path(lost.recording_id), (lost.why, lost.staged))
        for path, (why, has_pcm) in whys.items():
            self._note([Problem(path, why)])
            if self.recompute and not has_pcm:
                self.location.delete(path)
        return blocks

    def _check_blocks(
        self, checks: Iterable[BlockCheck], total: int
    ) -> dict[int, tuple[Problem, ...]]:
        """Return the problems of the damaged blocks among those checked."""
        damaged = {}
        reports = self.mapper(check_block, checks, label="verify", total=total, unit="shards")
        for report in reports:
            self.shards += 1
            if report.problems:
                damaged[report.block] = report.problems
        return damaged

    def _check_reconstruction(self, name: str) -> None:
        path, run = f"{RECONSTRUCTIONS}/{name}", reconstructed_run(name)
        try:
            store = FrameStore.open(self.location, path)
        except (FileNotFoundError, FadaeError) as error:
            self._note([Problem(f"{path}/zarr.json", f"cannot be read: {error}")])
            return
        blocks = range(-(-store.rows // BLOCK_FRAMES))
        damaged = self._check_blocks(_checks(store, blocks), len(blocks))
        self.damaged_shards += len(damaged)
        repaired = self._repair_reconstruction(store, run, damaged) if damaged else set()
        self.repaired_shards += len(repaired)
        hint = f"; remove {path}, then run `fadae reconstruct --run {run}`"
        small = [name for name in store.names if name not in store.frame_names]
        for found in (found for name in small for found in check_array(store, name)):
            self._note([Problem(found.path, found.problem + hint)])
        for block, problems in sorted(damaged.items()):
            self._note(problems, repaired=block in repaired)

    def _repair_reconstruction(
        self, store: FrameStore, run: str, damaged: Iterable[int]
    ) -> set[int]:
        if self.reconstruct is None:
            return set()
        blocks = sorted(damaged)
        for block in blocks:
            store.forget_block_under_any(block)
        self.reconstruct(run, blocks)
        return {
            b for b in blocks if not check_block(BlockCheck(self.location, store.path, b)).problems
        }


def _checks(store: FrameStore, blocks: Iterable[int]) -> Iterator[BlockCheck]:
    """Yield blocks to check whose content no plan tells."""
    return (BlockCheck(store.location, store.path, block) for block in blocks)


def _keys(plans: list[Plan]) -> Iterator[str]:
    """Yield the keys of all planned recordings that the ledger tells of: not of what is erased."""
    for plan in plans:
        tracks = (recording.track for recording in plan.recordings())
        yield from (recording_key(t.id) for t in tracks if not plan.erased.match(t.id, t.item))


def _planned(plans: list[Plan]) -> Iterator[Row]:
    return (recording.columns for plan in plans for recording in plan.recordings())


def _feature_checks(store: FrameStore, plans: list[Plan], blocks: int) -> Iterator[BlockCheck]:
    """Yield every published block, with its parts where its plan can be read."""
    unplanned = set(range(blocks))
    for plan in plans:
        for task in plan.tasks():
            unplanned.discard(task.block)
            yield BlockCheck(store.location, FEATURES, task.block, task.parts)
    yield from _checks(store, sorted(unplanned))
