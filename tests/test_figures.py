"""Figures are PNGs of their size whatever they are given to draw."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import xarray as xr

from fadae import figures


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def picture(bands: int, columns: int) -> xr.DataArray:
    return xr.DataArray(
        np.random.default_rng(0).random((bands, columns)),
        dims=("band", "time"),
        coords={
            "time": np.arange(columns) / 8,
            "band_centre_hz": ("band", np.geomspace(300, 3000, bands)),
        },
    )


@pytest.mark.parametrize(("bands", "columns"), [(300, 80), (1, 1)])
def test_originals_codes_and_reconstructions_stand_side_by_side(bands: int, columns: int) -> None:
    drawn = picture(bands, columns)
    codes = xr.DataArray(np.zeros((16, 4)), dims=("code", "time"), coords={"time": np.arange(4.0)})
    title = "$\\frac{ <b>&\n\x1b[31m" + "long " * 60  # from outside: neither TeX nor escapes
    assert size(figures.side_by_side(drawn, codes, drawn, title)) == (1650, 585)


@pytest.mark.parametrize("lines", [0, 1, 50])
def test_training_curves_draw_what_there_is(lines: int) -> None:
    metrics = [
        {"step": n, "train_loss": 1 / (n + 1), "holdout_loss": None if n % 2 else float("nan")}
        for n in range(lines)
    ]
    metrics.append({"step": lines, "pca_nmse_db": -1.0})
    assert size(figures.training_curves(metrics, "run")) == (1350, 510)


def test_a_terminal_plot_has_the_size_asked_for() -> None:
    steps = [float(n) for n in range(1000)]
    text = figures.terminal_plot({"loss": (steps, [1 / (n + 1) for n in steps])}, 40, 6)
    lines = text.splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) <= 12 + 40 + len(" loss")
    assert figures.terminal_plot({"loss": ([], [])}) == "no finished steps yet"
    flat = figures.terminal_plot({"loss": ([3.0], [2.0])}, 5, 3)
    assert "step 3 to 3" in flat
