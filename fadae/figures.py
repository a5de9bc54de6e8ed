"""Pictures of what fadae does: a recording beside its code and reconstruction, training curves.

Each function returns the bytes of a PNG (Agg, no display and no global state: safe in a server's
threads), or text for a terminal. Axes carry their units.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fadae.arrays import Float64
from fadae.compare import label, result
from fadae.query import curve

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from fadae.compare import CodeResult, Comparison
    from fadae.query import CorpusMap, Overlay

INK, QUIET, GRID = "#1d2433", "#5b6475", "#d9dde5"
TRAIN, HOLDOUT, BASELINE = "#3b6fb6", "#d1603d", "#7a8a5c"
OWN = ("#3b6fb6", "#d1603d", "#7a4fa3", "#2f8f83", "#b08a1e", "#a33f6b")  # fadae's codes
OTHERS = {"Opus": "#4b5563", "AAC": "#7b8494", "MP3": "#9aa3b5", "Vorbis": "#b9a58c"}
_MARKS = {"Opus": "o", "AAC": "s", "MP3": "^", "Vorbis": "D"}
_MOST_TITLES = 40  # on a map
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ROUND_KBPS = (3, 6, 12, 24, 48)
_ROUND_HZ = (20, 50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 10_000, 20_000)


def side_by_side(
    original: xr.DataArray, codes: xr.DataArray, reconstruction: xr.DataArray, title: str = ""
) -> bytes:
    """Return a PNG of original, code and reconstruction on one time axis.

    original, reconstruction: (band, time) from `Workspace.rasterize`, 0 to 1. codes: (code, time)
    with a `time` coordinate in seconds; numbers of any kind, bytes among them. Its attribute
    `size`, where there is one, says in words what a code takes.
    """
    figure = _figure(11.0, 3.9, title)
    panels = figure.subplots(1, 3)
    _draw_bands(panels[0], original, "original")
    _draw_codes(panels[1], codes, f"code: {codes.attrs.get('size', codes.sizes['code'])}")
    image = _draw_bands(panels[2], reconstruction, "reconstruction from the code")
    _colour_bar(figure, image, list(panels))
    return _png(figure)


def beside(pictures: Mapping[str, xr.DataArray], title: str = "") -> bytes:
    """Return a PNG of several (band, time) pictures on one time axis, under their names."""
    figure = _figure(11.0, 3.9, title)
    panels = list(figure.subplots(1, len(pictures), squeeze=False)[0])
    for axes, (name, picture) in zip(panels, pictures.items(), strict=True):
        image = _draw_bands(axes, picture, name)
    _colour_bar(figure, image, panels)
    return _png(figure)


def bands(picture: xr.DataArray, title: str = "") -> bytes:
    """Return a PNG of one (band, time) picture from `Workspace.rasterize`."""
    figure = _figure(8.0, 4.0, title)
    axes = figure.subplots()
    _colour_bar(figure, _draw_bands(axes, picture, ""), [axes])
    return _png(figure)


def training_curves(metrics: Sequence[Mapping[str, object]], title: str = "") -> bytes:
    """Return a PNG of a run's loss and NMSE over its steps; metrics: lines of metrics.jsonl."""
    figure = _figure(9.0, 3.4, title)
    loss, nmse = figure.subplots(1, 2)
    _draw_curve(loss, curve(metrics, "train_loss"), "training", TRAIN)
    _draw_curve(loss, curve(metrics, "holdout_loss"), "held out", HOLDOUT)
    _dress(loss, "what training minimises", "step", "loss")
    _draw_curve(nmse, curve(metrics, "holdout_nmse_db"), "held out", HOLDOUT)
    _draw_curve(nmse, curve(metrics, "pca_nmse_db"), "PCA, same code size", BASELINE, "--")
    _dress(nmse, "normalised error", "step", "NMSE (dB, companded)")
    for axes in (loss, nmse):
        axes.grid(color=GRID, linewidth=0.6)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return _png(figure)


def run_overlay(overlay: Overlay, title: str = "") -> bytes:
    """Return a PNG of several runs on common axes: held-out NMSE with PCA's, and their losses.

    Losses of models of different kinds do not compare.
    """
    figure = _figure(11.0, 4.2, title)
    nmse, loss = figure.subplots(1, 2)
    drawn = (
        (nmse, "holdout_nmse_db", "", "-"),
        (nmse, "pca_nmse_db", ": PCA", "--"),
        (loss, "holdout_loss", "", "-"),
        (loss, "train_loss", ": training", ":"),
    )
    for (run, curves), colour in zip(overlay["curves"].items(), itertools.cycle(OWN), strict=False):
        for axes, name, what, line in drawn:
            points = curves.get(name, [])
            split = [step for step, _ in points], [value for _, value in points]
            _draw_curve(axes, split, f"{_plain(run)}{what}", colour, line)
    _dress(nmse, "normalised error, held out", "step", "NMSE (dB, companded)")
    _dress(loss, "what training minimises", "step", "loss")
    for axes in (nmse, loss):
        axes.grid(color=GRID, linewidth=0.6)
        if axes.get_legend_handles_labels()[0]:
            for text in axes.legend(frameon=False, fontsize=8, labelcolor=INK).get_texts():
                text.set_parse_math(False)  # a name from outside is no mathematics
    return _png(figure)


