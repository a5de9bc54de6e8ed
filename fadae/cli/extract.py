"""`fadae extract`: staged PCM to features.zarr."""

from __future__ import annotations

from fadae.cli.options import (
    DEFAULT_WORKSPACE,
    Dtype,
    Preset,
    SampleRate,
    Scheduler,
    Summary,
    Workers,
    Workspace,
)


def extract(
    workspace: Workspace = DEFAULT_WORKSPACE,
    preset: Preset = "seed",
    sample_rate: SampleRate = 11025,
    dtype: Dtype = "float16",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Extract features of all that is ingested and not yet extracted."""
    from fadae import extract as stage
    from fadae.cluster import cluster_mapper
    from fadae.store.location import Location

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.extract(
            location, preset=preset, sample_rate_hz=sample_rate, dtype=dtype, mapper=mapper
        )
