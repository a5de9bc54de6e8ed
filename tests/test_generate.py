"""Generated codes have the statistics they were drawn with, and a seed is all they depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fadae
from fadae.errors import NoInputError, UsageError
from fadae.generate import CodeStatistics, draw, interpolate, walk
from fadae.model.codec import Codes
from fadae.query.workspace import Workspace
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.synthetic import RATE_HZ, music, write_features, write_run

HOP_SECONDS = 3750 / RATE_HZ


def wandering(frames: int = 4000, seed: int = 3) -> Codes:
    """Codes of 4 dimensions: slow, fast, a mixture of both, and constant."""
    random = np.random.default_rng(seed)
    walks = np.zeros((frames, 2))
    for frame in range(1, frames):
        noise = random.standard_normal(2)
        walks[frame] = (0.95, 0.2) * walks[frame - 1] + np.sqrt((1 - 0.95**2, 1 - 0.2**2)) * noise
    slow, fast = walks.T
    values = np.stack([0.2 * slow, 0.1 + 0.05 * fast, 0.1 * (slow + fast), 0 * slow + 0.3], axis=1)
    scale = np.exp(-1 + 0.2 * random.standard_normal((frames, 1)))
    return Codes(values.astype(np.float32), scale.astype(np.float32), HOP_SECONDS)


def correlation(x: np.ndarray) -> float:
    return float(np.corrcoef(x[1:], x[:-1])[0, 1])


def test_drawn_codes_have_mean_and_spread_and_no_memory() -> None:
    known = wandering()
    new = draw(CodeStatistics.measure([known]), 4000, seed=1)
    np.testing.assert_allclose(new.values.mean(0), known.values.mean(0), atol=0.02)
    np.testing.assert_allclose(new.values.std(0), known.values.std(0), rtol=0.1, atol=1e-6)
    assert abs(correlation(new.values[:, 0])) < 0.06
    assert new.scale is not None
    assert np.log(new.scale).mean() == pytest.approx(-1, abs=0.05)


def test_walked_codes_move_as_the_known_ones() -> None:
    known = wandering()
    new = walk(CodeStatistics.measure([known]), 8000, seed=1)
    for dimension in range(3):
        expected = correlation(known.values[:, dimension])
        assert correlation(new.values[:, dimension]) == pytest.approx(expected, abs=0.06)
    np.testing.assert_allclose(np.cov(new.values.T), np.cov(known.values.T), rtol=0.35, atol=1.5e-3)
    np.testing.assert_allclose(new.values[:, 3], 0.3, atol=1e-6)
    assert new.values.min() >= known.values.min() and new.values.max() <= known.values.max()


def test_frames_around_silence_are_no_neighbours() -> None:
    """Ten frames of a slow walk, then silence or damage, then ten of another place."""
    known = wandering()
    whole = CodeStatistics.measure([known])
    pieces = [known[start : start + 10] for start in range(0, 4000, 400)]
    apart = CodeStatistics.measure(pieces)
    for gap_scale in (1.0, np.nan):
        gap = Codes(np.zeros((1, 4), np.float32), np.full((1, 1), gap_scale, np.float32))
        joined = [part for piece in pieces for part in (gap, piece)]
        together = Codes(
            np.concatenate([part.values for part in joined]),
            np.concatenate([part.scale for part in joined]),
            HOP_SECONDS,
        )
        found = CodeStatistics.measure([together])
        np.testing.assert_allclose(found.mean, apart.mean)
        np.testing.assert_allclose(found.correlation, apart.correlation)
    assert whole.correlation.max() > 0.9


def test_interpolation_begins_as_one_and_ends_as_the_other() -> None:
    a, b = wandering(20, seed=1), wandering(30, seed=2)
    between = interpolate(a, b)
    assert len(between) == 20
    np.testing.assert_allclose(between.values[0], a.values[0], atol=1e-6)
    np.testing.assert_allclose(between.values[-1], b.values[19], atol=1e-6)
    assert between.scale is not None and a.scale is not None and b.scale is not None
    np.testing.assert_allclose(
        between.scale[[0, -1], 0], [a.scale[0, 0], b.scale[19, 0]], rtol=1e-5
    )


def test_silence_has_no_statistics() -> None:
    silent = Codes(np.zeros((9, 4), np.float32), np.ones((9, 1), np.float32), HOP_SECONDS)
    with pytest.raises(NoInputError, match="fewer than two"):
        CodeStatistics.measure([silent])


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("generate")))
    write_features(location, {"a/1.ogg": music(40, seed=1), "a/2.ogg": music(30, seed=2)})
    write_run(location)
    return location


@pytest.mark.parametrize("method", ["normal", "walk", "interpolate"])
def test_sound_is_as_long_as_asked_and_a_function_of_its_seed(
    location: Location, method: str
) -> None:
    workspace = fadae.open(location.url)
    between = ("a/1.ogg", "a/2.ogg") if method == "interpolate" else None

    def sound(seed: int, seconds: float = 2.34) -> np.ndarray:
        return workspace.generate(method=method, seconds=seconds, seed=seed, between=between)

    one = sound(7)
    assert one.shape == (round(2.34 * RATE_HZ),) and one.dtype == np.float32
    assert np.abs(one).max() <= 1 and one.std() > 0
    assert np.array_equal(one, sound(7))
    assert np.array_equal(one, sound(8)) == (method == "interpolate")


def test_codes_written_and_codes_computed_generate_alike(
    location: Location, tmp_path: Path
) -> None:
    before = fadae.open(location.url).generate(seconds=3)
    reconstruct(location)
    np.testing.assert_allclose(fadae.open(location.url).generate(seconds=3), before, atol=1e-5)


def test_what_cannot_be_generated_is_said(location: Location) -> None:
    workspace: Workspace = fadae.open(location.url)
    with pytest.raises(UsageError, match="cannot generate with method 'dance'"):
        workspace.generate(method="dance")
    with pytest.raises(UsageError, match="takes two recordings"):
        workspace.generate(method="interpolate")
    with pytest.raises(UsageError, match="nearest"):
        workspace.generate(method="interpolate", between=("a/1.ogg", "a/3.ogg"))
    with pytest.raises(UsageError, match="seconds"):
        workspace.generate(seconds=0)
    with pytest.raises(UsageError, match="no run"):
        workspace.generate("other")
