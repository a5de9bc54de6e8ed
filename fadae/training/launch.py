"""`train`: one trainer, three ways to start its ranks."""

from __future__ import annotations

import dataclasses
import os

from fadae.config import TrainConfig
from fadae.errors import UsageError
from fadae.store import FeatureSet, Location, publish_listing
from fadae.summaries import TrainSummary
from fadae.tracking import ensure_trackers
from fadae.training.run import Run, run_to_train

_FROM_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def train(workspace: Location | str, config: TrainConfig | None = None) -> TrainSummary:
    """Train a run to its end, from wherever it stands; return its summary.

    A finished run answers at once. Raises UsageError where it was started with other settings,
    NoInputError where there is nothing to train on, TransientError when it was preempted or lost
    ranks too often (what is saved remains), FadaeError when the loss is not finite.

    >>> config = fadae.TrainConfig(run="small", widths=(32, 8), epochs=3, ranks=1)
    >>> done = fadae.train(workspace, config)
    >>> done.run, done.steps, done.train_frames, done.holdout_frames
    ('small', 3, 13, 13)
    """
    location, config = Location.of(workspace), config or TrainConfig()
    location.ensure_writable()
    if config.on_growth == "new" and not config.fresh:
        config = dataclasses.replace(config, run=run_to_train(location, config))
    run = Run(location, config.run)
    if config.launcher == "auto":
        launcher = "torchrun" if in_environment() else "local"
        config = dataclasses.replace(config, launcher=launcher)
    if config.launcher == "torchrun":
        return _train_as_one_rank(location, config)
    ranks = config.ranks or 1
    if location.is_in_process and (ranks > 1 or config.launcher == "dask"):
        raise UsageError(f"{location.url} exists inside this process only: train with --ranks 1")
    if config.launcher == "local" and ranks > 1 and config.device.startswith("cuda:"):
        raise UsageError(
            f"--device {config.device} is one GPU, {ranks} ranks want one each: --device "
            "cuda, or --ranks 1"
        )
    config.check_ranks(ranks)
    location.ensure_workspace()
    if config.launcher == "local":
        ensure_trackers(config.track, location)
    if config.fresh:
        run.discard()
    done = run.finished(config)
    if done is not None:
        publish_listing(location)  # whoever ended the run may have been killed before it did
        return done
    FeatureSet.open(location)  # said at once, not by ranks that have just loaded torch
    if config.launcher == "dask":
        from fadae.training.launch_dask import train_on_workers

        return train_on_workers(location, config)
    ranks = config.ranks or _ranks_here(location, config)
    if ranks == 1:
        return _train_here(location, config)
    from fadae.training.launch_local import train_in_processes

    return train_in_processes(location, config, ranks)


def _ranks_here(location: Location, config: TrainConfig) -> int:
    """Return how many ranks share a run on this machine unless asked: one a GPU, else one."""
    if location.is_in_process:
        return 1
    from fadae.model import gpus_of

    return config.ranks_within(gpus_of(config.device))


def in_environment() -> bool:
    """Return whether this process was started as one rank, by torchrun or a Kubernetes Job."""
    return all(name in os.environ for name in _FROM_ENVIRONMENT)


def _train_here(location: Location, config: TrainConfig) -> TrainSummary:
    """Train as the only rank, in this process."""
    from fadae.training.process import stop_flag
    from fadae.training.ranks import join_ranks
    from fadae.training.trainer import train_rank

    with (
        stop_flag() as stopping,
        join_ranks(0, 1, None, config.device, config.timeout_seconds) as ranks,
    ):
        return train_rank(location, config, ranks, stopping)


def _train_as_one_rank(location: Location, config: TrainConfig) -> TrainSummary:
    """Train as the rank that the environment says; whoever started it starts it again on 75."""
    if not in_environment():
        raise UsageError(
            f"--launcher torchrun takes {', '.join(_FROM_ENVIRONMENT)} from the environment; "
            "start under torchrun, set them, or use --launcher local"
        )
    from fadae.training.launch_local import train_as_rank

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if location.is_in_process:
        raise UsageError(f"{location.url} exists inside this process only: --launcher local")
    config.check_ranks(world)
    done = None if config.fresh else Run(location, config.run).finished(config)
    return train_as_rank(location, config, rank, world) if done is None else done
