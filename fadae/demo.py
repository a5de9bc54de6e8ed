"""The demonstration: the whole job on an archive inside the package, with no network.

Bach, rendered from scores by a small synthesizer, is served as the Internet Archive serves it,
and goes through the same four stages as anything else: the recipe of 2017. Beside it stands the
byte code, by the model in the package, which was trained on other music.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
import xarray as xr

import fadae
from fadae import figures, report
from fadae.archive import ArchiveSource
from fadae.arrays import Float32
from fadae.audio import to_pcm
from fadae.audio.write import write
from fadae.coding import compress, decompress
from fadae.config import JobConfig, TrainConfig
from fadae.embedded import IDENTIFIER, EmbeddedArchive, bach_item
from fadae.query import Recording, Workspace
from fadae.records import CodeSize, ComparedLine
from fadae.scores import log_spectral_distance_db, snr_db
from fadae.stages import pipeline
from fadae.store import Location, Mapper, map_serially
from fadae.summaries import DemoSummary
from fadae.transform import mu_law, preset

RUN = "demo"
RANDOM = "random codes"  # a sound that no recording holds
HEARD = slice(0.0, 15.0)
_NAMES = {"index.html": "page", "byte-code.fadae": "byte code file"}
ORIGINAL, BYTES, OLD = "original", "byte code", "2017 code"
# Eight minutes of music are far less than the experiment's: a higher learning rate makes up for
# some of the missing steps, a larger batch halves their cost between two ranks, and a quarter held
# out leaves more to learn from.
TRAINING = TrainConfig(
    run=RUN,
    epochs=20,
    batch_size=128,
    learning_rate=1e-3,
    holdout=0.25,
    ranks=2,
    precision="fp32",  # the figures in the README on every machine
)


def demo(folder: Path, *, mapper: Mapper = map_serially) -> DemoSummary:
    """Run the four stages in folder/workspace; write sounds and a picture beside it.

    Returns the stages' summaries and, under `wrote`, what lies where. Repeated, it trains nothing
    anew. mapper: of `cluster_mapper(demo_location(folder), ...)`.
    """
    item = bach_item(folder / "archive")
    with EmbeddedArchive([item]) as archive:
        source = ArchiveSource((IDENTIFIER,), url=archive.url)
        summaries = pipeline.run(
            demo_location(folder), [source], JobConfig(train=TRAINING), mapper=mapper
        )
    opened = fadae.open(demo_location(folder).url)
    compared, wrote = show(opened, folder)
    return DemoSummary(
        summaries.ingest,
        summaries.extract,
        summaries.train,
        summaries.reconstruct,
        compared,
        wrote,
    )


def demo_location(folder: Path) -> Location:
    """Return the workspace of a demonstration in a folder."""
    return Location(str(folder / "workspace"))


def show(workspace: Workspace, folder: Path) -> tuple[list[ComparedLine], dict[str, str]]:
    """Write what there is to hear and to see of a recording; return figures, and what lies where.

    The recording is one that the run held out.
    """
    recording = workspace.recording(workspace.split(RUN).held_out[0])
    code = compress(to_pcm(workspace.audio(recording.id)), workspace.rate_hz)
    sounds = {
        ORIGINAL: workspace.audio(recording.id, HEARD),
        BYTES: decompress(code, stop_seconds=HEARD.stop)[0],
        OLD: workspace.audio(recording.id, HEARD, source=RUN),
    }
    compared = _compared(workspace, recording, len(code), sounds)
    sounds[RANDOM] = workspace.generate(RUN, method="normal", seconds=HEARD.stop)
    wrote = {"workspace": workspace.location.url}
    for name, samples in sounds.items():
        path = folder / f"{_file(name)}.ogg"
        made_by = RUN if name in (OLD, RANDOM) else ORIGINAL
        tags = workspace.tags(made_by, *(() if name == RANDOM else (recording.id,)))
        write(path, samples, workspace.rate_hz, tags=tags)
        wrote[name] = str(path)
    files = {
        "byte-code.fadae": code,
        "picture.png": report.side_by_side(
            workspace, recording.id, RUN, (HEARD.start, HEARD.stop), recording.title
        ),
        "curves.png": figures.training_curves(workspace.metrics(RUN)),
        "compared.png": figures.beside(_pictures(workspace.rate_hz, sounds), recording.title),
        "index.html": _page(recording, compared).encode("utf-8", "xmlcharrefreplace"),
    }
    for name, data in files.items():
        path = folder / name
        path.write_bytes(data)
        wrote[_NAMES.get(name, path.stem)] = str(path)
    return compared, wrote


def _file(name: str) -> str:
    return name.replace(" ", "-")


def _compared(
    workspace: Workspace, recording: Recording, code_bytes: int, sounds: Mapping[str, Float32]
) -> list[ComparedLine]:
    """Return what each way of keeping the sound takes, and how far it is from the original.

    The byte code counts with its whole file; both are compared over the seconds that are heard.
    """
    samples = CodeSize.of(2 * workspace.transform.hop_samples, workspace.hop_seconds)
    made = CodeSize(code_bytes / recording.frame_count, 8 * code_bytes / 1000 / recording.seconds)
    sizes = {ORIGINAL: samples, BYTES: made, OLD: workspace.code_size(RUN) or samples}
    original = sounds[ORIGINAL]
    return [
        ComparedLine(
            name=name,
            bytes_a_row=size.bytes_a_row,
            kbps=size.kbps,
            snr_db=snr_db(original, sounds[name]),
            log_spectral_distance_db=log_spectral_distance_db(original, sounds[name]),
        )
        for name, size in sizes.items()
    ]


def _pictures(rate_hz: int, sounds: Mapping[str, Float32]) -> dict[str, xr.DataArray]:
    """Return the bands of what is compared, from silence to the original's peak as 0 to 1."""
    transform, columns = preset("full", rate_hz), 8
    hop_seconds = transform.hop_samples / rate_hz
    found = {
        name: transform.rasterize_hops(transform.analyze(sounds[name]), columns)
        for name in (ORIGINAL, BYTES, OLD)
    }
    peak = float(found[ORIGINAL].max(initial=1e-9))
    return {
        name: xr.DataArray(
            mu_law(np.minimum(picture / peak, 1)).T,
            dims=("band", "time"),
            coords={
                "time": np.arange(len(picture)) / columns * hop_seconds,
                "band_centre_hz": ("band", transform.band_centre_hz),
            },
        )
        for name, picture in found.items()
    }


