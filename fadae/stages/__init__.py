"""The four stages, each a driver and one plain unit of work, and the pipeline that runs them."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.stages import extract, ingest, pipeline, reconstruct, watch
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.stages": ["extract", "ingest", "pipeline", "reconstruct", "watch"],
        },
    )

__all__ = ["extract", "ingest", "pipeline", "reconstruct", "watch"]
