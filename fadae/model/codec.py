"""A trained run as a codec: preprocessing and model, both ways, NumPy in and out."""

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
from torch import Tensor

from fadae import html
from fadae.arrays import Array, Float32, Float64
from fadae.audio import to_pcm
from fadae.coding import EntropyModel, compress, decompress
from fadae.errors import CodeError, FadaeError, NoInputError, UsageError
from fadae.model.companding import compand, compand_by, expand, values_of
from fadae.model.config import resolve_device
from fadae.model.contract import (
    PREPARED_FRAMES,
    ByteCoding,
    Generates,
    Model,
    Prepares,
    StoredCodes,
    model_class,
)
from fadae.records import CodeSpec, RunConfig
from fadae.store import Location, paths, spread

FRAMES_AT_A_TIME = 256
# Frames go through a model in multiples of this. MKL multiplies up to seven rows, and rows beyond
# a multiple of sixteen, by other ways that round differently.
_FRAMES_ALIKE = 16


@dataclass(frozen=True)
class Codes:
    """Encoded frames that keep their place in time: slices of codes are codes, and decode.

    values: [F, code] of the code's type; scale: [F, 1] float32, None where codes carry none;
    code_bytes: [F] bytes that count, None where all do. Frame f's hop begins at start_seconds +
    f * hop_seconds within its recording. Codes that nobody placed in time have NaN there.
    """

    values: Array
    scale: Float32 | None
    hop_seconds: float = math.nan
    start_seconds: float = 0.0
    code_bytes: NDArray[np.integer] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def time_seconds(self) -> Float64:
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
            scale=None if self.scale is None else self.scale[start:stop],
            start_seconds=self.start_seconds + start * self.hop_seconds,
            code_bytes=None if self.code_bytes is None else self.code_bytes[start:stop],
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


@dataclass(frozen=True)
class Passage:
    """Frames through a model and back, beside the values in which models compare."""

    codes: StoredCodes
    scale: Tensor  # [n, 1] of the original frames
    original: Tensor  # [n, C] companded and divided by their scale
    decoded: Tensor  # [n, C] companded and divided by the same scale
    coefficients: Tensor  # [n, C] decoded


