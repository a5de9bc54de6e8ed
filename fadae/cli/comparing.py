"""The command about many codes: `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary
from fadae.config import Job
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.compare import Comparison
    from fadae.store import Location

Runs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Runs to compare; default: all. Or more --files."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--files",
        metavar="FILE...",
        help="Audio files or folders to compare over, instead of the workspace's recordings.",
    ),
]
CodeBytes = Annotated[
    list[int] | None,
    typer.Option(
        "--code-bytes", min=16, max=8192, help="Bytes a row; repeatable; default 128, 256, 512."
    ),
]
Seconds = Annotated[
    float, typer.Option(min=1, max=600, help="Seconds of each recording, from its middle.")
]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most this many recordings.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Take recordings that a code was trained on, too.")
]
Codecs = Annotated[
    bool, typer.Option("--codecs/--no-codecs", help="Compare Opus, AAC, MP3 and Vorbis too.")
]
Visqol = Annotated[
    bool, typer.Option("--visqol", help="Measure ViSQOL too: slow; needs fadae[visqol].")
]
Fill = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Show byte codes also with noise of this strength where they hold zeros."
    ),
]
Name = Annotated[str, typer.Option("--name", help="Name of the comparison.")]
Folder = Annotated[
    Path | None,
    typer.Option("--to", metavar="FOLDER", help="Write NAME.json, .png and .md here as well."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap intervals.")]


def compare(
    runs: Runs = None,
    workspace: str = picked(Job, "workspace"),
    files: Files = None,
    code_bytes: CodeBytes = None,
    seconds: Seconds = 30.0,
    limit: Limit = 12,
    everything: Everything = False,
    codecs: Codecs = True,
    fill: Fill = 0.0,
    visqol: Visqol = False,
    name: Name = "default",
    seed: Seed = 0,
    to: Folder = None,
) -> Summary:
    """Compare codes by rate and distortion: runs, the packaged model, Opus, AAC, MP3 and Vorbis."""
    from fadae.compare import CompareConfig, table
    from fadae.compare import compare as compared
    from fadae.store import Location

    location = Location(workspace)
    named, paths = _runs_and_files(location, runs or [], files or [])
    config = CompareConfig(
        runs=named,
        files=paths,
        name=name,
        seconds=seconds,
        limit=limit,
        everything=everything,
        codecs=codecs,
        fill=fill,
        visqol=visqol,
        seed=seed,
        **({"code_bytes": tuple(sorted(set(code_bytes)))} if code_bytes else {}),
    )
    comparison = compared(location, config)
    if to is not None:
        _write_comparison(to, comparison)
    return Shown(dict(comparison), table.text(comparison))


def _runs_and_files(
    location: Location, names: list[str], files: list[Path]
) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the runs and the files: a shell writes `--files *.ogg` as one and many more names."""
    if not files:
        return tuple(names), ()
    from fadae.training import trained_runs

    known = trained_runs(location)
    more = [Path(name) for name in names if name not in known and Path(name).exists()]
    runs = [name for name in names if Path(name) not in more]
    return tuple(runs), (*files, *more)


def _write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write a comparison as JSON, as a table and as a plot."""
    from fadae import figures
    from fadae.compare import result, table

    name = comparison["name"]
    written = {
        f"{name}.json": result.to_json(comparison).encode(),
        f"{name}.md": table.markdown(comparison).encode(),
        f"{name}.png": figures.rate_distortion(comparison),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in written.items():
            (folder / file).write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
