"""`fadae run`: the four stages in a row."""

from __future__ import annotations

from fadae.cli.ingest import chosen_retry, chosen_sources
from fadae.cli.options import (
    DEFAULT_ARCHIVE_URL,
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
    Preset,
    Refresh,
    Retry,
    Run,
    SampleRate,
    Scheduler,
    Search,
    Summary,
    Workers,
    Workspace,
)
from fadae.cli.train import (
    BatchSize,
    Epochs,
    Fresh,
    Holdout,
    Launcher,
    LearningRate,
    MaxFrames,
    MaxSteps,
    Precision,
    Ranks,
    Reduction,
    Seed,
)


def run(
    items: Items = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    collection: Collection = None,
    search: Search = None,
    folder: Folder = None,
    follow_links: FollowLinks = False,
    limit: Limit = None,
    formats: Formats = None,
    archive_url: ArchiveUrl = DEFAULT_ARCHIVE_URL,
    contact: Contact = "",
    downloads: Downloads = 4,
    keep_source: KeepSource = False,
    retry: Retry = "transient",
    refresh: Refresh = False,
    preset: Preset = "seed",
    sample_rate: SampleRate = 11025,
    dtype: Dtype = "float16",
    run: Run = "default",
    epochs: Epochs = 100,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = 64,
    lr: LearningRate = 5e-5,
    holdout: Holdout = 0.5,
    max_frames: MaxFrames = None,
    seed: Seed = 0,
    ranks: Ranks = 2,
    launcher: Launcher = None,
    precision: Precision = "fp32",
    reduction: Reduction = "fast",
    device: Device = "auto",
    fresh: Fresh = False,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> Summary:
    """Ingest, extract, train and reconstruct; what is done already is left alone."""
    from fadae import pipeline
    from fadae.cluster import cluster_mapper
    from fadae.errors import UsageError
    from fadae.ingest import Settings
    from fadae.store.location import Location
    from fadae.training.config import TrainConfig

    if launcher == "torchrun":
        raise UsageError(
            "--launcher torchrun starts one rank of a training, not a whole job: run the stages "
            "one by one, or use --launcher local or dask"
        )
    location = Location(workspace)
    recipe = pipeline.Recipe(
        settings=Settings(
            rate_hz=sample_rate, downloads=downloads, limit=limit, keep_source=keep_source,
            retry=chosen_retry(retry), refresh=refresh,
        ),
        preset=preset,
        dtype=dtype,
        training=TrainConfig(
            run=run, epochs=epochs, max_steps=max_steps, batch_size=batch_size, learning_rate=lr,
            holdout=holdout, max_frames=max_frames, seed=seed, ranks=ranks,
            launcher=launcher or "local", scheduler=scheduler, device=device,
            precision=precision, reduction=reduction, fresh=fresh,
        ),
    )  # fmt: skip
    sources = chosen_sources(
        items, collection, search, folder, formats, archive_url, contact, follow_links=follow_links
    )
    with cluster_mapper(location, scheduler, workers) as mapper:
        return pipeline.run(location, sources, recipe, mapper=mapper)
