"""The command `fadae`: its commands by name, nothing else.

Commands import the library inside their functions, so that `fadae --help` and the workers of the
first two stages load no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

import fadae
from fadae.cli.demo import demo
from fadae.cli.estimate import estimate
from fadae.cli.extract import extract
from fadae.cli.generate import generate
from fadae.cli.info import info
from fadae.cli.ingest import ingest
from fadae.cli.query import query
from fadae.cli.reconstruct import reconstruct
from fadae.cli.report import report
from fadae.cli.reporting import reporting
from fadae.cli.run import run
from fadae.cli.serve import serve
from fadae.cli.train import train
from fadae.cli.verify import verify
from fadae.cli.wait import wait

# In the order `fadae --help` shows them.
COMMANDS: tuple[Callable[..., dict[str, Any] | None], ...] = (
    run,
    demo,
    ingest,
    extract,
    train,
    reconstruct,
    generate,
    info,
    query,
    report,
    serve,
    verify,
    wait,
    estimate,
)

app = typer.Typer(
    name="fadae",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in COMMANDS:
    app.command()(reporting(command))


def _version(wanted: bool) -> None:
    if wanted:
        print(fadae.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Learn a compressed code for music: ingest, extract, train, reconstruct."""


def main() -> None:
    """Run the command line."""
    app()
