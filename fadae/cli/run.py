"""`fadae run`: the four stages in a row, with the options of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fadae.cli.extract import extract
from fadae.cli.ingest import chosen_settings, chosen_sources, ingest
from fadae.cli.options import Summary
from fadae.cli.train import chosen_training, train


def run(**options: Any) -> Summary:
    """Ingest, extract, train and reconstruct; what is done already is left alone."""
    from fadae import pipeline
    from fadae.cluster import cluster_mapper
    from fadae.errors import UsageError
    from fadae.store.location import Location

    options["launcher"] = options["launcher"] or "local"
    if options["launcher"] == "torchrun":
        raise UsageError(
            "--launcher torchrun starts one rank of a training, not a whole job: run the stages "
            "one by one, or use --launcher local or dask"
        )
    location = Location(options["workspace"])
    recipe = pipeline.Recipe(
        settings=chosen_settings(options),
        preset=options["preset"],
        dtype=options["dtype"],
        training=chosen_training(options),
    )
    selection = (
        "items",
        "collection",
        "search",
        "folder",
        "source",
        "formats",
        "archive_url",
        "contact",
    )
    sources = chosen_sources(*(options[name] for name in selection))
    with cluster_mapper(location, options["scheduler"], options["workers"]) as mapper:
        return pipeline.run(location, sources, recipe, mapper=mapper)


def _options_of(*commands: Callable[..., Summary]) -> inspect.Signature:
    """Return the options of several commands, each once, as one signature."""
    together: dict[str, inspect.Parameter] = {}
    for command in commands:
        for name, option in inspect.signature(command, eval_str=True).parameters.items():
            together.setdefault(name, option)
    return inspect.Signature(list(together.values()), return_annotation=Summary)


run.__signature__ = _options_of(ingest, extract, train)  # type: ignore[attr-defined]