def rate_distortion(comparison: Comparison, title: str = "") -> bytes:
    """Return a PNG of each measure over kbit/s, a line a code, with its intervals."""
    keys = [key for key in result.measured(comparison) if key != "si_sdr_db"]
    across = 2 if len(keys) == 4 else max(len(keys), 1)
    down = -(-len(keys) // across) or 1
    figure = _figure(4.6 * across, 3.6 * down, title)
    lines: dict[str, list[CodeResult]] = {}
    for code in comparison["codes"]:
        lines.setdefault(label(code), []).append(code)
    colours = _line_colours(comparison)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, key in zip(panels[: len(keys)], keys, strict=True):
        for name, codes in lines.items():
            _draw_rates(axes, sorted(codes, key=lambda one: one["kbps"]), key, name, colours[name])
        measure = comparison["measures"][key]
        better = "higher" if measure["higher_is_better"] else "lower"
        unit = f" ({measure['unit']})" if measure["unit"] else ""
        _dress(axes, f"{measure['name']}{unit}, {better} is better", "kbit/s, whole file", "")
        axes.set_xscale("log")
        axes.set_xticks(_ROUND_KBPS, [str(one) for one in _ROUND_KBPS])
        axes.minorticks_off()
        axes.grid(color=GRID, linewidth=0.6)
    if keys:
        figure.axes[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    return _png(figure)


def corpus_map(made: CorpusMap, title: str = "") -> bytes:
    """Return a PNG of recordings in the plane; up to 40 bear their titles."""
    figure = _figure(8.0, 7.0, title)
    axes = figure.subplots()
    axes.scatter(
        [point.x for point in made.points],
        [point.y for point in made.points],
        s=18 if len(made.points) <= _MOST_TITLES else 4,
        color=OWN[0],
    )
    if len(made.points) <= _MOST_TITLES:
        for point in made.points:
            name = _plain((point.title or point.id)[:40])
            axes.annotate(
                name,
                (point.x, point.y),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
                color=QUIET,
            )
    first, second = (f"{100 * share:.0f} % of the variance" for share in made.explained)
    _dress(axes, f"{len(made.points):,} of {made.recordings:,} recordings", first, second)
    return _png(figure)


def _line_colours(comparison: Comparison) -> dict[str, str]:
    """Return the colour of each line: codecs their own, fadae's codes one after another."""
    own = itertools.cycle(OWN)
    colours: dict[str, str] = {}
    for code in comparison["codes"]:
        if label(code) not in colours:
            is_other = code["kind"] == "codec"
            colours[label(code)] = OTHERS[code["name"]] if is_other else next(own)
    return colours


def _draw_rates(axes: Axes, codes: Sequence[CodeResult], key: str, name: str, colour: str) -> None:
    """Draw one code's means at its rates, with their intervals as bars."""
    points = [
        (code["kbps"], one["mean"], one["mean"] - one["low"], one["high"] - one["mean"])
        for code in codes
        if (one := code["scores"].get(key)) is not None
        and one["mean"] is not None
        and one["low"] is not None
        and one["high"] is not None
    ]
    if points:
        kbps, means, below, above = zip(*points, strict=True)
        is_other = codes[0]["kind"] == "codec"
        axes.errorbar(
            kbps,
            means,
            (below, above),
            label=name,
            color=colour,
            linewidth=1.2 if is_other else 2.2,
            linestyle="--" if is_other else "-",
            marker=_MARKS.get(name, "o"),
            markersize=4.5,
            elinewidth=0.8,
            capsize=2,
        )


def terminal_plot(
    curves: dict[str, tuple[list[float], list[float]]], width: int = 60, height: int = 10
) -> str:
    """Return curves as lines of braille dots, each named at its end.

    >>> print(terminal_plot({"loss": ([0, 1, 2], [2.0, 1.0, 0.0])}, width=6, height=2))
             2 ┤⠑⠢⣀
             0 ┤   ⠉⠢⢄ loss
               └──────
                step 0 to 2
    """
    shown = {name: points for name, points in curves.items() if points[0]}
    if not shown:
        return "no finished steps yet"
    steps = [step for points in shown.values() for step in points[0]]
    values = [value for points in shown.values() for value in points[1]]
    first, last, low, high = min(steps), max(steps), min(values), max(values)
    dots = np.zeros((height, width), dtype=np.intp)
    ends: dict[int, list[str]] = {}
    for name, points in shown.items():
        # A braille character is 2 dots wide and 4 high; rows count from the top.
        x = (np.asarray(points[0]) - first) / max(last - first, 1e-12) * (2 * width - 1)
        y = (high - np.asarray(points[1])) / max(high - low, 1e-12) * (4 * height - 1)
        across = np.arange(int(x.min()), int(x.max()) + 1)
        down = np.rint(np.interp(across, x, y)).astype(int)
        for column, row in zip(across, down, strict=True):
            dots[row // 4, column // 2] |= _BRAILLE[row % 4][column % 2]
        ends.setdefault(int(down[-1]) // 4, []).append(name)
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    lines = [
        f"{labels.get(row, ''):>10} ┤{''.join(chr(0x2800 + d) if d else ' ' for d in dots[row])}"
        f" {', '.join(ends.get(row, []))}".rstrip()
        for row in range(height)
    ]
    return "\n".join([*lines, f"{'':>11}└{'─' * width}", f"{'':>12}step {first:g} to {last:g}"])


def _draw_bands(axes: Axes, picture: xr.DataArray, title: str) -> AxesImage:
    image = _draw_image(axes, picture, "band", "magma", 0.0, 1.0)
    centre_hz = np.asarray(picture["band_centre_hz"], dtype=np.float64)
    axes.set_yticks(*hertz_ticks(centre_hz))
    _dress(axes, title, "time (s)", "band centre (Hz)")
    return image


def _draw_codes(axes: Axes, codes: xr.DataArray, title: str) -> None:
    """Draw codes between the magnitudes that one in 200 exceeds: most lie near zero.

    Bytes are drawn up to the greatest there is: they have no sign, and none of them is typical.
    """
    if codes.dtype == np.uint8:
        limit = 255.0
    else:
        limit = float(np.quantile(np.abs(codes), 0.995)) if codes.size else 1.0
    _draw_image(axes, codes, "code", "RdBu_r", -(limit or 1.0), limit or 1.0)
    _dress(axes, title, "time (s)", "code dimension")


def _draw_image(
    axes: Axes, picture: xr.DataArray, rows: str, colours: str, least: float, most: float
) -> AxesImage:
    start, stop = _time_extent(picture)
    return axes.imshow(
        np.asarray(picture.transpose(rows, "time")),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=colours,
        vmin=least,
        vmax=most,
        extent=(start, stop, -0.5, picture.sizes[rows] - 0.5),
    )


def _colour_bar(figure: Figure, image: AxesImage, panels: list[Axes]) -> None:
    bar = figure.colorbar(image, ax=panels, shrink=0.85, pad=0.01, aspect=30)
    bar.set_label("magnitude (µ-law, 0 to 1)", color=QUIET, fontsize=8)
    bar.ax.tick_params(colors=QUIET, labelsize=8, length=0)
    bar.outline.set_edgecolor(GRID)


def _dress(axes: Axes, title: str, across: str, up: str) -> None:
    """Title, labels and quiet lines; set here, not in rcParams, which all threads share."""
    axes.set_title(title, loc="left", color=INK, fontsize=10, parse_math=False)
    axes.set_xlabel(across, color=QUIET, fontsize=9)
    axes.set_ylabel(up, color=QUIET, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=3)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_edgecolor(GRID)


def _draw_curve(
    axes: Axes, points: tuple[list[float], list[float]], label: str, colour: str, line: str = "-"
) -> None:
    if len(points[0]) == 1:  # known at the end only: a level to compare with
        axes.axhline(points[1][0], linestyle=line, color=colour, label=label, linewidth=1.6)
    elif points[0]:
        axes.plot(*points, line, color=colour, label=label, linewidth=1.6)


def hertz_ticks(centre_hz: Float64) -> tuple[list[float], list[str]]:
    """Return positions on the band axis, and labels, of the round frequencies the bands span.

    >>> hertz_ticks(np.array([100.0, 200.0, 400.0]))
    ([0.0, 1.0, 1.5], ['100', '200', '300'])
    """
    inside = [hz for hz in _ROUND_HZ if centre_hz[0] <= hz <= centre_hz[-1]]
    if len(inside) < 2:  # a narrow selection: its own edges say more
        inside_hz = [centre_hz[0], centre_hz[-1]] if len(centre_hz) > 1 else [centre_hz[0]]
    else:
        inside_hz = [float(hz) for hz in inside]
    positions = np.interp(inside_hz, centre_hz, np.arange(len(centre_hz)))
    labels = [
        f"{hz / 1000:g}k" if hz >= 1000 and hz % 100 == 0 else f"{hz:.0f}" for hz in inside_hz
    ]
    return [float(p) for p in positions], labels


def _time_extent(picture: xr.DataArray) -> tuple[float, float]:
    """Return the seconds from the first column's start to the last one's end."""
    time = np.asarray(picture["time"], dtype=np.float64)
    step = float(time[1] - time[0]) if len(time) > 1 else 1.0
    return float(time[0]), float(time[-1]) + step


def _plain(title: str) -> str:
    """Return an outside text as one short printable line."""
    line = "".join(c if c.isprintable() else " " for c in title)
    return line if len(line) <= 90 else line[:89] + "…"


def _figure(width_inches: float, height_inches: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=150, layout="constrained")
    if title:  # from outside: text, never mathematics
        line = _plain(title)
        figure.suptitle(line, x=0.01, ha="left", color=INK, fontsize=11, parse_math=False)
    return figure


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
