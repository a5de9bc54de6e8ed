"""One rank of a training: torchrun --nproc-per-node 2 -- jobs/train.py -w s3://bucket/bach

The -- keeps torchrun from reading our options, which are those of `fadae train`. Each process is
one rank; torchrun, or a Kubernetes Job, sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

import typer

from fadae.cli import reporting, train

if __name__ == "__main__":
    typer.run(reporting(train))
