"""fadae learns a compressed code for music, at any scale.

One job has four stages. Each takes a workspace, the URL of a folder or bucket, goes on where it
was stopped, and returns a summary:

    ingest       recordings of a source, decoded and resampled
    extract      their frequency-adaptive coefficients, in features.zarr
    train        a model that encodes and decodes them
    reconstruct  codes, features and sound of all that was ingested, with scores

`run` is all four in a row:

    source = fadae.ArchiveSource(("AOC11B",))        # or fadae.FolderSource("my/music")
    fadae.run("s3://bucket/bach", [source])

`open` gives what a workspace holds, by recording, time and band:

    ws = fadae.open("s3://bucket/bach")
    ws.search("fugue")
    ws.audio("AOC11B/01.ogg", seconds=slice(0, 10), source="transform")

The examples below start from `folder`, with two recordings of 4 s, and `workspace`, which `run`
made of them:

>>> ws = fadae.open(workspace)
>>> [recording.file for recording in ws.recordings]
['a4.flac', 'c5.flac']
>>> name = ws.recordings[0].id
>>> ws.audio(name, seconds=slice(1, 3), source="transform").shape
(22050,)
>>> dict(ws.rasterize(name, seconds=slice(1, 3), hz=slice(400, 600)).sizes)
{'band': 54, 'time': 56}
>>> codes = ws.codec().encode(ws.coefficients(name))
>>> codes.values.shape, ws.codec().decode(codes).shape
((13, 8), (13, 8192))

Names are loaded on first use, so that `import fadae` stays light: torch is only imported by what
trains or runs a model.
"""

from typing import TYPE_CHECKING

from fadae._lazy import lazily
from fadae._version import __version__

if TYPE_CHECKING:
    from fadae.archive import ArchiveSource, FolderSource
    from fadae.config import JobConfig, TrainConfig, load_config
    from fadae.errors import FadaeError, NoInputError, TransientError, UsageError
    from fadae.model import Codec, Codes
    from fadae.query import Recording, Workspace, open
    from fadae.records import CodeSpec
    from fadae.stages.extract import extract
    from fadae.stages.ingest import ingest
    from fadae.stages.pipeline import run
    from fadae.stages.reconstruct import reconstruct
    from fadae.training.launch import train
    from fadae.transform import FrequencyAdaptiveTransform, Transform
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.archive": ["ArchiveSource", "FolderSource"],
            "fadae.config": ["JobConfig", "TrainConfig", "load_config"],
            "fadae.errors": ["FadaeError", "NoInputError", "TransientError", "UsageError"],
            "fadae.model": ["Codec", "Codes"],
            "fadae.query": ["Recording", "Workspace", "open"],
            "fadae.records": ["CodeSpec"],
            "fadae.stages.extract": ["extract"],
            "fadae.stages.ingest": ["ingest"],
            "fadae.stages.pipeline": ["run"],
            "fadae.stages.reconstruct": ["reconstruct"],
            "fadae.training.launch": ["train"],
            "fadae.transform": ["FrequencyAdaptiveTransform", "Transform"],
        },
    )

__all__ = [
    "ArchiveSource",
    "CodeSpec",
    "Codec",
    "Codes",
    "FadaeError",
    "FolderSource",
    "FrequencyAdaptiveTransform",
    "JobConfig",
    "NoInputError",
    "Recording",
    "TrainConfig",
    "Transform",
    "TransientError",
    "UsageError",
    "Workspace",
    "__version__",
    "extract",
    "ingest",
    "load_config",
    "open",
    "reconstruct",
    "run",
    "train",
]


def __dir__() -> list[str]:
    """Name what is public, so that `help(fadae)` and completion show what is not loaded yet."""
    return [*__all__, "__doc__", "__name__", "__path__"]
