"""What every model must do. A new one is one line here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from fadae.errors import UsageError
from fadae.model.codec import pass_through
from fadae.model.config import ModelConfig
from fadae.model.contract import (
    ClosedForm,
    FrameShape,
    Generates,
    Measures,
    Model,
    OwnLoss,
    Prepares,
    StoredCodes,
    model_class,
    model_names,
)
from fadae.model.pca import PcaOptions
from fadae.records import CodeSpec

OPTIONS: dict[str, dict[str, object]] = {
    "bytes": {"code_bytes": 64},
    "dense": {"widths": [32, 8]},
    "pca": {"widths": [32, 8]},
    "tables": {"code_bytes": 64},
    "toy": {"keep": 5},
}
MODELS = list(OPTIONS)
FEATURES, CODE = 96, 8
SHAPE = FrameShape(FEATURES)

pytestmark = pytest.mark.usefixtures("toy_installed")


class Whole:
    """A sample that lies in one place."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.frames, self.seed = values, len(values), 0

    def total(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([function(part) for part in torch.split(self.values, 50)]).sum(0)


def frames(count: int = 200) -> Tensor:
    """Values in [-1, 1] with a few directions that matter."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(CODE, FEATURES, generator=generator)
    values = torch.randn(count, CODE, generator=generator) @ patterns
    return values / values.abs().amax(1, keepdim=True)


def ready(name: str) -> Model:
    torch.manual_seed(0)
    model = ModelConfig(name, OPTIONS[name]).create(SHAPE, 200)
    if isinstance(model, ClosedForm):
        model.fit(Whole(frames()))
    return model


def encoded(model: Model, values: Tensor) -> StoredCodes:
    prepared = None
    if isinstance(model, Prepares):
        prepared = torch.full((len(values),), model.prepare(frames()), dtype=torch.float64)
    return model.encode(values, prepared)


def part(codes: StoredCodes, rows: slice) -> StoredCodes:
    lengths = None if codes.lengths is None else codes.lengths[rows]
    return StoredCodes(codes.values[rows], lengths)


@torch.inference_mode()
def made(model: Model, values: Tensor) -> Tensor:
    return model.decode(encoded(model, values))


def test_all_models_are_under_contract() -> None:
    assert [name for name in model_names() if name not in ("broken", "odd")] == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_codes_are_what_their_spec_says(name: str) -> None:
    model = ready(name)
    assert isinstance(model, Model)
    assert isinstance(model, nn.Module)
    code, codes = model.code, encoded(model, frames())
    assert codes.values.shape == (200, code.size)
    assert str(codes.values.dtype) == f"torch.{code.dtype}"
    assert (codes.lengths is not None) == code.variable
    if codes.lengths is not None:
        assert codes.lengths.min() >= 0 and codes.lengths.max() <= code.size
        after = torch.arange(code.size) >= codes.lengths[:, None]
        assert (codes.values[after] == code.fill).all()


@pytest.mark.parametrize("name", MODELS)
def test_decoded_frames_have_their_shape_and_bounds(name: str) -> None:
    model = ready(name)
    values = made(model, frames())
    assert values.shape == (200, FEATURES)
    assert values.abs().max() <= (1 if model.code.carries_scale else 1.1)
    error = (values - frames()).square().sum()
    assert error < 1.05 * frames().square().sum()  # even an untrained one is not off the scale
    if model.code.interpolates:
        far = StoredCodes(encoded(model, frames()).values * 1000)
        assert model.decode(far).abs().max() <= 1


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_from_its_files(name: str) -> None:
    model = ready(name)
    data = safetensors.torch.save(model.state_dict())
    other = model_class(name).from_config(json.loads(json.dumps(model.config())))
    other.load_state_dict(safetensors.torch.load(data))
    assert other.code == model.code
    assert torch.equal(made(other, frames()), made(model, frames()))
    assert safetensors.torch.save(other.state_dict()) == data


@pytest.mark.parametrize("name", MODELS)
def test_frames_are_coded_one_by_one(name: str) -> None:
    model = ready(name)
    codes = encoded(model, frames())
    assert torch.allclose(made(model, frames())[:3], made(model, frames()[:3]), atol=1e-6)
    some = model.decode(part(codes, slice(7, 9)))
    assert torch.allclose(some, model.decode(codes)[7:9], atol=1e-6)
    assert made(model, frames()[:0]).shape == (0, FEATURES)


@pytest.mark.parametrize("name", MODELS)
def test_what_training_minimises_has_a_gradient(name: str) -> None:
    model = ready(name)
    assert isinstance(model, nn.Module)
    if isinstance(model, ClosedForm):
        pytest.skip("computed, not learned")
    output = model(frames())
    loss = model.loss(output, frames()) if isinstance(model, OwnLoss) else output.sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_can_do_besides(name: str) -> None:
    model = ready(name)
    if isinstance(model, Prepares):
        assert math.isfinite(model.prepare(frames())) and math.isfinite(model.prepare(frames()[:0]))
    if isinstance(model, Measures):
        found = model.measure(frames(), encoded(model, frames()))
        assert found.shape == (200, len(model.figures))
    if isinstance(model, Generates):
        for method in model.methods:
            new = model.generate(method, 6, seed=1)
            assert model.decode(new).shape == (6, FEATURES)
            assert torch.equal(new.values, model.generate(method, 6, seed=1).values)
            assert not torch.equal(new.values, model.generate(method, 6, seed=2).values)
    assert model.code.interpolates or isinstance(model, Generates)


@pytest.mark.parametrize("name", MODELS)
def test_frames_that_cannot_be_read_harm_no_other(name: str) -> None:
    model = ready(name)
    raw = frames(20)
    prepared = torch.full((20,), model.prepare(raw)).double() if hasattr(model, "prepare") else None
    whole = pass_through(model, raw, prepared)
    raw[4, 3] = math.nan
    holed = pass_through(model, raw, prepared)
    others = [row for row in range(20) if row != 4]
    assert torch.equal(holed.codes.values[others], whole.codes.values[others])
    assert holed.original[4].isnan().any()  # so that nobody judges a model by it


def test_pca_is_the_best_linear_code() -> None:
    values = frames() + 0.05 * torch.randn(
        200, FEATURES, generator=torch.Generator().manual_seed(1)
    )
    pca = PcaOptions((CODE,)).create(SHAPE, 200)
    pca.fit(Whole(values))
    centred = values - values.mean(0)
    best = torch.linalg.svd(centred, full_matrices=False).S[CODE:].square().sum()
    components = pca.state_dict()["components"]
    left = (centred - centred @ components.T @ components).square().sum()
    assert left <= best * 1.001


def test_pca_has_no_more_components_than_frames() -> None:
    assert PcaOptions((64,)).create(SHAPE, 20).code.size == 20


def test_pca_fits_fewer_frames_than_components() -> None:
    pca = PcaOptions((6,)).create(SHAPE, 6)
    pca.fit(Whole(frames(4)))  # two of the six frames were silent
    assert pca.code.size == 6
    assert torch.allclose(pca(frames(4)), frames(4), atol=1e-5)


def test_the_seeds_model_has_its_size() -> None:
    model = ModelConfig("dense", {}).create(FrameShape(8192), 1)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 18_087_936


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'conv'; there are bytes, dense, pca, tables"):
        model_class("conv")


def test_a_package_that_brings_no_model_is_named() -> None:
    with pytest.raises(UsageError, match="'broken' of fadae-toy cannot be loaded"):
        model_class("broken")
    with pytest.raises(UsageError, match=r"'odd' of fadae-toy \(fadae_toy:step\).* lacks Options"):
        model_class("odd")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("toy", {"keeps": 3}, "no option of model 'toy' 'keeps'; nearest: 'keep'"),
        ("toy", {"widths": [8]}, "no option of model 'toy' 'widths'"),
        ("toy", {"keep": "3"}, "option keep of model 'toy' is of type int, not '3'"),
        ("toy", {"keep": True}, "of type int, not True"),
        ("toy", {"keep": 97}, "from 1 to the 96 coefficients"),
        ("dense", {"widths": [8, 0.5]}, "option widths"),
        ("dense", {"widths": []}, "one or more above 0"),
        ("pca", {"widths": [0]}, "one or more above 0"),
        ("bytes", {"code_bytes": 15}, "code_bytes 15: from 16 to 8192"),
        ("tables", {"rate": "fast"}, "rate 'fast': average or constant"),
    ],
)
def test_options_that_make_no_sense_are_said(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        ModelConfig(name, options).create(SHAPE, 100)


def test_a_spec_that_no_store_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8 has no NaN"):
        CodeSpec(8, "uint8")
    with pytest.raises(ValueError, match="variable length are uint8"):
        CodeSpec(8, variable=True)
    with pytest.raises(ValueError, match="at least one"):
        CodeSpec(0)