def _page(recording: Recording, compared: list[ComparedLine]) -> str:
    """Return the page on which the codes are heard, seen and measured beside the original."""
    players = "".join(
        f'<label>{line["name"]}, {line["kbps"]:.1f} kbps<audio controls preload="none" '
        f'src="{_file(line["name"])}.ogg"></audio></label>'
        for line in compared
    )
    rows = "".join(
        f"<tr><td>{line['name']}</td><td>{line['bytes_a_row']:,.0f}</td>"
        f"<td>{line['kbps']:.1f}</td>"
        + "".join(
            "<td>-</td>" if line["name"] == ORIGINAL else f"<td>{value:.1f}</td>"
            for value in (line["snr_db"], line["log_spectral_distance_db"])
        )
        + "</tr>\n"
        for line in compared
    )
    title = escape(recording.title or recording.file)
    return report.html(
        "demonstration",
        f"""<header><h1>{title}</h1>
<p>Rendered by fadae and heard through two codes. Neither was trained on it.</p></header>
<main><section><div class="sound">{players}</div>
<figure><img src="compared.png" width="1650" height="585"
 alt="Bands over time of the original, the byte code and the code of 2017"></figure></section>
<section><h2>What they take, and what they give back</h2>
<p>The first {HEARD.stop:g} seconds against the original's samples. Higher SNR and lower
log-spectral distance are better. A row is 0.34 s.</p><div class="scroll"><table>
<thead><tr><th>code</th><th>bytes a row</th><th>kbps</th><th>SNR (dB)</th>
<th>log-spectral distance (dB)</th></tr></thead><tbody>
{rows}</tbody></table></div>
<p>The byte code is that of the model in the package, which was trained on other music; its bytes
are those of the whole file, byte-code.fadae. The code of 2017 is 256 float32 numbers a row, learned
in this demonstration from a few minutes of Bach; its transform hears 297 to 3066 Hz, and nothing
else can come back.</p></section></main>""",
    )
