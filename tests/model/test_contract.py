"""What every model must do. A new one is one line here."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from fadae.errors import UsageError
from fadae.model.contract import ClosedForm, Model, model_class, model_names

MODELS = ["dense", "pca"]
FEATURES, CODE = 96, 8


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
    model = model_class(name).create(FEATURES, (32, CODE), 200)
    if isinstance(model, ClosedForm):
        model.fit(Whole(frames()))
    return model


def test_all_models_are_under_contract() -> None:
    assert model_names() == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_encode_and_decode_have_their_shapes_and_bounds(name: str) -> None:
    model = ready(name)
    assert isinstance(model, Model)
    assert isinstance(model, nn.Module)
    codes = model.encode(frames())
    assert codes.shape == (200, model.code_size) == (200, CODE)
    values = model.decode(codes)
    assert values.shape == (200, FEATURES)
    assert values.abs().max() <= 1
    assert torch.equal(model(frames()), values)
    assert model.decode(codes * 1000).abs().max() <= 1


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_from_its_files(name: str) -> None:
    model = ready(name)
    data = safetensors.torch.save(model.state_dict())
    other = model_class(name).from_config(json.loads(json.dumps(model.config())))
    other.load_state_dict(safetensors.torch.load(data))
    assert torch.equal(other(frames()), model(frames()))
    assert safetensors.torch.save(other.state_dict()) == data


@pytest.mark.parametrize("name", MODELS)
def test_frames_are_coded_one_by_one(name: str) -> None:
    model = ready(name)
    assert torch.allclose(model(frames())[:3], model(frames()[:3]), atol=1e-6)
    assert model(frames()[:0]).shape == (0, FEATURES)


def test_pca_is_the_best_linear_code() -> None:
    values = frames() + 0.05 * torch.randn(
        200, FEATURES, generator=torch.Generator().manual_seed(1)
    )
    pca = model_class("pca").create(FEATURES, (CODE,), 200)
    assert isinstance(pca, ClosedForm)
    pca.fit(Whole(values))
    centred = values - values.mean(0)
    best = torch.linalg.svd(centred, full_matrices=False).S[CODE:].square().sum()
    components = pca.state_dict()["components"]
    left = (centred - centred @ components.T @ components).square().sum()
    assert left <= best * 1.001


def test_pca_has_no_more_components_than_frames() -> None:
    assert model_class("pca").create(FEATURES, (64,), 20).code_size == 20


def test_pca_fits_fewer_frames_than_components() -> None:
    pca = model_class("pca").create(FEATURES, (6,), 6)
    assert isinstance(pca, ClosedForm)
    pca.fit(Whole(frames(4)))  # two of the six frames were silent
    assert pca.code_size == 6
    assert torch.allclose(pca(frames(4)), frames(4), atol=1e-5)


def test_the_seeds_model_has_its_size() -> None:
    model = model_class("dense").create(8192, (1024, 512, 256), 1)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == 18_087_936


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'conv'; there are dense, pca"):
        model_class("conv")
