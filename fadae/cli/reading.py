"""The commands that read a workspace: `info`, `query`, `generate`, `report`, `serve`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fadae.cli.derive import picked
from fadae.cli.output import Shown, Summary, plain, printable
from fadae.config import Job
from fadae.errors import UsageError
from fadae.licences import LicencePolicy, spdx

if TYPE_CHECKING:
    from fadae.query import Recordings
    from fadae.query import Workspace as OpenedWorkspace

Output = Annotated[Path | None, typer.Option("--to", help="File to write.")]
RecordingId = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]", help="Recording, item/file; without one, recordings are listed."
    ),
]
Search = Annotated[str, typer.Option(help="List recordings with these words in title or name.")]
Limit = Annotated[int, typer.Option(min=1, help="List at most this many recordings.")]
Licence = Annotated[
    str | None,
    typer.Option(metavar="POLICY", help="List recordings of these licences only: see ingest."),
]
Seconds = Annotated[str | None, typer.Option(metavar="A:B", help="Part in time, as 1:3 or 2.5:")]
Hertz = Annotated[str | None, typer.Option("--hz", metavar="A:B", help="Bands, as 400:900")]
Source = Annotated[
    str, typer.Option(help="What to export: original, transform, or the name of a run.")
]

Pair = tuple[float | None, float | None]

Method = Annotated[
    str,
    typer.Option(
        help="normal: independent codes; walk: moving as music does; interpolate; or a method of "
        "the run's own model."
    ),
]
GenerateSeconds = Annotated[float, typer.Option(min=0.01, max=3600, help="How long.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed, other sound; the same, the same.")]
Between = Annotated[
    tuple[str, str] | None,
    typer.Option(metavar="ID ID", help="The recordings to interpolate between."),
]
GeneratedFile = Annotated[
    Path, typer.Option("--to", help="File to write: .ogg, .flac, .wav or .mp3.")
]

RecordingIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Recordings; default: a choice.")
]
ReportLimit = Annotated[int, typer.Option(min=1, help="At most this many recordings.")]
ReportFolder = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="FOLDER-OR-URL",
        help="Folder or bucket to write to instead of the workspace, which may be read only.",
    ),
]
ReportSeconds = Annotated[
    float, typer.Option(min=0.1, help="Seconds of each recording, from its start.")
]

Host = Annotated[
    str, typer.Option(help="Address to listen on. The default is open to this computer only.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Answer browsers that ask for this host name; repeatable. --host 0.0.0.0 needs one.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Answer only who shows the token in this file, or in the variable FADAE_TOKEN: open "
        "the page's address with ?token=TOKEN, or send Authorization: Bearer TOKEN.",
    ),
]
Workspaces = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORKSPACE]...", help="Workspaces to choose from, instead of --workspace."
    ),
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Refuse every write to a workspace; none is needed.")
]
RootPath = Annotated[
    str,
    typer.Option(
        metavar="PATH", help="Path that a proxy in front shows the page under, as /fadae."
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


Last = Annotated[int, typer.Option("--last", "-n", min=1, help="At most this many.")]
At = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|DATE",
        help="As an earlier publication left it: see `fadae log`. Dates in UTC.",
    ),
]


def log(workspace: str = picked(Job, "workspace"), last: Last = 20) -> Summary:
    """List what was published when, the newest first, and which runs were trained on it."""
    import fadae

    found = fadae.open(workspace).history(last)
    lines = [
        f"{one.number:>5}  {one.published}  {one.recordings:>9,} recordings  {one.frames:>12,} rows"
        f"  {one.seconds / 3600:>10,.2f} h  {', '.join(map(printable, one.runs))}".rstrip()
        for one in found
    ]
    summary = {"publications": [dataclasses.asdict(one) for one in found]}
    return Shown(summary, "\n".join(lines) or "nothing is kept of what was published so far")


def info(
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    to: Output = None,
) -> Summary:
    """Say what a workspace holds; plot a run's curves here and, with --to, as a PNG."""
    import fadae
    from fadae import figures
    from fadae.query import curve
    from fadae.training import chosen_run, pca_remark, run_summary

    opened = fadae.open(workspace)
    summary: Summary = opened.info()
    if run is None and opened.runs:
        run = chosen_run(opened.location, opened.runs)
    if run is None:
        if to is not None:
            raise UsageError(f"no run in {workspace} has curves to draw", summary)
        return summary
    metrics = opened.metrics(run)
    names = {"train": "train_loss", "held out": "holdout_loss"}
    curves = {label: curve(metrics, name) for label, name in names.items()}
    if to is not None:
        try:
            to.write_bytes(figures.training_curves(metrics, f"run {run}"))
        except OSError as error:
            raise UsageError(f"cannot write {to}: {error.strerror or error}", summary) from error
        summary = {**summary, "file": str(to)}
    remark = pca_remark(run_summary(opened.location, run))
    parts = [f"loss of run {run}\n{figures.terminal_plot(curves)}", remark, plain(summary)]
    return Shown(summary, "\n\n".join(part for part in parts if part))


