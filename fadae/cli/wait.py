"""`fadae wait`: until a stage's commit is in the workspace; what a pod's init container runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Run, Summary, Workspace

if TYPE_CHECKING:
    from fadae.store.location import Location

log = logging.getLogger("fadae.wait")

Stages = Annotated[
    list[str], typer.Argument(metavar="STAGE", help="ingest, extract, train or reconstruct.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait in all; then exit 75.")]
Every = Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")]


def wait(
    stages: Stages,
    workspace: Workspace = DEFAULT_WORKSPACE,
    run: Run = "default",
    timeout: Timeout = 86_400.0,
    every: Every = 5.0,
) -> Summary:
    """Wait until stages have published something in the workspace."""
    from fadae.errors import TransientError, UsageError
    from fadae.store.location import Location

    unknown = [stage for stage in stages if stage not in _COMMITTED]
    if unknown:
        raise UsageError(f"no stage {unknown[0]!r}: choose of {', '.join(_COMMITTED)}")
    location, started = Location(workspace), time.monotonic()
    for stage in stages:
        while not _COMMITTED[stage](location, run):
            waited = time.monotonic() - started
            if waited >= timeout:
                raise TransientError(
                    f"no {stage} in {location.url} after {waited:.0f} s; look at that stage's log"
                )
            log.info("waiting for %s in %s, %.0f s so far", stage, location.url, waited)
            time.sleep(min(every, timeout - waited))
    return {"stages": stages, "waited_seconds": round(time.monotonic() - started, 3)}


def _ingested(location: Location, run: str) -> bool:
    return any(name.endswith(".json") for name in location.names("ingests"))


def _extracted(location: Location, run: str) -> bool:
    return _has_rows(location, "features.zarr")


def _trained(location: Location, run: str) -> bool:
    return location.exists(f"runs/{run}/model.safetensors")


def _reconstructed(location: Location, run: str) -> bool:
    return _has_rows(location, f"reconstructions/{run}.zarr")


def _has_rows(location: Location, path: str) -> bool:
    """Return whether something is published: a group alone is only its beginning."""
    from fadae.store.frames import FrameStore

    try:
        return FrameStore.open(location, path).rows > 0
    except FileNotFoundError:
        return False


_COMMITTED: dict[str, Callable[[Location, str], bool]] = {
    "ingest": _ingested,
    "extract": _extracted,
    "train": _trained,
    "reconstruct": _reconstructed,
}
