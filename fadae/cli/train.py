"""`fadae train`: features to a trained run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Device, Run, Scheduler, Summary, Workspace

if TYPE_CHECKING:
    from fadae.training.config import TrainConfig

# The variables are what k8s/overlays/*/settings.yaml sets.
Epochs = Annotated[
    int,
    typer.Option(min=1, envvar="FADAE_EPOCHS", help="Passes over the training frames; may grow."),
]
MaxSteps = Annotated[
    int | None,
    typer.Option(min=1, envvar="FADAE_MAX_STEPS", help="Stop after this many steps; may grow."),
]
BatchSize = Annotated[
    int, typer.Option(min=1, envvar="FADAE_BATCH_SIZE", help="Frames a step, over all ranks.")
]
LearningRate = Annotated[float, typer.Option("--lr", help="Learning rate for Adam.")]
Holdout = Annotated[float, typer.Option(help="Share of the frames held out, by recording.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights, holdout, samples and order.")]
MaxFrames = Annotated[
    int | None,
    typer.Option(min=1, envvar="FADAE_MAX_FRAMES", help="Train on a seeded sample of frames."),
]
Ranks = Annotated[int, typer.Option(min=1, help="Processes that share every batch.")]
Launcher = Annotated[
    str | None,
    typer.Option(help="local, torchrun or dask; torchrun where RANK and WORLD_SIZE are set."),
]
Precision = Annotated[str, typer.Option(help="fp32, or bf16: autocast, weights stay fp32.")]
Reduction = Annotated[str, typer.Option(help="fast, or exact: the same bits at 1, 2, 4 ranks.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard the run first.")]


def train(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: Run = "default",
    model: Annotated[
        str, typer.Option(help="dense, pca, or a model of another installed package.")
    ] = "dense",
    widths: Annotated[
        str, typer.Option(help="Widths of the encoder's layers, the code's last.")
    ] = "1024,512,256",
    model_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the model's own; may be repeated."),
    ] = None,
    epochs: Epochs = 100,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = 64,
    lr: LearningRate = 5e-5,
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps up to the learning rate.")] = 0,
    schedule: Annotated[str, typer.Option(help="constant or cosine.")] = "constant",
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Weight decay, decoupled (AdamW).")
    ] = 0.0,
    clip_norm: Annotated[float | None, typer.Option(help="Greatest norm of a gradient.")] = None,
    holdout: Holdout = 0.5,
    max_frames: MaxFrames = None,
    seed: Seed = 0,
    ranks: Ranks = 2,
    launcher: Launcher = None,
    scheduler: Scheduler = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    reduction: Reduction = "fast",
    micro_batch: Annotated[
        int | None, typer.Option(min=1, help="Frames at a time on a rank; gradients add up.")
    ] = None,
    evaluate_epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Epochs between evaluations; default about ten evaluations a run."
        ),
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many evaluations without improvement."),
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Time between checkpoints.")] = 120.0,
    checkpoint_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps between checkpoints as well.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest checkpoints to keep.")] = 2,
    cache_gb: Annotated[float, typer.Option(min=0, help="Memory of a rank for frames.")] = 4.0,
    restarts: Annotated[int, typer.Option(min=0, help="Times to start lost ranks again.")] = 3,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Wait for a rank before it is lost."),
    ] = 300.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")
    ] = False,
    fresh: Fresh = False,
) -> Summary:
    """Train an autoencoder on the features, from wherever the run stands."""
    options = dict(locals())
    from fadae.store.location import Location
    from fadae.training import launch

    options["launcher"] = launcher or ("torchrun" if launch.in_environment() else "local")
    return launch.train(Location(workspace), chosen_training(options))


def chosen_training(options: Mapping[str, Any]) -> TrainConfig:
    """Return the training that the options of a command line ask for; raises UsageError.

    Options are passed on by their names; those named or measured otherwise are translated.
    """
    from fadae.errors import UsageError
    from fadae.training.config import TrainConfig

    widths = options["widths"].split(",")
    if not all(width.strip().isdigit() for width in widths):
        raise UsageError(
            f"--widths {options['widths']}: whole numbers with commas between, as 1024,512,256"
        )
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {name: value for name, value in options.items() if name in names}
    given |= {
        "widths": tuple(int(width) for width in widths),
        "options": dict(_option(text) for text in options["model_option"] or []),
        "learning_rate": options["lr"],
        "cache_bytes": int(options["cache_gb"] * 2**30),
        "timeout_seconds": options["timeout"],
    }
    return TrainConfig(**given)


def _option(text: str) -> tuple[str, object]:
    """Return the name and the value of a model's option, JSON or a plain text.

    >>> _option("keep=16"), _option("rate=average"), _option("widths=[32, 8]")
    (('keep', 16), ('rate', 'average'), ('widths', [32, 8]))
    """
    import json

    from fadae.errors import UsageError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--model-option {text}: NAME=VALUE, as keep=16")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
