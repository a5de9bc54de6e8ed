"""A report of one run: a static folder of one page, sound, pictures and scores.

It opens from a disk or a bucket without a server or a script. Titles come from outside: they
reach the page escaped, and never a file name.
"""

from __future__ import annotations

import json
import math
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from fadae import figures
from fadae._version import __version__
from fadae.arrays import Float64
from fadae.audio.write import encode
from fadae.compare import Comparison, result
from fadae.compare import table as comparison_table
from fadae.errors import UsageError
from fadae.query import ORIGINAL, TRANSFORM, Recording, Workspace
from fadae.records import CodeSize, SideScores, finite
from fadae.store import Location, paths
from fadae.summaries import ReportSummary
from fadae.training import pca_remark, run_summary

if TYPE_CHECKING:  # torch comes in with the codes, when there are some
    from fadae.model import Codes

DEFAULT_RECORDINGS = 12
DEFAULT_SECONDS = 20.0
_HEADINGS = {
    "nmse_db": ("NMSE", "normalised mean squared error of the companded features; lower is better"),
    "snr_db": ("SNR", "signal-to-noise ratio against the transform's own synthesis"),
    "si_sdr_db": ("SI-SDR", "the same whatever the gain"),
    "log_spectral_distance_db": ("LSD", "log-spectral distance; lower is better"),
}
_HELD_OUT = {True: "yes", False: "no", None: "-"}
_HELD_OUT_MEANS = "yes: kept away from training; no: trained on; -: neither, or not known"
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2433;--quiet:#5b6475;--line:#d9dde5;--ground:#fbfbfd;
--card:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9f0;--quiet:#9aa3b5;--line:#2c3342;
--ground:#12151c;--card:#191e28}}
body{margin:0 auto;padding:2rem 1rem 4rem;max-width:70rem;font:16px/1.5 system-ui,sans-serif;
color:var(--ink);background:var(--ground)}
h1{font-weight:600;margin:0}h2{font-size:1.1rem;margin:0;overflow-wrap:anywhere}
p,dd,caption,figcaption,footer{color:var(--quiet)}a{color:inherit}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem 1.2rem;
margin:1.2rem 0}
img{width:100%;height:auto;border-radius:8px;background:#fff}figure{margin:.6rem 0}
.sound{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem}.sound label{flex:1 1 15rem;color:var(--quiet)}
audio{width:100%;display:block}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{min-width:8rem;text-align:left;white-space:normal;overflow-wrap:anywhere}
td{font-variant-numeric:tabular-nums}caption{text-align:left;padding-bottom:.5rem}
"""


def report(
    workspace: Workspace,
    run: str | None = None,
    *,
    recordings: Sequence[str] = (),
    limit: int = DEFAULT_RECORDINGS,
    seconds: float = DEFAULT_SECONDS,
    to: Location | None = None,
) -> ReportSummary:
    """Write reports/<run>/, or into the folder `to`, and return its summary.

    Without a run, the one that `Workspace.default_reconstruction` names. The recordings given,
    else `limit` of them spread evenly from the best to the worst NMSE; of each, `seconds` from its
    start. The same bytes every time. Raises UsageError where the run has no reconstructions or a
    recording is not there.
    """
    target = workspace.location if to is None else to
    target.ensure_writable()  # before a minute of work
    run = workspace.default_reconstruction if run is None else run
    scores = workspace.scores(run)
    chosen = [workspace.recording(one) for one in recordings]
    chosen = chosen or _spread(workspace, scores["nmse_db"], limit)
    if not chosen or seconds <= 0:
        raise UsageError("a report needs at least one recording and some of its seconds")
    folder = paths.report_path(run) if to is None else ""
    files: dict[str, bytes] = {}
    sections = [
        _recording(workspace, run, one, n, seconds, scores, files)
        for n, one in enumerate(chosen, 1)
    ]
    metrics = workspace.metrics(run) if run in workspace.runs else []
    files["curves.png"] = figures.training_curves(metrics)
    table = _table(workspace, run, chosen, scores)
    pooled: SideScores = finite(workspace.pooled_scores(run))
    document = {"run": run, **pooled, "recordings": [row.to_dict() for row in table]}
    files["scores.json"] = json.dumps(document, indent=1).encode()
    sections += [
        _comparison(result.read(workspace.location, name), files)
        for name in result.names(workspace.location)
    ]
    page = _page(workspace, run, table, pooled, sections)
    files["index.html"] = page.encode("utf-8", "xmlcharrefreplace")  # last: it names the others
    for name, data in files.items():
        content_type = mimetypes.guess_type(name)[0]
        if name.endswith(".html"):
            content_type = "text/html; charset=utf-8"
        target.write_bytes(target.join(folder, name), data, content_type)
    root = target.join(target.url, folder).rstrip("/")
    return ReportSummary(
        run=run,
        recordings=len(chosen),
        files=len(files),
        folder=root,
        index=f"{root}/index.html",
    )


def side_by_side(
    workspace: Workspace, recording_id: str, run: str, seconds: tuple[float, float], title: str = ""
) -> bytes:
    """Return a PNG of a recording's original, code and reconstruction, side by side."""
    original = workspace.rasterize(recording_id, seconds)
    peak = original.attrs["peak"]
    made = workspace.rasterize(recording_id, seconds, source=run, peak=peak)
    codes = workspace.codes(recording_id, seconds, run)
    picture = xr.DataArray(
        np.asarray(codes.values).T,
        dims=("code", "time"),
        coords={"time": codes.time_seconds},
        attrs={"size": _size_words(codes, workspace.hop_seconds)},
    )
    return figures.side_by_side(original, picture, made, title)


def _size_words(codes: Codes, hop_seconds: float) -> str:
    """Return what these codes take, in words: bytes of variable length by their mean."""
    if codes.code_bytes is not None:
        return str(CodeSize.of(float(np.mean(codes.code_bytes)), hop_seconds))
    size = CodeSize.of(codes.values.shape[1] * codes.values.itemsize, hop_seconds)
    return f"{codes.values.shape[1]} {codes.values.dtype}, {size}"


def _spread(workspace: Workspace, nmse_db: Any, limit: int) -> list[Recording]:
    """Return recordings of their own PCM at even steps of the ranking, best first."""
    own = [
        recording
        for recording in workspace.recordings[: len(nmse_db)]
        if recording.row < len(nmse_db) and recording.same_as < 0 and recording.samples
    ]
    own.sort(key=lambda one: (math.isnan(nmse_db[one.row]), nmse_db[one.row], one.id))
    count = min(limit, len(own))
    return [own[round(at)] for at in np.linspace(0, len(own) - 1, count)] if count else []


def _recording(
    workspace: Workspace,
    run: str,
    recording: Recording,
    number: int,
    seconds: float,
    scores: Mapping[str, Float64],
    files: dict[str, bytes],
) -> str:
    """Add a recording's sound and picture to the files; return its part of the page."""
    span = (0.0, min(seconds, recording.seconds))
    players = []
    for label, source in (
        ("original", ORIGINAL),
        ("transform", TRANSFORM),
        ("reconstruction", run),
    ):
        name = f"{number:03d}-{label}.ogg"
        samples = workspace.audio(recording.id, span, source)
        tags = workspace.tags(source, recording.id)
        files[name] = encode(samples, workspace.rate_hz, "ogg", tags)
        players.append(
            f'<label>{label}<audio controls preload="none" src="{name}"></audio></label>'
        )
    picture = f"{number:03d}.png"
    files[picture] = side_by_side(workspace, recording.id, run, span)
    title = escape(_title(recording))
    about = " · ".join(escape(part) for part in (recording.creator, recording.id) if part)
    return f"""<section id="r{number}">
<h2>{title}</h2><p>{about}{_link("source", recording.url)}{_link("licence", recording.licence)}</p>
<div class="sound">{"".join(players)}</div>
<figure><img src="{picture}" loading="lazy" width="1650" height="585"
 alt="Bands over time of the original, the code and the reconstruction of {title}"></figure>
<p>{" · ".join(f"{_HEADINGS[k][0]} {_shown(v[recording.row])} dB" for k, v in scores.items())}</p>
</section>"""


def _comparison(comparison: Comparison, files: dict[str, bytes]) -> str:
    """Add a comparison's plot to the files; return its part of the page."""
    name = f"comparison-{comparison['name']}.png"
    files[name] = figures.rate_distortion(comparison)
    heads, rows = comparison_table.cells(comparison)
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    lines = (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"""<section><h2>Comparison of codes: {escape(comparison["name"])}</h2>
<figure><img src="{escape(name)}" loading="lazy"
 alt="Each measure over kbit/s, a line a code; the table has the same numbers"></figure>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>
{"".join(lines)}</tbody></table></div>
{"".join(f"<p>{escape(line)}</p>" for line in comparison_table.explained(comparison))}</section>"""


def _page(
    workspace: Workspace,
    run: str,
    table: Sequence[_Row],
    pooled: SideScores,
    sections: list[str],
) -> str:
    about = workspace.transform
    start, stop = about.heard_samples(0, 1)
    heads = "".join(
        f'<th title="{escape(what)}">{name} (dB)</th>' for name, what in _HEADINGS.values()
    )
    rows = "".join(
        f'<tr><td><a href="#r{n}">{escape(row.title or row.id)}</a></td>'
        f"<td>{_HELD_OUT[row.held_out]}</td>"
        + "".join(f"<td>{_shown(row.scores[name])}</td>" for name in _HEADINGS)
        + "</tr>\n"
        for n, row in enumerate(table, 1)
    )
    body = f"""<header><h1>Run {escape(run)}</h1>
<p>{len(table)} of {len(workspace.recordings)} recordings; transform {escape(about.name)},
{about.bands} bands, {about.size} coefficients a frame of
{(stop - start) / about.sample_rate_hz:.2f} s at {about.sample_rate_hz} Hz.</p></header>
<main><section><h2>Training</h2><figure><img src="curves.png" width="1350" height="510"
 alt="Loss and normalised error over the steps of the training"></figure></section>
<section><h2>Scores</h2><div class="scroll"><table>
<caption>Audio is compared with the transform's own synthesis; lower NMSE and LSD, higher SNR and
SI-SDR are better. <a href="scores.json">As JSON</a>.</caption>
<thead><tr><th>recording</th><th title="{_HELD_OUT_MEANS}">held out</th>{heads}</tr></thead><tbody>
{rows}</tbody></table></div>
<p>{escape(_compared(workspace, run, pooled))}</p></section>
{"".join(sections)}</main>"""
    return html(f"run {run}", body)


def html(title: str, body: str) -> str:
    """Return a page that needs no server and runs no script; `body` is markup."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'">
<title>fadae: {escape(title)}</title><style>{_STYLE}</style></head><body>
{body}
<footer>Written by fadae {escape(__version__)}.</footer></body></html>
"""


def _compared(workspace: Workspace, run: str, pooled: SideScores) -> str:
    """Return a sentence on all frames held out and trained on, and one where PCA does better."""
    held_out = pooled["held_out_nmse_db"], pooled["held_out_audio_snr_db"]
    trained = pooled["trained_nmse_db"], pooled["trained_audio_snr_db"]
    sides = ", ".join(
        f"{words}: NMSE {_shown(nmse_db)} dB, SNR {_shown(snr_db)} dB"
        for words, (nmse_db, snr_db) in (("held out", held_out), ("trained on", trained))
    )
    remark = pca_remark(run_summary(workspace.location, run))
    size = workspace.code_size(run)
    code = f" The code takes {size}." if size else ""
    return f"All frames, {sides}.{code} {remark and remark + '.'}".rstrip()


@dataclass(frozen=True)
class _Row:
    """A recording of the table: its scores in dB by name, and whether the run held it out."""

    id: str
    title: str
    creator: str
    scores: dict[str, float | None]
    held_out: bool | None

    def to_dict(self) -> dict[str, object]:
        """Return the row as scores.json has it."""
        about = {"id": self.id, "title": self.title, "creator": self.creator}
        return {**about, **self.scores, "held_out": self.held_out}


def _table(
    workspace: Workspace,
    run: str,
    recordings: Sequence[Recording],
    scores: Mapping[str, Float64],
) -> list[_Row]:
    """Return the scores of each recording, and whether the run held it out."""
    known = workspace.split(run).recording_held_out if run in workspace.runs else None
    return [
        _Row(
            one.id,
            one.title,
            one.creator,
            finite({name: float(values[one.row]) for name, values in scores.items()}),
            None if known is None else known[one.row],
        )
        for one in recordings
    ]


def _title(recording: Recording) -> str:
    return recording.title or recording.file


def _link(name: str, url: str) -> str:
    """Return a link, to the web only: javascript: and its kin come from outside too."""
    if not url.startswith(("https://", "http://")):
        return ""
    return f' · <a href="{escape(url)}" rel="noopener noreferrer">{name}</a>'


def _shown(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"
