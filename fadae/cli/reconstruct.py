"""`fadae reconstruct`: features to codes, reconstructed features, audio and scores."""

from __future__ import annotations

from fadae.cli.options import (
    DEFAULT_WORKSPACE,
    Device,
    Scheduler,
    Summary,
    WhichRun,
    Workers,
    Workspace,
)


def reconstruct(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: WhichRun = None,
    device: Device = "auto",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Write what a run makes of all features: codes, features, audio, scores."""
    from fadae import reconstruct as stage
    from fadae.cluster import cluster_mapper
    from fadae.store.location import Location

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.reconstruct(location, run, device=device, mapper=mapper)
