"""The demonstration: the whole job on an archive inside the package, with no network.

Bach, rendered from scores by a small synthesizer, is served as the Internet Archive serves it,
and goes through the same four stages as anything else.
"""

from __future__ import annotations

from pathlib import Path

import fadae
from fadae import figures, report
from fadae.archive import ArchiveSource
from fadae.audio.write import write
from fadae.config import JobConfig, TrainConfig
from fadae.embedded import IDENTIFIER, EmbeddedArchive, bach_item
from fadae.query import Workspace
from fadae.stages import pipeline
from fadae.store import Location, Mapper, map_serially
from fadae.summaries import DemoSummary

RUN = "demo"
HEARD = slice(0.0, 15.0)
# Eight minutes of music are far less than the experiment's: a higher learning rate makes up for
# some of the missing steps, a larger batch halves their cost between two ranks, and a quarter held
# out leaves more to learn from.
TRAINING = TrainConfig(
    run=RUN, epochs=20, batch_size=128, learning_rate=1e-3, holdout=0.25, ranks=2
)


def demo(folder: Path, *, mapper: Mapper = map_serially) -> DemoSummary:
    """Run the four stages in folder/workspace; write sounds and a picture beside it.

    Returns the stages' summaries and, under `wrote`, what lies where. Repeated, it trains nothing
    anew. mapper: of `cluster_mapper(demo_location(folder), ...)`.
    """
    item = bach_item(folder / "archive")
    with EmbeddedArchive([item]) as archive:
        source = ArchiveSource((IDENTIFIER,), url=archive.url)
        summaries = pipeline.run(
            demo_location(folder), [source], JobConfig(train=TRAINING), mapper=mapper
        )
    opened = fadae.open(demo_location(folder).url)
    return DemoSummary(
        summaries.ingest,
        summaries.extract,
        summaries.train,
        summaries.reconstruct,
        _show(opened, folder),
    )


def demo_location(folder: Path) -> Location:
    """Return the workspace of a demonstration in a folder."""
    return Location(str(folder / "workspace"))


def _show(workspace: Workspace, folder: Path) -> dict[str, str]:
    """Write what there is to hear and to see of a recording; return what lies where."""
    recording = workspace.recordings[0]
    wrote = {"workspace": workspace.location.url}
    sounds = {
        "original": workspace.audio(recording.id, HEARD),
        "reconstruction": workspace.audio(recording.id, HEARD, source=RUN),
        "random codes": workspace.generate(RUN, method="normal", seconds=HEARD.stop),
    }
    for name, samples in sounds.items():
        path = folder / f"{name.replace(' ', '-')}.ogg"
        write(path, samples, workspace.rate_hz)
        wrote[name] = str(path)
    pictures = {
        "picture": report.side_by_side(
            workspace, recording.id, RUN, (HEARD.start, HEARD.stop), recording.title
        ),
        "curves": figures.training_curves(workspace.metrics(RUN)),
    }
    for name, png in pictures.items():
        path = folder / f"{name}.png"
        path.write_bytes(png)
        wrote[name] = str(path)
    return wrote
