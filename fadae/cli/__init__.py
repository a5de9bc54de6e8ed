"""The command line: thin commands, each calling one function of the library."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.cli.app import main
    from fadae.cli.output import reporting
    from fadae.cli.stages import Epochs, Ranks, extract, ingest, reconstruct, train
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.cli.app": ["main"],
            "fadae.cli.output": ["reporting"],
            "fadae.cli.stages": ["Epochs", "Ranks", "extract", "ingest", "reconstruct", "train"],
        },
    )

__all__ = ["Epochs", "Ranks", "extract", "ingest", "main", "reconstruct", "reporting", "train"]
