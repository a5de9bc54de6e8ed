"""The command `fadae`: its commands by name, nothing else.

Commands import the library inside their functions, so that `fadae --help` and the workers of the
first two stages load no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from fadae._version import __version__
from fadae.cli.admin import check, config, prune, verify, wait
from fadae.cli.coding import decode, encode
from fadae.cli.comparing import compare
from fadae.cli.export import cite, export
from fadae.cli.forgetting import forget
from fadae.cli.kubernetes import conduct, kubernetes
from fadae.cli.listen import listen
from fadae.cli.output import Summary, reporting
from fadae.cli.progress import estimate, status
from fadae.cli.reading import generate, info, log, query, report, serve
from fadae.cli.runs import runs
from fadae.cli.similar import duplicates, similar
from fadae.cli.stages import demo, extract, ingest, reconstruct, run, train
from fadae.cli.watch import watch

# In the order `fadae --help` shows them.
COMMANDS: tuple[Callable[..., Summary | Iterator[Summary] | None], ...] = (
    run,
    demo,
    ingest,
    extract,
    train,
    reconstruct,
    watch,
    encode,
    decode,
    compare,
    generate,
    status,
    info,
    runs,
    query,
    similar,
    duplicates,
    report,
    serve,
    export,
    cite,
    listen,
    log,
    verify,
    prune,
    forget,
    wait,
    estimate,
    config,
    kubernetes,
    conduct,
    check,
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
        print(__version__)
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
