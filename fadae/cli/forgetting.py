"""The command `forget`."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, printable
from fadae.config import Job, cluster_of
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.store import Location

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID|ITEM|PATTERN...",
        help="Recording (item/file), item, or a pattern of either with * ? [ ]. Without any, what "
        "is forgotten is listed.",
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why: who asked, which ticket. It is kept.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who says so; default this user.")]
Erase = Annotated[
    bool,
    typer.Option(
        "--erase",
        help="Remove the bytes too: sound, features, codes, titles. There is no way back.",
    ),
]


def forget(
    targets: Targets = None,
    workspace: str = picked(Job, "workspace"),
    reason: Reason = None,
    by: By = None,
    erase: Erase = False,
    scheduler: str | None = picked(Job, "scheduler"),
    scheduler_file: str | None = picked(Job, "scheduler_file"),
    workers: int | None = picked(Job, "workers"),
) -> Summary:
    """Forget recordings, now and whenever they come again; with --erase remove their bytes."""
    from fadae import forget as forgetting
    from fadae.cluster import cluster_mapper
    from fadae.store import Location

    location = Location(workspace)
    if not targets:
        if erase or reason is not None:
            raise UsageError("nothing to forget: name recordings, items or patterns")
        return _listed(location)
    if reason is None or not reason.strip():
        raise UsageError("--reason TEXT says why, for whoever looks later")
    by = _user() if by is None else by
    with cluster_mapper(location, cluster_of(scheduler, scheduler_file), workers) as mapper:
        done = forgetting.forget(location, targets, reason, by=by, erase_bytes=erase, mapper=mapper)
    lines = [f"{done.recordings:,} recordings are forgotten, by {done.tombstones:,} tombstones"]
    if erase:
        lines.append(
            f"erased: {done.erased_recordings:,} recordings, {done.erased_frames:,} rows in "
            f"{done.erased_blocks:,} shards"
        )
    lines += [
        f"run {printable(run)} learned from {count:,} of them: a model does not unlearn; "
        f"`fadae train --run {printable(run)} --fresh` trains it without"
        for run, count in done.learned.items()
    ]
    return Shown(done, "\n".join(lines))


def _listed(location: Location) -> Shown:
    """Return what is forgotten, a line each."""
    from fadae.store import read_tombstones

    location.ensure_workspace()
    every = read_tombstones(location).every
    lines = [
        f"{one.time}  {one.kind:<7}  {'erased' if one.erase else 'hidden'}  {printable(one.value)}"
        f"  {printable(one.reason)}  ({printable(one.by) or '-'})"
        for one in every
    ]
    summary = {"tombstones": [{name: getattr(one, name) for name in _SHOWN} for one in every]}
    return Shown(summary, "\n".join(lines) or "nothing is forgotten")


_SHOWN = ("kind", "value", "reason", "by", "time", "erase")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""
