"""`fadae verify`: read everything back, and compute again what is damaged."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Scheduler, Summary, Workers, Workspace

Repair = Annotated[bool, typer.Option("--repair", help="Compute damaged shards again.")]


def verify(
    workspace: Workspace = DEFAULT_WORKSPACE,
    repair: Repair = False,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Read every chunk, index and staged sample; say what is missing or damaged."""
    from fadae.cluster import cluster_mapper
    from fadae.errors import FadaeError
    from fadae.extract import extract_shard
    from fadae.reconstruct import reconstruct_again
    from fadae.store import verify as verification
    from fadae.store.location import Location

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
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
