"""What is compared: byte codes, codes of numbers, and everyday codecs, each there and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fadae.arrays import Float32, Int16
from fadae.audio import codecs, from_pcm
from fadae.coding import EntropyModel, Rate, compress, decompress, identify
from fadae.compare.alignment import find_delay, undo_delay
from fadae.compare.result import PACKAGED
from fadae.errors import UsageError
from fadae.model import ByteCoding, Codec
from fadae.transform import transform_from_config

_MODELS = {"network": "bytes"}  # entropy models, as the models that learn them are called


@dataclass(frozen=True)
class Passed:
    """What came out of a code, beside what went in: samples [n], and the code's true size."""

    samples: Float32
    bytes: int  # of the whole file
    payload_bytes: int  # without what a container adds
    delay_samples: float = 0.0  # that was undone


class Code(Protocol):
    """A code with one setting."""

    @property
    def name(self) -> str:
        """The run's, or the codec's."""

    @property
    def kind(self) -> str:
        """Where it comes from: run, packaged or codec."""

    @property
    def model(self) -> str:
        """Which model, of runs; nothing of codecs."""

    @property
    def setting(self) -> str:
        """What was asked for."""

    @property
    def about(self) -> str:
        """What else is to be known of it: encoder, version, fingerprint."""

    def passed(self, pcm: Int16, rate_hz: int) -> Passed:
        """Return what becomes of samples [n] at a rate, encoded and decoded."""


@dataclass(frozen=True)
class ByteCode:
    """A `.fadae` file by an entropy model, at so many bytes a row."""

    name: str
    kind: str
    model: str
    entropy: EntropyModel
    code_bytes: int
    rate: Rate
    fill: float = 0.0  # strength of the noise in place of zeros, at decode

    @property
    def setting(self) -> str:
        """The bytes a row."""
        return f"{self.code_bytes} bytes a row" + (", constant" if self.rate == "constant" else "")

    @property
    def about(self) -> str:
        """Which model it is."""
        return f"fadae's container, whole; entropy model {identify(self.entropy).hex()}"

    def passed(self, pcm: Int16, rate_hz: int) -> Passed:
        """Return the samples of the file, and its bytes, all of which decoding needs."""
        file = compress(
            pcm, rate_hz, model=self.entropy, code_bytes=self.code_bytes, rate_kind=self.rate
        )
        samples, _ = decompress(file, model=self.entropy, fill=self.fill)
        return Passed(samples, len(file), len(file))


@dataclass(frozen=True)
class StoredCode:
    """A run's codes as a workspace stores them, each number at its full size."""

    name: str
    model: str
    codec: Codec
    kind: str = "run"

    @property
    def setting(self) -> str:
        """The numbers a row."""
        code = self.codec.code
        return f"{code.size} {code.dtype} a row"

    @property
    def about(self) -> str:
        """How its bytes are counted."""
        scale = " and a float32 scale" if self.codec.code.carries_scale else ""
        return f"{self.setting}{scale}, as stored: nothing is quantised or entropy-coded"

    def passed(self, pcm: Int16, rate_hz: int) -> Passed:
        """Return the samples that the codes stand for, and the codes' bytes."""
        transform = transform_from_config(self.codec.config["dataset"]["transform"])
        if transform.sample_rate_hz != rate_hz:
            raise UsageError(
                f"run {self.name!r} codes sound at {transform.sample_rate_hz} Hz, not {rate_hz}"
            )
        codes = self.codec.encode(transform.analyze(from_pcm(pcm)))
        size = codes.values.nbytes if codes.code_bytes is None else int(codes.code_bytes.sum())
        size += 0 if codes.scale is None else codes.scale.nbytes
        coefficients = self.codec.decode(codes)
        samples = transform.synthesize(coefficients, len(pcm), floor=transform.model_floor)
        return Passed(np.asarray(samples, dtype=np.float32), size, size)


@dataclass(frozen=True)
class EverydayCode:
    """Opus, AAC, MP3 or Vorbis; where its delay is undone, nothing else is."""

    asked: codecs.CodecSetting
    kind: str = "codec"
    model: str = ""

    @property
    def name(self) -> str:
        """The codec."""
        return self.asked.name

    @property
    def setting(self) -> str:
        """What it was asked for."""
        return self.asked.label

    @property
    def about(self) -> str:
        """Encoder and container."""
        return self.asked.encoder

    def passed(self, pcm: Int16, rate_hz: int) -> Passed:
        """Return the decoded samples in step with those encoded, and the file's bytes."""
        samples = from_pcm(pcm)
        made = codecs.encode(self.asked, samples, rate_hz)
        decoded = codecs.decode(made.file, rate_hz)
        delay = find_delay(samples, decoded, rate_hz)
        aligned = undo_delay(decoded, delay, len(samples))
        return Passed(aligned, len(made.file), made.payload_bytes, delay)


def of_run(
    name: str, codec: Codec, code_bytes: Iterable[int], fills: Iterable[float] = (0.0,)
) -> Iterator[Code]:
    """Yield a run's codes: byte codes at each number of bytes, others as they are stored.

    Byte codes come once for each strength of the noise that fills zeros.
    """
    model = str(codec.config["model"]["name"])
    if not isinstance(codec.model, ByteCoding):
        yield StoredCode(name, model, codec)
        return
    entropy, rate = codec.model.entropy, codec.model.rate
    for fill, count in itertools.product(fills, code_bytes):
        yield ByteCode(name, "run", _filled(model, fill), entropy, count, rate, fill)


def of_packaged(
    entropy: EntropyModel, code_bytes: Iterable[int], fills: Iterable[float] = (0.0,)
) -> Iterator[Code]:
    """Yield the codes of the model that comes with fadae, as `of_run` does."""
    model = _MODELS.get(entropy.name, entropy.name)
    for fill, count in itertools.product(fills, code_bytes):
        yield ByteCode(PACKAGED, PACKAGED, _filled(model, fill), entropy, count, "average", fill)


def _filled(model: str, fill: float) -> str:
    return f"{model}, fill {fill:g}" if fill else model


def everyday() -> Iterator[Code]:
    """Yield the everyday codecs."""
    yield from map(EverydayCode, codecs.SETTINGS)
