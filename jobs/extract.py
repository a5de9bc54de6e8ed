"""Extract features of what is ingested: python jobs/extract.py -w s3://bucket/bach"""

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Scheduler, Summary, Workers, Workspace
from fadae.cli.reporting import reporting
from fadae.cluster import cluster_mapper
from fadae.extract import extract
from fadae.store.location import Location


def job(
    workspace: Workspace = DEFAULT_WORKSPACE, scheduler: Scheduler = None, workers: Workers = None
) -> Summary:
    """Write frequency-adaptive features to features.zarr."""
    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return extract(location, mapper=mapper)


if __name__ == "__main__":
    typer.run(reporting(job))