class Codec:
    """A model with its preprocessing: frames of raw coefficients to codes and back."""

    def __init__(
        self, model: Model, config: RunConfig, device: str = "cpu", model_sha256: str = ""
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
            tensors = location.read_bytes(paths.run_path(run, "model.safetensors"))
            config = json.loads(location.read_bytes(paths.run_path(run, "config.json")))
        except FileNotFoundError as error:
            raise NoInputError(
                f"{location.url} holds no trained run {run!r}; run `fadae train --run {run}`"
            ) from error
        model = model_class(config["model"]["name"]).from_config(config["model"])
        try:
            model.load_state_dict(safetensors.torch.load(tensors))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise UsageError(
                f"{paths.run_path(run, 'model.safetensors')} does not fit its config.json: {error}"
            ) from error
        return cls(model, config, device, hashlib.sha256(tensors).hexdigest())

    def _repr_html_(self) -> str:
        code, dataset = self.code, self.config["dataset"]
        most = code.size * np.dtype(code.dtype).itemsize
        about = {
            "code": f"{'at most ' if code.variable else ''}{code.size} {code.dtype}",
            "bytes a row": f"{'at most ' if code.variable else ''}{most:,}",
            f"{'most ' if code.variable else ''}kbps": most * 8 / 1000 / self.hop_seconds,
            "coefficients a row": self.feature_size,
            "seconds a row": self.hop_seconds,
            "rows trained on": dataset.get("train_frames"),
            "device": str(self.device),
            "model's SHA-256": self.model_sha256,
        }
        return html.fields(f"Codec of model {self.config['model']['name']}", about)

    @property
    def feature_size(self) -> int:
        """Coefficients of a frame."""
        return int(self.config["model"]["features"])

    @property
    def code(self) -> CodeSpec:
        """What a code is: its size, type and meaning."""
        return self.model.code

    @property
    def prepares(self) -> bool:
        """Whether encoding takes a number found once a recording: see `prepare`."""
        return isinstance(self.model, Prepares)

    @property
    def hop_seconds(self) -> float:
        """Time from a frame to the next."""
        return float(self.config["dataset"]["hop_seconds"])

    def prepare(self, features: Array) -> float:
        """Return the number that the frames of a recording are encoded with.

        features: [F, C], the recording's, or 256 of them spread over it (`FeatureSet.sample`).
        """
        self._expect(features, self.feature_size, "features")
        with torch.inference_mode():
            return prepared_from(self.model, self._tensor(features))

    def encode(
        self, features: Array, start_seconds: float = 0.0, prepared: float | None = None
    ) -> Codes:
        """Return the codes of one recording's raw coefficients [F, C].

        `start_seconds` places the first frame. `prepared`, of a codec that `prepares`, is the
        recording's number; without it these frames are taken for the whole recording.
        """
        self._expect(features, self.feature_size, "features")
        if prepared is None and self.prepares:
            prepared = self.prepare(features)
        code = self.code
        values = np.empty((len(features), code.size), dtype=code.dtype)
        scales = np.empty((len(features), 1), dtype=np.float32) if code.carries_scale else None
        lengths = np.empty(len(features), dtype=np.int32) if code.variable else None
        with torch.inference_mode():
            for part in _parts(len(features)):
                raw = self._tensor(features[part])
                seen, scale = compand(raw) if code.carries_scale else (raw.float(), None)
                each = None if prepared is None else _repeated(prepared, raw)
                codes = encode(self.model, seen, each)
                values[part] = codes.values.cpu().numpy()
                if scales is not None and scale is not None:
                    scales[part] = scale.cpu().numpy()
                if lengths is not None and codes.lengths is not None:
                    lengths[part] = codes.lengths.cpu().numpy()
        return Codes(values, scales, self.hop_seconds, start_seconds, lengths)

    def decode(self, codes: Codes) -> Float32:
        """Return the raw coefficients [F, C] float32 that codes stand for.

        Raises UsageError where they are of another kind than this codec's, CodeError where they
        are damaged or another model's.
        """
        self._check(codes)
        features = np.empty((len(codes), self.feature_size), dtype=np.float32)
        with torch.inference_mode():
            for part in _parts(len(codes)):
                found = decode(self.model, self._stored(codes, part)).to(self.device)
                if self.code.carries_scale and codes.scale is not None:
                    found = expand(found, self._tensor(codes.scale[part]))
                features[part] = found.cpu().numpy()
        return features

    def pass_through(self, features: Float32, prepared: Float64 | None = None) -> Passage:
        """Return what becomes of raw coefficients [F, C]; `prepared` [F], where it `prepares`."""
        each = None if prepared is None else torch.from_numpy(prepared).to(self.device)
        with torch.inference_mode():
            return pass_through(self.model, torch.from_numpy(features).to(self.device), each)

    def reconstruct(self, features: Array, prepared: float | None = None) -> Float32:
        """Return decode(encode(features)): [F, C] raw coefficients to [F, C] float32."""
        return self.decode(self.encode(features, prepared=prepared))

    def generate(self, method: str, frames: int, seed: int) -> Codes:
        """Return codes that no recording has, by one of the model's own methods.

        Raises UsageError where it has no such method.
        """
        own = self.model.methods if isinstance(self.model, Generates) else ()
        if not isinstance(self.model, Generates) or method not in own:
            raise UsageError(
                f"cannot generate with method {method!r}; available: {', '.join(own) or 'none'}"
            )
        codes = self.model.generate(method, frames, seed)
        lengths = None if codes.lengths is None else codes.lengths.cpu().numpy().astype(np.int32)
        return Codes(codes.values.cpu().numpy(), None, self.hop_seconds, code_bytes=lengths)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound that the frames are of."""
        return int(self.config["dataset"]["transform"]["sample_rate_hz"])

    @property
    def entropy(self) -> EntropyModel:
        """The probabilities of a model of byte codes; raises UsageError for another model."""
        return self._byte_coding().entropy

    def compress(self, samples: NDArray[Any]) -> bytes:
        """Return the .fadae file of a recording, [n] float in [-1, 1] or int16, at this rate.

        As many bytes as the run's options say. Raises UsageError where the model makes no bytes.
        """
        model, pcm = self._byte_coding(), np.asarray(samples)
        return compress(
            pcm if pcm.dtype == np.int16 else to_pcm(pcm),
            self.sample_rate_hz,
            model=model.entropy,
            code_bytes=model.code_bytes,
            rate_kind=model.rate,
        )

    def decompress(
        self,
        code: bytes,
        start_seconds: float = 0.0,
        stop_seconds: float | None = None,
        *,
        fill: float = 0.0,
    ) -> Array:
        """Return the samples [n] float32 of a .fadae file, or of a stretch of it.

        fill: 0 .. 1, the strength of the noise in place of zeros. Raises CodeError where the file
        is damaged, or another model's.
        """
        return decompress(
            code,
            model=self.entropy,
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
            fill=fill,
        )[0]

    def _byte_coding(self) -> ByteCoding:
        if not isinstance(self.model, ByteCoding):
            name = self.config["model"]["name"]
            raise UsageError(f"model {name!r} makes no bytes: train `bytes` or `tables`")
        return self.model

    def _stored(self, codes: Codes, part: slice) -> StoredCodes:
        lengths = None
        if codes.code_bytes is not None:
            lengths = torch.from_numpy(codes.code_bytes[part].astype(np.int64)).to(self.device)
        values = np.array(codes.values[part], dtype=self.code.dtype)
        return StoredCodes(torch.from_numpy(values).to(self.device), lengths)

    def _tensor(self, array: Array) -> Tensor:
        # from_numpy refuses read-only memory and foreign byte orders; a frame block is small.
        dtype = np.float16 if array.dtype == np.float16 else np.float32
        return torch.from_numpy(np.array(array, dtype=dtype)).to(self.device)

    def _expect(self, array: Array, width: int, what: str) -> None:
        if array.ndim != 2 or array.shape[1] != width:
            raise UsageError(
                f"this codec takes {what} of shape [frames, {width}], got {list(array.shape)}"
            )

    def _check(self, codes: Codes) -> None:
        """Refuse codes of another kind, and those whose bytes go on after their end."""
        code, values = self.code, codes.values
        self._expect(values, code.size, "codes")
        if np.dtype(code.dtype).kind != values.dtype.kind:
            raise UsageError(f"this codec takes codes of {code.dtype}, got {values.dtype}")
        if code.carries_scale and codes.scale is None:
            raise UsageError("this codec takes codes with the scale of each frame")
        if not code.variable:
            return
        if codes.code_bytes is None or codes.code_bytes.shape != (len(codes),):
            raise UsageError("this codec takes codes with the number of bytes of each frame")
        after = np.arange(code.size) >= codes.code_bytes[:, None]
        wrong = (codes.code_bytes < 0) | (codes.code_bytes > code.size)
        wrong |= ((values != code.fill) & after).any(axis=1)
        if wrong.any():
            frame = int(np.flatnonzero(wrong)[0])
            raise CodeError(
                f"the code of frame {frame} does not end after {int(codes.code_bytes[frame])} of "
                f"{code.size} bytes: it is damaged; `fadae verify` says where a store is"
            )


def pass_through(model: Model, raw: Tensor, prepared: Tensor | None = None) -> Passage:
    """Return what becomes of coefficients [n, C]: decode(encode(raw)), in stored codes.

    prepared: [n], of each frame's recording, where the model `Prepares`.
    """
    original, scale = compand(raw)
    carries_scale = model.code.carries_scale
    codes = encode(model, original if carries_scale else raw.float(), prepared)
    found = decode(model, codes).to(raw.device)  # a model may work in NumPy
    if carries_scale:
        return Passage(codes, scale, original, found, expand(found, scale))
    return Passage(codes, scale, original, compand_by(found, scale), found)


def encode(model: Model, values: Tensor, prepared: Tensor | None = None) -> StoredCodes:
    """Return the codes of values as the model sees them, sure that they are what it promises."""
    code = model.code
    if code.has_nan:
        each = None if prepared is None else _whole(prepared)
        codes = _first(model.encode(_whole(values), each), len(values))
    else:  # what could not be read is silence; `frame_recording` tells padding
        values = torch.where(torch.isfinite(values).all(1, keepdim=True), values, 0)
        codes = model.encode(values, prepared)
    promised = (f"torch.{code.dtype}", (len(values), code.size), code.variable)
    kept = (str(codes.values.dtype), tuple(codes.values.shape), codes.lengths is not None)
    if promised != kept:
        raise FadaeError(
            f"model {type(model).__name__} made codes (type, shape, with lengths) {kept}, where "
            f"its CodeSpec promises {promised}"
        )
    return codes


def decode(model: Model, codes: StoredCodes) -> Tensor:
    """Return the values [n, C] float32 that a model makes of codes, each of its own code alone."""
    if not model.code.has_nan:  # codes in whole numbers: its arithmetic is the model's own matter
        return model.decode(codes).float()
    whole = dataclasses.replace(codes, values=_whole(codes.values))
    return model.decode(whole)[: len(codes.values)].float()


def prepared_from(model: Model, raw: Tensor) -> float:
    """Return what a model that `Prepares` finds in coefficients [n, C] of one recording."""
    assert isinstance(model, Prepares)
    rows = torch.cat([raw[part] for part in spread(len(raw), PREPARED_FRAMES)])
    top = rows.abs().amax(dim=1)
    values = values_of(rows[torch.isfinite(top) & (top > 0)], model.code)
    return float(model.prepare(values))


def _repeated(prepared: float, frames: Tensor) -> Tensor:
    return torch.full((len(frames),), prepared, dtype=torch.float64, device=frames.device)


def _whole(rows: Tensor) -> Tensor:
    """Return rows [n, ...] with zeros below them, up to a multiple of `_FRAMES_ALIKE`."""
    missing = -len(rows) % _FRAMES_ALIKE
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def _first(codes: StoredCodes, frames: int) -> StoredCodes:
    lengths = None if codes.lengths is None else codes.lengths[:frames]
    return StoredCodes(codes.values[:frames], lengths)


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, FRAMES_AT_A_TIME):
        yield slice(start, start + FRAMES_AT_A_TIME)
