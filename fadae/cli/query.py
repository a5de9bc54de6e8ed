"""`fadae query`: find recordings; look at, listen to and export a part of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Output, Summary, Workspace
from fadae.cli.reporting import Shown, printable
from fadae.errors import UsageError

if TYPE_CHECKING:
    from fadae.query.recordings import Recording
    from fadae.query.workspace import Workspace as OpenedWorkspace

RecordingId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Recording, item/file; none lists them.")
]
Search = Annotated[str, typer.Option(help="List recordings with these words in title or name.")]
Limit = Annotated[int, typer.Option(min=1, help="List at most this many recordings.")]
Seconds = Annotated[str | None, typer.Option(metavar="A:B", help="Part in time, as 1:3 or 2.5:")]
Hertz = Annotated[str | None, typer.Option("--hz", metavar="A:B", help="Bands, as 400:900")]
Source = Annotated[str, typer.Option(help="original, transform, or the name of a run.")]

Pair = tuple[float | None, float | None]


def query(
    recording_id: RecordingId = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    search: Search = "",
    limit: Limit = 20,
    seconds: Seconds = None,
    hz: Hertz = None,
    source: Source = "original",
    to: Output = None,
) -> Summary:
    """List recordings; export a part of one as coefficients .npy, picture .png, sound .wav .ogg."""
    import fadae

    opened = fadae.open(workspace)
    if recording_id is None:
        found = opened.search(search)
        return _listing(found, limit)
    span, bands = _pair(seconds, "--seconds"), _pair(hz, "--hz")
    opened.ensure_source(source)
    # What a run makes has the original's shape; where none is written, exporting computes it.
    chosen = opened.select(recording_id, span, bands)
    summary: Summary = {
        "recording": dataclasses.asdict(opened.recording(recording_id)),
        "source": source,
        "frames": chosen.sizes["frame"],
        "coefficients": chosen.sizes["coefficient"],
        "bands": chosen.sizes["band"],
    }
    if to is not None:
        summary |= _export(opened, recording_id, span, bands, source, to)
    return summary


def _listing(found: Sequence[Recording], limit: int) -> Shown:
    """Return the first recordings found, as a table for a person."""
    summary = {"found": len(found), "recordings": [*map(dataclasses.asdict, found[:limit])]}
    held_out = {True: "yes", False: "no", None: "-"}
    rows = [
        (printable(one.id), f"{one.seconds:,.1f}", held_out[one.held_out],
         printable(" - ".join(part for part in (one.title, one.creator) if part)))
        for one in found[:limit]
    ]  # fmt: skip
    width = max([len("recording"), *(len(row[0]) for row in rows)])
    heads = ("recording", "seconds", "held out", "title - creator")
    lines = [f"{a:<{width}}  {b:>9}  {c:<8}  {d}".rstrip() for a, b, c, d in (heads, *rows)]
    more = "; --limit shows more" if len(found) > limit else ""
    text = f"{len(rows):,} of {len(found):,} recordings{more}"
    return Shown(summary, "\n".join([*lines, "", text]))


def _export(
    opened: OpenedWorkspace,
    recording_id: str,
    span: Pair | None,
    bands: Pair | None,
    source: str,
    to: Path,
) -> Summary:
    """Write the part as its file's name says; return what was written."""
    import numpy as np

    kind = to.suffix.lower().removeprefix(".")
    written: Summary = {"file": str(to)}
    try:
        if kind == "npy":
            coefficients = opened.coefficients(recording_id, span, bands, source)
            np.save(to, coefficients, allow_pickle=False)
            written["shape"] = list(coefficients.shape)
        elif kind == "png":
            from fadae import figures

            picture = opened.rasterize(recording_id, span, bands, source)
            title = opened.recording(recording_id).title or recording_id
            to.write_bytes(figures.bands(picture, f"{title} ({source})"))
        else:
            from fadae.audio.write import write

            samples = opened.audio(recording_id, span, source, bands)
            write(to, samples, opened.rate_hz)
            written |= {"samples": len(samples), "rate_hz": opened.rate_hz}
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
    return written


def _pair(text: str | None, option: str) -> Pair | None:
    """Return the two numbers of "A:B", either of which may be left out.

    >>> _pair("1:2.5", "--seconds"), _pair(":900", "--hz")
    ((1.0, 2.5), (None, 900.0))
    """
    if text is None:
        return None
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise UsageError(f"{option} takes two numbers, as 1:3 or 2.5:, not {text!r}") from None
    return low, high
