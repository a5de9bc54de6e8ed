"""The command line: thin commands, each calling one function of the library."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.cli.app import main
    from fadae.cli.derive import picked
    from fadae.cli.output import Summary, reporting
    from fadae.cli.stages import extract, ingest, reconstruct, train
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.cli.app": ["main"],
            "fadae.cli.derive": ["picked"],
            "fadae.cli.output": ["Summary", "reporting"],
            "fadae.cli.stages": ["extract", "ingest", "reconstruct", "train"],
        },
    )

__all__ = ["Summary", "extract", "ingest", "main", "picked", "reconstruct", "reporting", "train"]
