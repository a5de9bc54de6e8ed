"""The command for listeners who must not know what they hear: `listen`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Summary
from fadae.cli.reading import Open, Port, TokenFile, token_of
from fadae.config import Job
from fadae.errors import UsageError

MoreRuns = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help="More runs of --mushra.")
]
Abx = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="RUN RUN", help="Can these two be told apart? Runs, original, transform."),
]
Mushra = Annotated[
    list[str] | None,
    typer.Option(metavar="RUN...", help="How good are these, from 0 to 100? Runs, or transform."),
]
Trials = Annotated[
    int | None,
    typer.Option(min=1, max=200, help="How many trials. Default: 16 of --abx, 8 of --mushra."),
]
Seconds = Annotated[float, typer.Option(min=1, max=30, help="Seconds of each sound.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**32 - 1, help="Parts and orders of an earlier test; default: new."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Play recordings that a run was trained on, too.")
]
Results = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="CSV to add rows to. Default: ./abx.csv or ./mushra.csv."),
]
Listener = Annotated[str, typer.Option(help="Who listens, for the rows of the results.")]


def listen(
    runs: MoreRuns = None,
    workspace: str = picked(Job, "workspace"),
    abx: Abx = None,
    mushra: Mushra = None,
    trials: Trials = None,
    seconds: Seconds = 8.0,
    seed: Seed = None,
    everything: Everything = False,
    results: Results = None,
    listener: Listener = "",
    port: Port = 8643,
    token_file: TokenFile = None,
    open_page: Open = False,
) -> Summary:
    """Open a blind listening test in the browser: ABX of two, or MUSHRA of several."""
    import fadae
    from fadae.web import BlindConfig, BlindTest, serve_blind

    if (abx is None) == (not mushra) or (runs and not mushra):
        raise UsageError("a blind test is --abx RUN RUN or --mushra RUN...")
    config = BlindConfig(
        kind="mushra" if abx is None else "abx",
        sources=(*(mushra or ()), *(runs or ())) if abx is None else abx,
        trials=trials or (16 if abx else 8),
        seconds=seconds,
        seed=secrets.randbelow(2**32) if seed is None else seed,
        everything=everything,
    )
    file = results or Path(f"{config.kind}.csv")
    test = BlindTest(fadae.open(workspace), config, file, listener)

    def ready(url: str) -> None:
        print(f"the blind test is open at {url} (Ctrl-C ends it; answers are kept)", flush=True)
        if open_page:
            typer.launch(url)

    serve_blind(test, port=port, token=token_of(token_file), ready=ready)
    return test.summary()
