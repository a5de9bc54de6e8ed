"""The codec: NumPy in and out, both ways, the codes' place in time; companding as in NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from fadae.errors import CodeError, NoInputError, UsageError
from fadae.model.codec import Codec, Codes
from fadae.model.companding import compand, expand
from fadae.model.dense import Dense
from fadae.store.location import Location
from fadae.transform.companding import compand as compand_in_numpy
from tests.model.toy import Toy

SIZE = 512
CONFIG: Any = {
    "model": {"name": "dense", "features": SIZE, "widths": [64, 16]},
    "dataset": {"hop_seconds": 0.25},
}


def coefficients(count: int = 20, dtype: type = np.float32) -> NDArray[Any]:
    return (np.random.default_rng(0).standard_normal((count, SIZE)) * 0.1).astype(dtype)


@pytest.fixture
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(Dense(SIZE, (64, 16)), CONFIG)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_companding_is_that_of_the_transform_room(dtype: type) -> None:
    raw = coefficients(dtype=dtype)
    raw[3] = 0
    values, scale = compand(torch.from_numpy(raw))
    expected, expected_scale = compand_in_numpy(raw.astype(np.float32))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(scale.numpy(), expected_scale, rtol=1e-6)
    assert scale[3] == 1
    assert values.abs().max() <= 1
    np.testing.assert_allclose(expand(values, scale).numpy(), raw, rtol=1e-4, atol=1e-6)


def test_codes_have_their_shapes(codec: Codec) -> None:
    codes = codec.encode(coefficients(300, np.float16))
    assert codes.scale is not None
    assert (codes.values.shape, codes.scale.shape) == ((300, 16), (300, 1))
    assert codes.values.dtype == codes.scale.dtype == np.float32
    decoded = codec.decode(codes)
    assert decoded.shape == (300, SIZE)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(codec.reconstruct(coefficients(300, np.float16)), decoded)


def test_a_slice_of_codes_decodes_to_the_slice(codec: Codec) -> None:
    codes = codec.encode(coefficients(), start_seconds=2.0)
    part = codes.between(2.5, 3.1)
    assert part.time_seconds.tolist() == [2.5, 2.75, 3.0]
    np.testing.assert_allclose(codec.decode(part), codec.decode(codes)[2:5], rtol=1e-5, atol=1e-7)
    # A hop that ends where the stretch begins is not in it, nor is one that begins where it ends.
    assert codes.between(2.5, 3.0).time_seconds.tolist() == [2.5, 2.75]
    assert len(codes.between(100, 101)) == 0
    with pytest.raises(UsageError, match="without a step"):
        codes[::2]


@pytest.mark.parametrize("kernel", [{}, {"MKL_CBWR": "COMPATIBLE"}, {"MKL_CBWR": "AVX2"}])
def test_no_frame_depends_on_those_beside_it(kernel: dict[str, str]) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.model.alike"],
        env=os.environ | kernel,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr


def test_silence_stays_silent_in_scale_and_padding_stays_padding(codec: Codec) -> None:
    raw = coefficients()
    raw[1], raw[2] = 0, np.nan
    codes = codec.encode(raw)
    assert codes.scale is not None
    assert codes.scale[1] == 1
    assert np.isnan(codes.scale[2])
    assert np.isfinite(np.delete(codec.decode(codes), 2, axis=0)).all()


def test_rows_that_were_lost_are_silence_in_whole_numbers() -> None:
    codec = Codec(Toy(SIZE, 5), CONFIG)
    raw = coefficients()
    raw[1], raw[2], raw[3, 7] = 0, np.nan, np.inf
    sound = np.delete(raw, [1, 2, 3], axis=0)
    assert codec.prepare(raw) == codec.prepare(sound)
    codes = codec.encode(raw)
    assert codes.code_bytes is not None
    assert np.flatnonzero(codes.code_bytes == 0).tolist() == [1, 2, 3]
    assert not codec.decode(codes)[1:4].any()
    np.testing.assert_array_equal(
        np.delete(codec.decode(codes), [1, 2, 3], axis=0), codec.reconstruct(sound)
    )


@pytest.mark.parametrize("length", [-1, 1, 17])
def test_codes_that_do_not_end_where_they_say_are_damaged(length: int) -> None:
    codec = Codec(Toy(SIZE, 5), CONFIG)
    codes = codec.encode(coefficients())
    assert codes.code_bytes is not None
    codes.code_bytes[4] = length
    with pytest.raises(CodeError, match=f"code of frame 4 does not end after {length} of 16"):
        codec.decode(codes)


def test_read_only_and_empty_input(codec: Codec) -> None:
    raw = coefficients()
    raw.flags.writeable = False
    assert len(codec.encode(raw)) == 20
    assert codec.reconstruct(raw[:0]).shape == (0, SIZE)


def test_a_wrong_width_is_told(codec: Codec) -> None:
    with pytest.raises(UsageError, match=r"\[frames, 512\], got \[2, 100\]"):
        codec.encode(np.zeros((2, 100), dtype=np.float32))
    with pytest.raises(UsageError, match=r"codes of shape \[frames, 16\]"):
        codec.decode(Codes(np.zeros((2, 3), "f4"), np.ones((2, 1), "f4")))


def test_a_missing_run_is_told(tmp_path: object) -> None:
    with pytest.raises(NoInputError, match="fadae train --run nobody"):
        Codec.load(Location(str(tmp_path)), "nobody")


def test_files_that_do_not_fit_are_told(tmp_path: object, codec: Codec) -> None:
    location = Location(str(tmp_path))
    tensors = Dense(SIZE, (32, 16)).state_dict()
    location.write_bytes("runs/odd/model.safetensors", safetensors.torch.save(tensors))
    location.write_bytes("runs/odd/config.json", str(CONFIG).replace("'", '"').encode())
    with pytest.raises(UsageError, match="does not fit"):
        Codec.load(location, "odd")
    location.write_bytes("runs/odd/model.safetensors", b"torn")
    with pytest.raises(UsageError, match="does not fit"):
        Codec.load(location, "odd")
