"""The commands about a job: `verify`, `prune`, `wait`, `config`, `check`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import origins, picked
from fadae.cli.output import Shown, Summary, printable
from fadae.cli.progress import Every
from fadae.config import TOP, ExtractConfig, IngestConfig, Job, TrainConfig, cluster_of, declared

if TYPE_CHECKING:
    from fadae.store import Location

Repair = Annotated[bool, typer.Option("--repair", help="Compute damaged shards again.")]

log = logging.getLogger("fadae.wait")

Keep = Annotated[
    str,
    typer.Option(
        help="newest: of each run the newest checkpoint, with early stopping its best weights too; "
        "best: the best weights in any case."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")]

AskArchive = Annotated[bool, typer.Option("--archive", help="Ask the archive too, once.")]

Stages = Annotated[
    list[str], typer.Argument(metavar="STAGE", help="ingest, extract, train or reconstruct.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait in all; then exit 75.")]


def verify(
    workspace: str = picked(Job, "workspace"),
    repair: Repair = False,
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Read every chunk, index and staged sample; say what is missing or damaged."""
    from fadae.cluster import cluster_mapper
    from fadae.errors import FadaeError
    from fadae.stages.extract import extract_shard
    from fadae.stages.reconstruct import reconstruct_again
    from fadae.store import Location
    from fadae.store import verify as verification

    location = Location(workspace)
    cluster = cluster_of(scheduler, scheduler_file)
    with cluster_mapper(location, cluster, workers) as mapper:
        summary = verification.verify(
            location,
            recompute=extract_shard if repair else None,
            reconstruct=functools.partial(reconstruct_again, location, mapper=mapper)
            if repair
            else None,
            mapper=mapper,
        )
    left = summary["problems_found"] - summary["problems_repaired"]
    if left:
        first = next(p for p in summary["problems"] if not p["repaired"])
        hint = "" if repair else "; --repair computes damaged shards again"
        raise FadaeError(
            f"{left} missing or damaged, first {first['path']}: {first['problem']}{hint}", summary
        )
    return summary


def prune(
    workspace: str = picked(Job, "workspace"),
    keep: Keep = "newest",
    keep_staging: bool = picked(ExtractConfig, "keep_staging"),
    dry_run: DryRun = False,
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Remove what a workspace can do without: old checkpoints, published staging, leftovers."""
    from fadae import prune as pruning
    from fadae.cluster import cluster_mapper
    from fadae.errors import UsageError
    from fadae.store import Location

    if keep not in pruning.KEPT:
        raise UsageError(f"--keep {keep}: one of {', '.join(pruning.KEPT)}")
    location = Location(workspace)
    cluster = cluster_of(scheduler, scheduler_file)
    with cluster_mapper(location, cluster, workers) as mapper:
        summary = pruning.prune(
            location, keep=keep, keep_staging=keep_staging, dry_run=dry_run, mapper=mapper
        )
    verb = "would go" if dry_run else "gone"
    lines = [
        f"{kind:<12} {found['objects']:>9,} objects {found['bytes']:>19,} bytes {verb}"
        for kind, found in summary.kinds.items()
    ]
    return Shown(summary, "\n".join(lines))


def wait(
    stages: Stages,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    timeout: Timeout = 86_400.0,
    every: Every = 5.0,
    generation: str | None = picked(Job, "generation"),
) -> Summary:
    """Wait until stages have published something, with --generation in that one."""
    from fadae.errors import TransientError, UsageError
    from fadae.store import Location, generations

    unknown = [stage for stage in stages if stage not in _COMMITTED]
    if unknown:
        raise UsageError(f"no stage {unknown[0]!r}: choose from {', '.join(_COMMITTED)}")
    location, started = Location(workspace), time.monotonic()
    generations.checked(generation)

    def committed(stage: str) -> bool:
        if generation is None:
            return _COMMITTED[stage](location, run or TrainConfig.run)
        return bool(generations.noted(location, generation, stage))

    for stage in stages:
        while not committed(stage):
            waited = time.monotonic() - started
            if waited >= timeout:
                raise TransientError(
                    f"no {stage} in {location.url} after {waited:.0f} s; look at that stage's log"
                )
            log.info("waiting for %s in %s, %.0f s so far", stage, location.url, waited)
            time.sleep(min(every, timeout - waited))
    return {"stages": stages, "waited_seconds": round(time.monotonic() - started, 3)}


def _ingested(location: Location, run: str) -> bool:
    from fadae.store import paths

    return any(name.endswith(".json") for name in location.names(paths.INGESTS))


def _extracted(location: Location, run: str) -> bool:
    from fadae.store import paths

    return _has_rows(location, paths.FEATURES)


def _trained(location: Location, run: str) -> bool:
    from fadae.store import paths

    return location.exists(paths.run_path(run, "model.safetensors"))


def _reconstructed(location: Location, run: str) -> bool:
    from fadae.store import paths

    return _has_rows(location, paths.reconstruction_path(run))


def _has_rows(location: Location, path: str) -> bool:
    """Return whether something is published: a group alone is only its beginning."""
    from fadae.store import FrameStore

    store = FrameStore.find(location, path)
    return store is not None and store.rows > 0


def config(
    ctx: typer.Context,
    job: Job,
    ingest: IngestConfig,
    extract: ExtractConfig,
    train: TrainConfig,
) -> Summary:
    """Print every setting of a job and where it comes from: flag, variable, file, default."""
    rows = [
        (one, getattr(section, one.name))
        for section in (job, ingest, extract, train)
        for one in declared(type(section))
        if one.about.shared
    ]
    found = origins(ctx, [one for one, _ in rows])
    summary: dict[str, object] = {}
    for one, value in rows:
        key = one.key if one.section == TOP else f"{one.section}.{one.key}"
        summary[key] = {"value": value, "from": found[one.name]}
    width = max(map(len, summary))
    lines = [
        f"{key:<{width}}  {printable(one.text(value)) or '-':<28}  {found[one.name]}".rstrip()
        for key, (one, value) in zip(summary, rows, strict=True)
    ]
    return Shown(summary, "\n".join(lines))


def check(
    ctx: typer.Context,
    workspace: str = picked(Job, "workspace"),
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    archive_url: str = picked(IngestConfig, "archive_url"),
    contact: str = picked(IngestConfig, "contact"),
    archive: AskArchive = False,
) -> Summary:
    """Say whether a job can run: one line a check, with what to do about it.

    This machine always; the workspace, the cluster and the archive where they are named.
    """
    from fadae import preflight
    from fadae.check import run_checks
    from fadae.errors import TransientError, UsageError
    from fadae.store import Location

    named = origins(ctx, [picked(Job, "workspace").option])["workspace"] != "default"
    location = Location(workspace) if named else None
    findings = run_checks()
    if location:
        findings += preflight.workspace(location)
    if cluster := cluster_of(scheduler, scheduler_file):
        findings += preflight.cluster(cluster, location)
    if archive:
        findings.append(preflight.archive(archive_url, contact))
    rows = [dataclasses.asdict(finding) for finding in findings]
    summary = Shown({"checks": rows}, "\n".join(printable(one.line()) for one in findings))
    for state, error in (("wrong", UsageError), ("away", TransientError)):
        failed = [finding for finding in findings if finding.state == state]
        if failed:
            first = failed[0]
            raise error(f"{first.check}: {first.says}; {first.remedy}", summary)
    return summary


_COMMITTED: dict[str, Callable[[Location, str], bool]] = {
    "ingest": _ingested,
    "extract": _extracted,
    "train": _trained,
    "reconstruct": _reconstructed,
}
