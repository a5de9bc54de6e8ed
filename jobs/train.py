"""One rank of a training: torchrun --nproc-per-node 2 -- jobs/train.py -w s3://bucket/bach

The -- keeps torchrun from reading our options. Each process is one rank; torchrun, or a Kubernetes
Job, sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Run, Summary, Workspace
from fadae.cli.reporting import reporting
from fadae.cli.train import Epochs, MaxSteps
from fadae.store.location import Location
from fadae.training.config import TrainConfig
from fadae.training.launch import train


def job(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: Run = "default",
    epochs: Epochs = 100,
    max_steps: MaxSteps = None,
) -> Summary:
    """Train the 2017 experiment's autoencoder as one rank of many."""
    config = TrainConfig(run=run, epochs=epochs, max_steps=max_steps, launcher="torchrun")
    return train(Location(workspace), config)


if __name__ == "__main__":
    typer.run(reporting(job))