def query(
    recording_id: RecordingId = None,
    workspace: str = picked(Job, "workspace"),
    search: Search = "",
    licence: Licence = None,
    limit: Limit = 20,
    seconds: Seconds = None,
    hz: Hertz = None,
    source: Source = "original",
    to: Output = None,
    at: At = None,
) -> Summary:
    """List recordings; export a part of one as coefficients .npy, picture .png, sound .wav .ogg."""
    import fadae

    opened = fadae.open(workspace, at=at)
    if recording_id is None:
        policy = None if licence is None else LicencePolicy.of(licence)
        return _listing(opened.recordings, search, policy, limit)
    if licence is not None:
        raise UsageError("--licence lists recordings: leave out the ID")
    span, bands = pair_of(seconds, "--seconds"), pair_of(hz, "--hz")
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
    if source in opened.runs or source in opened.reconstructions:
        summary = {**summary, "code": str(opened.code_size(source) or "-")}
    if to is not None:
        return {**summary, **_export(opened, recording_id, span, bands, source, to)}
    return summary


def _listing(
    recordings: Recordings, search: str, policy: LicencePolicy | None, limit: int
) -> Shown:
    """Return the first recordings found, as a table for a person."""
    every = recordings.rows(search, policy)
    found = [recordings[row] for row in every[:limit]]
    summary = {"found": len(every), "recordings": [*map(dataclasses.asdict, found)]}
    held_out = {True: "yes", False: "no", None: "-"}
    rows = [
        (
            printable(one.id),
            f"{one.seconds:,.1f}",
            held_out[one.held_out],
            spdx(one.licence) or "unknown",
            printable(" - ".join(part for part in (one.title, one.creator) if part)),
        )
        for one in found
    ]
    width = max([len("recording"), *(len(row[0]) for row in rows)])
    heads = ("recording", "seconds", "held out", "licence", "title - creator")
    lines = [
        f"{a:<{width}}  {b:>9}  {c:<8}  {d:<12}  {e}".rstrip() for a, b, c, d, e in (heads, *rows)
    ]
    more = "; --limit shows more" if len(every) > limit else ""
    text = f"{len(rows):,} of {len(every):,} recordings{more}"
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
    written: dict[str, object] = {"file": str(to)}
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
            write(to, samples, opened.rate_hz, tags=opened.tags(source, recording_id))
            written |= {"samples": len(samples), "rate_hz": opened.rate_hz}
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
    return written


def pair_of(text: str | None, option: str) -> Pair | None:
    """Return the two numbers of "A:B", either of which may be left out.

    >>> pair_of("1:2.5", "--seconds"), pair_of(":900", "--hz")
    ((1.0, 2.5), (None, 900.0))
    """
    if text is None:
        return None
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise UsageError(f"{option} takes two numbers, as 1:3 or 2.5:, not {text!r}") from None
    return low, high


def generate(
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    method: Method = "walk",
    seconds: GenerateSeconds = 10.0,
    seed: Seed = 0,
    between: Between = None,
    to: GeneratedFile = Path("generated.ogg"),
) -> Summary:
    """Make new codes with the statistics of a run's, or between two recordings; write the sound."""
    import fadae
    from fadae.audio.write import write

    opened = fadae.open(workspace)
    run = opened.default_run if run is None else run
    if between is not None:
        method = "interpolate"
    samples = opened.generate(run, method=method, seconds=seconds, seed=seed, between=between)
    try:
        write(to, samples, opened.rate_hz, tags=opened.tags(run, *(between or ())))
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror or error}") from error
    return {
        "run": run,
        "method": method,
        "seed": seed,
        "seconds": len(samples) / opened.rate_hz,
        "samples": len(samples),
        "rate_hz": opened.rate_hz,
        "file": str(to),
    }


def report(
    recording_ids: RecordingIds = None,
    workspace: str = picked(Job, "workspace"),
    run: str | None = picked(Job, "run"),
    limit: ReportLimit = 12,
    seconds: ReportSeconds = 20.0,
    to: ReportFolder = None,
) -> Summary:
    """Write reports/<run>/index.html with sound, pictures and scores, to open without a server."""
    import fadae
    from fadae import report as reporting
    from fadae.store import Location

    return reporting.report(
        fadae.open(workspace),
        run,
        recordings=recording_ids or (),
        limit=limit,
        seconds=seconds,
        to=None if to is None else Location(to),
    )


def serve(
    workspaces: Workspaces = None,
    workspace: str = picked(Job, "workspace"),
    host: Host = "127.0.0.1",
    port: Port = 8642,
    allow_host: AllowHost = None,
    token_file: TokenFile = None,
    read_only: ReadOnly = False,
    root_path: RootPath = "",
    open_page: Open = False,
) -> Summary:
    """Open the listening room: a page in the browser to search, see and hear workspaces."""
    from fadae.store import Location
    from fadae.web import serve as serve_room

    address = ""

    def ready(url: str) -> None:
        nonlocal address
        address = url
        print(f"the listening room is open at {url} (Ctrl-C closes it)", flush=True)
        if open_page:
            typer.launch(url)

    serve_room(
        [Location(url, read_only=read_only) for url in workspaces or [workspace]],
        host=host,
        port=port,
        allow_hosts=allow_host or (),
        token=token_of(token_file),
        ready=ready,
        root_path=root_path,
    )
    return {"address": address}


def token_of(file: Path | None) -> str | None:
    """Return the token of a file, else of the environment: a command line is for all to read."""
    if file is None:
        return os.environ.get("FADAE_TOKEN")
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the token in {file}: {error}") from None
