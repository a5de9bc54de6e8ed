"""The commands that run stages: `run`, `demo`, `ingest`, `extract`, `train`, `reconstruct`."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fadae.cli.output import Shown, plain
from fadae.config import (
    DEFAULT_ARCHIVE_URL,
    DEFAULT_ITEM,
    DEFAULT_WORKSPACE,
    ArchiveUrl,
    Collection,
    Contact,
    Device,
    Downloads,
    Dtype,
    Folder,
    FollowLinks,
    Formats,
    Items,
    KeepSource,
    Limit,
    PluggedIn,
    Preset,
    Refresh,
    Retry,
    Run,
    SampleRate,
    Scheduler,
    Search,
    Summary,
    WhichRun,
    Workers,
    Workspace,
)

if TYPE_CHECKING:
    from fadae.archive import Source
    from fadae.config import Settings, TrainConfig, WhichFailures

DemoFolder = Annotated[Path, typer.Option("--to", help="Folder to write to.")]

KeepDamaged = Annotated[
    bool, typer.Option("--keep-damaged", help="Keep a damaged recording up to the damage.")
]
MaxHours = Annotated[float, typer.Option(min=0, help="Longest recording, in hours.")]
MaxChannels = Annotated[int, typer.Option(min=1, help="Most channels of a recording.")]
MaxRate = Annotated[int, typer.Option(min=1, metavar="HZ", help="Highest rate of a recording.")]
MaxMegabytes = Annotated[int, typer.Option(min=1, help="Largest file, in 10^6 bytes.")]

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


def run(**options: Any) -> Summary:
    """Ingest, extract, train and reconstruct; what is done already is left alone."""
    from fadae.cluster import cluster_mapper
    from fadae.config import Recipe
    from fadae.errors import UsageError
    from fadae.stages import pipeline
    from fadae.store import Location

    options["launcher"] = options["launcher"] or "local"
    if options["launcher"] == "torchrun":
        raise UsageError(
            "--launcher torchrun starts one rank of a training, not a whole job: run the stages "
            "one by one, or use --launcher local or dask"
        )
    location = Location(options["workspace"])
    recipe = Recipe(
        settings=chosen_settings(options),
        preset=options["preset"],
        dtype=options["dtype"],
        training=chosen_training(options),
    )
    selection = (
        "items",
        "collection",
        "search",
        "folder",
        "source",
        "formats",
        "archive_url",
        "contact",
    )
    sources = chosen_sources(
        *(options[name] for name in selection), follow_links=options["follow_links"]
    )
    with cluster_mapper(location, options["scheduler"], options["workers"]) as mapper:
        return pipeline.run(location, sources, recipe, mapper=mapper)


def _options_of(*commands: Callable[..., Summary]) -> inspect.Signature:
    """Return the options of several commands, each once, as one signature."""
    together: dict[str, inspect.Parameter] = {}
    for command in commands:
        for name, option in inspect.signature(command, eval_str=True).parameters.items():
            together.setdefault(name, option)
    return inspect.Signature(list(together.values()), return_annotation=Summary)


def ingest(
    items: Items = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    collection: Collection = None,
    search: Search = None,
    folder: Folder = None,
    source: PluggedIn = None,
    follow_links: FollowLinks = False,
    limit: Limit = None,
    formats: Formats = None,
    archive_url: ArchiveUrl = DEFAULT_ARCHIVE_URL,
    contact: Contact = "",
    downloads: Downloads = 4,
    keep_source: KeepSource = False,
    keep_damaged: KeepDamaged = False,
    retry: Retry = "transient",
    refresh: Refresh = False,
    sample_rate: SampleRate = 11025,
    max_hours: MaxHours = 4.0,
    max_channels: MaxChannels = 32,
    max_rate: MaxRate = 384_000,
    max_megabytes: MaxMegabytes = 4_000,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Fetch, decode and stage recordings."""
    options = dict(locals())
    from fadae.cluster import cluster_mapper
    from fadae.stages import ingest as stage
    from fadae.store import Location

    location, settings = Location(workspace), chosen_settings(options)
    sources = chosen_sources(
        items,
        collection,
        search,
        folder,
        source,
        formats,
        archive_url,
        contact,
        follow_links=follow_links,
    )
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.ingest(location, sources, settings, mapper=mapper)


