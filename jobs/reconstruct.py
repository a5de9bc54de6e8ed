"""Write codes, features and audio of a run: python jobs/reconstruct.py -w s3://bucket/bach"""

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Run, Scheduler, Summary, Workers, Workspace
from fadae.cli.reporting import reporting
from fadae.cluster import cluster_mapper
from fadae.reconstruct import reconstruct
from fadae.store.location import Location


def job(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: Run = "default",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Write what a run makes of all features."""
    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return reconstruct(location, run, mapper=mapper)


if __name__ == "__main__":
    typer.run(reporting(job))
