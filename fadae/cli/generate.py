"""`fadae generate`: sound that no recording holds, from a run's codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Summary, WhichRun, Workspace
from fadae.errors import UsageError

Method = Annotated[
    str, typer.Option(help="normal: independent codes; walk: moving as music does; interpolate.")
]
Seconds = Annotated[float, typer.Option(min=0.01, max=3600, help="How long.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, other sound; the same, the same.")]
Between = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="ID ID", help="The recordings to interpolate between."),
]
To = Annotated[Path, typer.Option("--to", help="File to write: .ogg, .flac, .wav or .mp3.")]


def generate(
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: WhichRun = None,
    method: Method = "walk",
    seconds: Seconds = 10.0,
    seed: Seed = 0,
    between: Between = None,
    to: To = Path("generated.ogg"),
) -> Summary:
    """Make new codes with the statistics of a run's, or between two recordings; write the sound."""
    import fadae
    from fadae.audio.write import write

    opened = fadae.open(workspace)
    run = opened.default_run if run is None else run
    if between is not None:
        method = "interpolate"
    samples = opened.generate(run, method=method, seconds=seconds, seed=seed, between=between)
    try:
        write(to, samples, opened.rate_hz)
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
    return {
        "run": run, "method": method, "seed": seed, "seconds": len(samples) / opened.rate_hz,
        "samples": len(samples), "rate_hz": opened.rate_hz, "file": str(to),
    }  # fmt: skip
