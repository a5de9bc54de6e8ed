"""mu-law and scaling: zounds' values, both ways, silence, and the fused forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fadae.transform.adaptive import FrequencyAdaptiveTransform
from fadae.transform.companding import compand, expand, instance_scale, inverse_mu_law, mu_law
from tests.transform import zounds

frames = arrays.arrays(
    np.float64,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.floats(-100, 100, allow_subnormal=False),
)
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_parity_with_zounds() -> None:
    t = FrequencyAdaptiveTransform.preset("zounds")
    c = t.analyze(zounds.signal())
    peaks = zounds.vectors()["instance_max"][:, None]
    zounds.assert_zounds("mu_law", mu_law(c))
    zounds.assert_zounds("rasterize64_mu_law_window3", mu_law(t.rasterize(c[3:4], 64)[0]))
    for values, scale in (instance_scale(mu_law(c)), compand(c)):
        zounds.assert_zounds("instance_scaled", values)
        np.testing.assert_allclose(scale, peaks, rtol=0, atol=1e-12)


@given(frames)
def test_mu_law_both_ways(c: np.ndarray) -> None:
    y = mu_law(c)
    np.testing.assert_allclose(inverse_mu_law(y), c, rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(np.sign(y), np.sign(c))


@given(frames)
def test_compand_is_mu_law_then_scaling_and_expand_undoes_it(c: np.ndarray) -> None:
    values, scale = compand(c)
    expected_values, expected_scale = instance_scale(mu_law(c))
    np.testing.assert_allclose(values, expected_values, rtol=1e-12)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-12)
    np.testing.assert_allclose(expand(values, scale), c, rtol=1e-11, atol=1e-300)
    assert np.all(np.abs(values) <= 1)
    loud = c.any(axis=1)
    np.testing.assert_array_equal(np.abs(values).max(axis=1)[loud], 1)


@both_precisions
@pytest.mark.parametrize("scaling", [compand, instance_scale])
def test_a_silent_frame_has_scale_one_and_values_zero(scaling: Any, dtype: Any) -> None:
    c = np.zeros((3, 8), dtype)
    c[1] = 0.5
    values, scale = scaling(c)
    assert values.dtype == scale.dtype == dtype
    assert scale[0] == scale[2] == 1
    assert not values[0].any()
    assert not values[2].any()
    assert not expand(values, scale)[0].any()


def test_quiet_float32_keeps_its_digits() -> None:
    c = np.geomspace(1e-12, 1, 100, dtype=np.float32).reshape(1, -1)
    np.testing.assert_allclose(expand(*compand(c)), c, rtol=2e-6)
    np.testing.assert_allclose(inverse_mu_law(mu_law(c)), c, rtol=2e-6)


def test_many_frames_are_companded_as_one_by_one() -> None:
    c = np.random.default_rng(0).standard_normal((40, 8192)).astype(np.float32)
    values, scale = compand(c)
    for f in (0, 7, 8, 39):
        one, its_scale = compand(c[f : f + 1])
        np.testing.assert_array_equal(one[0], values[f])
        np.testing.assert_array_equal(its_scale[0], scale[f])


def test_stored_half_precision_is_companded_in_float32() -> None:
    c = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float16)
    values, scale = compand(c)
    assert values.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(expand(values, scale), c, rtol=1e-5)


def test_a_nan_stays_in_its_frame() -> None:
    c = np.ones((3, 4))
    c[1, 2] = np.nan
    values, scale = compand(c)
    assert np.isnan(values[1]).all()
    assert np.isnan(scale[1]).all()
    assert np.isfinite(values[[0, 2]]).all()


@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (0, 0)])
def test_nothing_makes_nothing(shape: tuple[int, int]) -> None:
    for scaling in (compand, instance_scale):
        values, scale = scaling(np.zeros(shape, np.float32))
        assert values.shape == shape
        assert scale.shape == (shape[0], 1)
        assert expand(values, scale).shape == shape


def test_other_types_and_shapes_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        mu_law(np.zeros(3, np.int64))
    with pytest.raises(TypeError, match="int64"):
        compand(np.zeros((3, 3), np.int64))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        compand(np.zeros(3))
    with pytest.raises(ValueError, match="scale has shape"):
        expand(np.zeros((3, 3)), np.ones(3))
