"""The whole job: ingest, extract, train, reconstruct, one after the other; each goes on or is done.

Read this file for the order of things; each stage's own file says what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fadae.archive import Source, sources_of
from fadae.config import JobConfig
from fadae.errors import FadaeError
from fadae.stages.extract import extract
from fadae.stages.ingest import ingest
from fadae.stages.reconstruct import reconstruct
from fadae.store import Location, Mapper, generations, map_serially
from fadae.summaries import JobSummary, StageSummary
from fadae.training.launch import train


def run(
    workspace: Location | str,
    sources: Sequence[Source] | None = None,
    config: JobConfig | None = None,
    *,
    mapper: Mapper = map_serially,
    generation: str | None = None,
) -> JobSummary:
    """Run the four stages and return their summaries.

    Without `sources`, recordings come from where the config says. With a generation, each stage
    notes in the workspace that it ended in that.

    Repeating it does nothing but report. A stage's error ends the job with the stages' summaries
    so far: TransientError when recordings may still come, so that nothing is trained on a part.

    >>> training = fadae.TrainConfig(widths=(32, 8), epochs=3, ranks=1)
    >>> done = fadae.run(new_workspace, [fadae.FolderSource(folder)], JobConfig(train=training))
    >>> done.ingest.ok, done.extract.frames, done.reconstruct.frames
    (2, 26, 26)
    """
    location = Location.of(workspace)
    config = config or JobConfig()
    chosen, training = config.extract, config.train
    settings = config.ingest.settings(chosen.sample_rate, generations.checked(generation))
    chosen_sources = sources_of(config.ingest) if sources is None else sources
    stages: tuple[Callable[[], StageSummary], ...] = (
        lambda: ingest(location, chosen_sources, settings, mapper=mapper),
        lambda: extract(
            location,
            preset=chosen.preset,
            sample_rate_hz=chosen.sample_rate,
            dtype=chosen.dtype,
            keep_staging=chosen.keep_staging,
            mapper=mapper,
        ),
        lambda: train(location, training),
        # With --on-growth new another run than the one that was asked for.
        lambda: reconstruct(
            location,
            training.run if job.train is None else job.train.run,
            device=training.device,
            mapper=mapper,
        ),
    )
    job = JobSummary()
    for stage in stages:
        try:
            summary = stage()
        except FadaeError as error:
            error.summary = job.including(error.summary)
            raise
        job = job.including(summary)
        generations.note_summary(location, generation, summary)
    return job
