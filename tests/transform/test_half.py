"""to_float16 gives numpy's bits, for every kind of value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fadae.transform.half import to_float16


def same_bits(x: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    got = to_float16(x)
    return got.shape == x.shape and bool(np.all(got.view(np.uint16) == expected.view(np.uint16)))


@given(arrays.arrays(np.float32, arrays.array_shapes(min_side=0), elements=st.floats(width=32)))
def test_any_array(x: np.ndarray) -> None:
    assert same_bits(x)


def test_every_float16_and_the_ties_between_them() -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[:-1] + halves[1:]) / 2
    for x in (halves, ties, np.nextafter(ties, 0), np.nextafter(ties, np.float32(9e9))):
        assert same_bits(x)
        assert same_bits(-x)


def test_a_sweep_of_all_float32() -> None:
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    assert same_bits(bits.view(np.float32))


def test_strides_and_other_types() -> None:
    x = np.random.default_rng(0).standard_normal((50, 60)).astype(np.float32)
    assert same_bits(x[::3, ::-2])
    with pytest.raises(TypeError, match="float64"):
        to_float16(np.zeros(3))  # type: ignore[arg-type]
