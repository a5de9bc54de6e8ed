"""A trained run as a codec: mu-law, scaling and network, both ways, NumPy in and out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from fadae.errors import NoInputError, UsageError
from fadae.model.companding import compand, expand
from fadae.model.contract import Model, model_class
from fadae.model.device import resolve_device
from fadae.store.location import Location

Array = NDArray[np.float32]
FRAMES_AT_A_TIME = 256


@dataclass(frozen=True)
class Codes:
    """Encoded frames that keep their place in time: slices of codes are codes, and decode.

    values: [F, code] float32; scale: [F, 1] float32; frame f's hop begins at start_seconds +
    f * hop_seconds within its recording. Codes that nobody placed in time have NaN there.
    """

    values: Array
    scale: Array
    hop_seconds: float = math.nan
    start_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def time_seconds(self) -> NDArray[np.float64]:
        """Start of each frame's hop within the recording, in seconds, [F]."""
        return np.asarray(self.start_seconds + np.arange(len(self)) * self.hop_seconds)

    def __getitem__(self, frames: slice) -> Self:
        """Return the codes of some neighbouring frames.

        >>> codes = Codes(np.zeros((4, 2), "f4"), np.ones((4, 1), "f4"), hop_seconds=0.5)
        >>> codes[2:].time_seconds.tolist()
        [1.0, 1.5]
        """
        start, stop, step = frames.indices(len(self))
        if step != 1:
            raise UsageError("codes keep their time axis: slice them without a step")
        return dataclasses.replace(
            self,
            values=self.values[start:stop],
            scale=self.scale[start:stop],
            start_seconds=self.start_seconds + start * self.hop_seconds,
        )

    def between(self, start_seconds: float, stop_seconds: float) -> Self:
        """Return the codes of the frames whose hops overlap [start, stop) of the recording.

        >>> codes = Codes(np.zeros((4, 2), "f4"), np.ones((4, 1), "f4"), hop_seconds=0.5)
        >>> codes.between(0.5, 1.2).time_seconds.tolist()
        [0.5, 1.0]
        """
        time = self.time_seconds
        inside = np.flatnonzero((time < stop_seconds) & (time + self.hop_seconds > start_seconds))
        return self[inside[0] : inside[-1] + 1] if len(inside) else self[0:0]


class Codec:
    """A model with its preprocessing: frames of raw coefficients to codes and back."""

    def __init__(
        self, model: Model, config: dict[str, Any], device: str = "cpu", model_sha256: str = ""
    ) -> None:
        """Take a model and the run's config.json, and its file's SHA-256; use `load`."""
        self.device = resolve_device(device)
        self.model = model.to(self.device)
        self.config = config
        self.model_sha256 = model_sha256

    @classmethod
    def load(cls, location: Location, run: str = "default", device: str = "cpu") -> Self:
        """Return the codec of a trained run.

        `model_sha256` of the codec is that of the very bytes it was made of. Raises NoInputError
        where the run has no model, UsageError where its files do not fit or no such device is here.
        """
        try:
            tensors = location.read_bytes(f"runs/{run}/model.safetensors")
            config = json.loads(location.read_bytes(f"runs/{run}/config.json"))
        except FileNotFoundError as error:
            raise NoInputError(
                f"{location.url} holds no trained run {run!r}; run `fadae train --run {run}`"
            ) from error
        model = model_class(config["model"]["name"]).from_config(config["model"])
        try:
            model.load_state_dict(safetensors.torch.load(tensors))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise UsageError(
                f"runs/{run}/model.safetensors does not fit its config.json: {error}"
            ) from error
        return cls(model, config, device, hashlib.sha256(tensors).hexdigest())

    @property
    def feature_size(self) -> int:
        """Coefficients of a frame."""
        return int(self.config["model"]["features"])

    @property
    def code_size(self) -> int:
        """Dimensions of a code."""
        return self.model.code_size

    @property
    def hop_seconds(self) -> float:
        """Time from a frame to the next."""
        return float(self.config["dataset"]["hop_seconds"])

    def encode(self, features: NDArray[Any], start_seconds: float = 0.0) -> Codes:
        """Return the codes of raw coefficients [F, C]; `start_seconds` places the first frame."""
        self._expect(features, self.feature_size, "features")
        values = np.empty((len(features), self.code_size), dtype=np.float32)
        scales = np.empty((len(features), 1), dtype=np.float32)
        with torch.inference_mode():
            for part in _parts(len(features)):
                companded, scale = compand(self._tensor(features[part]))
                values[part] = self.model.encode(companded).float().cpu().numpy()
                scales[part] = scale.cpu().numpy()
        return Codes(values, scales, self.hop_seconds, start_seconds)

    def decode(self, codes: Codes) -> Array:
        """Return the raw coefficients [F, C] float32 that codes stand for."""
        self._expect(codes.values, self.code_size, "codes")
        features = np.empty((len(codes), self.feature_size), dtype=np.float32)
        with torch.inference_mode():
            for part in _parts(len(codes)):
                values = self.model.decode(self._tensor(codes.values[part])).float()
                features[part] = expand(values, self._tensor(codes.scale[part])).cpu().numpy()
        return features

    def reconstruct(self, features: NDArray[Any]) -> Array:
        """Return decode(encode(features)): [F, C] raw coefficients to [F, C] float32."""
        return self.decode(self.encode(features))

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        # from_numpy refuses read-only memory and foreign byte orders; a frame block is small.
        return torch.from_numpy(np.array(array, dtype=_torch_dtype(array))).to(self.device)

    def _expect(self, array: NDArray[Any], width: int, what: str) -> None:
        if array.ndim != 2 or array.shape[1] != width:
            raise UsageError(
                f"this codec takes {what} of shape [frames, {width}], got {list(array.shape)}"
            )


def _torch_dtype(array: NDArray[Any]) -> Any:
    return np.float16 if array.dtype == np.float16 else np.float32


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, FRAMES_AT_A_TIME):
        yield slice(start, start + FRAMES_AT_A_TIME)