def extract(
    workspace: Workspace = DEFAULT_WORKSPACE,
    preset: Preset = "seed",
    sample_rate: SampleRate = 11025,
    dtype: Dtype = "float16",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Extract features of all that is ingested and not yet extracted."""
    from fadae.cluster import cluster_mapper
    from fadae.stages import extract as stage
    from fadae.store import Location

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.extract(
            location, preset=preset, sample_rate_hz=sample_rate, dtype=dtype, mapper=mapper
        )


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
    from fadae.store import Location
    from fadae.training import launch

    options["launcher"] = launcher or ("torchrun" if launch.in_environment() else "local")
    return launch.train(Location(workspace), chosen_training(options))


run.__signature__ = _options_of(ingest, extract, train)  # type: ignore[attr-defined]


def demo(to: DemoFolder = Path("demo"), workers: Workers = None) -> Summary:
    """Run the four stages on Bach from the embedded archive, with no network."""
    from fadae import demo as demonstration
    from fadae.cluster import cluster_mapper

    folder = to.absolute()
    with cluster_mapper(demonstration.demo_location(folder), None, workers) as mapper:
        summary = demonstration.demo(folder, mapper=mapper)
    return closing(summary, to)


def closing(summary: Summary, to: Path) -> Shown:
    """Return the summary with the command that opens the result as its last line."""
    serve = f"fadae serve -w {shlex.quote(str(to / 'workspace'))}"
    return Shown(summary, f"{plain(summary)}\n\nTo listen in a browser:\n{serve}")


def chosen_settings(options: Mapping[str, Any]) -> Settings:
    """Return what the options of a command line ask of an ingest; raises UsageError.

    Options are passed on by their names; those named or measured otherwise are translated.
    """
    from fadae.config import Limits, Settings

    names = {field.name for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in options.items() if name in names}
    given |= {
        "rate_hz": options["sample_rate"],
        "retry": chosen_retry(options["retry"]),
        "limits": Limits(
            decoded_seconds=3600 * options["max_hours"],
            channels=options["max_channels"],
            source_rate_hz=options["max_rate"],
            file_bytes=1_000_000 * options["max_megabytes"],
        ),
    }
    return Settings(**given)


def chosen_retry(name: str) -> WhichFailures:
    """Return which failures a command line asks to try again; raises UsageError."""
    from fadae.config import WhichFailures
    from fadae.errors import UsageError

    try:
        return WhichFailures(name)
    except ValueError:
        names = ", ".join(WhichFailures)
        raise UsageError(f"--retry is one of {names}, not {name!r}") from None


def chosen_sources(
    items: list[str] | None,
    collections: list[str] | None,
    searches: list[str] | None,
    folders: list[str] | None,
    others: list[str] | None,
    formats: list[str] | None,
    archive_url: str,
    contact: str,
    *,
    follow_links: bool = False,
) -> list[Source]:
    """Return the sources that a command line asks for; the default item where it asks for none."""
    from fadae.archive import CONTACT, ArchiveSource, FolderSource, collection_query, plugged_in

    queries = [*map(collection_query, collections or []), *(searches or [])]
    if not (items or queries or folders or others):
        items = [DEFAULT_ITEM]
    sources: list[Source] = [FolderSource(url, follow_links=follow_links) for url in folders or []]
    sources += map(plugged_in, others or [])
    if items or queries:
        archive = ArchiveSource(
            tuple(items or ()),
            tuple(queries),
            tuple(formats or ()),
            archive_url,
            contact or CONTACT,
        )
        sources.insert(0, archive)
    return sources


def chosen_training(options: Mapping[str, Any]) -> TrainConfig:
    """Return the training that the options of a command line ask for; raises UsageError.

    Options are passed on by their names; those named or measured otherwise are translated.
    """
    from fadae.config import TrainConfig
    from fadae.errors import UsageError

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


def reconstruct(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: WhichRun = None,
    device: Device = "auto",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Write what a run makes of all features: codes, features, audio, scores."""
    from fadae.cluster import cluster_mapper
    from fadae.stages import reconstruct as stage
    from fadae.store import Location

    location = Location(workspace)
    with cluster_mapper(location, scheduler, workers) as mapper:
        return stage.reconstruct(location, run, device=device, mapper=mapper)
