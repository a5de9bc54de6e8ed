"""Entropy models and recordings as files: what `fadae encode` and `fadae decode` do.

A model is a safetensors file, nothing but named arrays of whole numbers.
"""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from fadae.audio import borrowed, from_pcm
from fadae.coding import container, rate
from fadae.coding.coder import ByteCoder
from fadae.coding.container import Header, Rate
from fadae.coding.entropy import EntropyModel, Network, fingerprint
from fadae.coding.rate import Step
from fadae.coding.symbols import STEPS
from fadae.coding.tables import Tables
from fadae.config import Limits
from fadae.errors import CodeError, NoInputError, PermanentFailure, UsageError
from fadae.transform import CriticalTransform

_PACKAGED = "music.safetensors"


def to_bytes(model: EntropyModel) -> bytes:
    """Return the file of a model, a pure function of it."""
    kept: bytes = safetensors.numpy.save(model.tensors())
    return kept


def from_bytes(kept: bytes) -> EntropyModel:
    """Return the model of a file's bytes; raises CodeError where they are not one."""
    try:
        tensors = safetensors.numpy.load(kept)
        return (Network if "hidden" in tensors else Tables)(tensors)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CodeError(f"not an entropy model: {error}") from error


@functools.cache
def packaged() -> EntropyModel:
    """Return the model that comes with fadae; raises NoInputError where it was left out."""
    try:
        return from_bytes(resources.files("fadae.coding").joinpath(_PACKAGED).read_bytes())
    except FileNotFoundError as error:
        raise NoInputError(
            "this installation has no model of its own: pass --model FILE or --run RUN, or make "
            "one with `make model MUSIC=FOLDER`"
        ) from error


def identify(model: EntropyModel) -> bytes:
    """Return the 8 bytes by which files know their model."""
    return fingerprint(model.name, model.tensors())


_PIECE_ROWS = 256  # analyzed, coded or decoded at a time
_AIM = 0.997  # of the bytes asked for
_MISS = 0.015  # octaves below that aim, about one in a hundred, are good enough
_TRIES = 4  # where they fit
_MOST_TRIES = 12
_OVERHEAD = 80  # bytes of header and index, about, beyond one a row


def encode_file(
    path: str | Path,
    *,
    model: EntropyModel | None = None,
    code_bytes: int = 256,
    rate_kind: Rate = "average",
    sample_rate_hz: int = 11025,
) -> bytes:
    """Return the `.fadae` file of an audio file, mixed to mono at `sample_rate_hz`.

    The decoder runs in a sandbox. Raises NoInputError where the audio cannot be decoded,
    UsageError for impossible options.
    """
    with tempfile.TemporaryFile() as pcm, borrowed() as sandbox:
        try:
            sandbox.decode(path, sample_rate_hz, Limits(), pcm.write)
        except PermanentFailure as failure:
            raise NoInputError(f"{path}: {failure}") from failure
        pcm.seek(0)
        samples = np.frombuffer(pcm.read(), dtype="<i2")
    return compress(
        samples, sample_rate_hz, model=model, code_bytes=code_bytes, rate_kind=rate_kind
    )


def compress(
    samples: npt.NDArray[np.int16],
    sample_rate_hz: int,
    *,
    model: EntropyModel | None = None,
    code_bytes: int = 256,
    rate_kind: Rate = "average",
) -> bytes:
    """Return the `.fadae` file of samples [n] int16.

    The file takes at most `code_bytes` a row, index and header included, where a recording is
    longer than a few seconds. `model` defaults to the packaged one.
    """
    if not rate.LEAST_BYTES <= code_bytes <= rate.MOST_BYTES:
        raise UsageError(
            f"--code-bytes is {rate.LEAST_BYTES} to {rate.MOST_BYTES}, not {code_bytes}"
        )
    model = packaged() if model is None else model
    encoder = _Encoder(model, samples, sample_rate_hz, code_bytes, rate_kind)
    return encoder.constant() if rate_kind == "constant" else encoder.average()


class _Encoder:
    """One recording being encoded."""

    def __init__(
        self,
        model: EntropyModel,
        samples: npt.NDArray[np.int16],
        sample_rate_hz: int,
        code_bytes: int,
        rate_kind: Rate,
    ) -> None:
        self._samples = samples
        self._transform = CriticalTransform(sample_rate_hz)
        self._rows = self._transform.frame_count(len(samples))
        self._coder = ByteCoder(model, self._transform.size)
        self._header = Header(
            identify(model),
            sample_rate_hz,
            len(samples),
            self._rows,
            code_bytes,
            rate_kind,
            Step(0, 0.0),
        )
        if self._rows > container.MOST_ROWS:
            raise UsageError(f"a recording of {self._rows:,} rows; {container.MOST_ROWS:,} fit")

    def constant(self) -> bytes:
        """Return the file in which no row takes more than what was asked for."""
        asked = self._header.code_bytes
        codes: list[bytes] = []
        for _, c in self._pieces():
            codes += rate.encode_constant(self._coder, c, asked)
        return container.write(self._header, codes)

    def average(self) -> bytes:
        """Return the file whose rows take what was asked for, all counted."""
        asked = self._header.code_bytes
        budget = asked * self._rows
        index = rate.near_step(self._coder, self._few(), asked)
        taken = sum(rate.total_bytes(self._coder, c, index, asked) for _, c in self._pieces())
        step = rate.exact_step(index, taken + _OVERHEAD, max(1, _AIM * budget))
        best: bytes | None = None  # the longest that fits, so far
        low, high = 0.0, float(STEPS - 1)  # steps beyond which files are too long, or fit anyway
        for tried in range(_MOST_TRIES):
            at = step.index + step.share
            made = self._with_step(container.stored_step(step))
            off = np.log2(len(made) / max(1, _AIM * budget))
            if len(made) <= budget:
                best, high = made, at
                if off > -_MISS or at <= low or tried >= _TRIES:
                    break
            elif at >= STEPS - 1:
                break  # index and header alone take more
            else:
                low = at
            at += rate.HALVING * off
            at = at if low < at < high else (low + high) / 2
            step = Step(int(at), at % 1)
        return made if best is None else best

    def _with_step(self, step: Step) -> bytes:
        asked = self._header.code_bytes
        codes: list[bytes] = []
        for first, c in self._pieces():
            codes += rate.encode_average(self._coder, c, step, rate.CAP * asked, first)
        header = Header(**{**vars(self._header), "step": step})
        return container.write(header, codes)

    def _few(self) -> npt.NDArray[np.float32]:
        """Return the coefficients of the rows by which the step is nearly found."""
        chosen = rate.sample_rows(self._rows, rate.COARSE_ROWS)
        if len(chosen) == 0:
            return np.zeros((0, self._transform.size), dtype=np.float32)
        return np.concatenate([self._analyze(row, row + 1) for row in chosen])

    def _pieces(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        for first in range(0, self._rows, _PIECE_ROWS):
            yield first, self._analyze(first, min(first + _PIECE_ROWS, self._rows))

    def _analyze(self, first: int, stop: int) -> npt.NDArray[np.float32]:
        """Return the coefficients of rows first .. stop."""
        hop = self._transform.hop_samples
        heard = np.zeros((stop - first + 1) * hop, dtype=np.float32)
        begin, end = (first - 1) * hop, stop * hop
        inside = from_pcm(self._samples[max(0, begin) : max(0, end)])
        at = max(0, -begin)
        heard[at : at + len(inside)] = inside
        c: npt.NDArray[np.float32] = self._transform.analyze_frames(heard)
        return c


class Decoder:
    """A `.fadae` file to be listened to: whole, or from any second on."""

    def __init__(
        self, file: BinaryIO, model: EntropyModel | None = None, *, fill: float = 0.0
    ) -> None:
        """Open a file; raises CodeError where it is none, or was made with another model.

        fill: 0 .. 1, the strength of the noise that takes the place of zeros: nearer to the
        original's spectrum, farther from its samples. UsageError beyond.
        """
        if not 0 <= fill <= 1:
            raise UsageError(f"--fill is 0 to 1, not {fill:g}")
        self._reader = container.Reader(file)
        header = self._reader.header
        model = packaged() if model is None else model
        known = identify(model)
        if header.fingerprint != known:
            raise CodeError(
                f"made with model {header.fingerprint.hex()}, and this is model {known.hex()}: "
                "pass the one that it was made with"
            )
        self.fingerprint = known
        self.rows = header.rows
        self.sample_rate_hz = header.sample_rate_hz
        self.samples = header.samples
        self._transform = CriticalTransform(self.sample_rate_hz)
        if header.rows != self._transform.frame_count(self.samples):
            raise CodeError(f"damaged: {header.rows:,} rows do not make {self.samples:,} samples")
        self._coder = ByteCoder(model, self._transform.size, fill=fill)

    def span(self, start_seconds: float | None, stop_seconds: float | None) -> tuple[int, int]:
        """Return the samples [start, stop) of a stretch of time, as far as there are any.

        Raises UsageError for one that begins past the end or stops before it begins.
        """
        rate_hz, end = self.sample_rate_hz, self.samples
        low = 0.0 if start_seconds is None else start_seconds
        high = end / rate_hz if stop_seconds is None else stop_seconds
        if not 0 <= low <= high or low * rate_hz > end:
            raise UsageError(
                f"no stretch from {low:g} to {high:g} s in {end / rate_hz:.2f} s of sound"
            )
        return round(low * rate_hz), round(min(high * rate_hz, end))

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[npt.NDArray[np.float32]]:
        """Yield samples start .. stop as blocks [n] float32 of about a minute and a half.

        Only the rows they sound from are read. The same samples, whatever the start.
        """
        stop = self.samples if stop is None else min(stop, self.samples)
        hop = self._transform.hop_samples
        for first in range(start // hop, -(-stop // hop), _PIECE_ROWS):
            last = min(first + _PIECE_ROWS, -(-stop // hop))
            c = self._coder.decode(self._reader.rows(first, last + 1))
            sound = self._transform.synthesize_hops(c)
            yield sound[max(0, start - first * hop) : stop - first * hop]


def decompress(
    code: bytes,
    *,
    model: EntropyModel | None = None,
    start_seconds: float = 0.0,
    stop_seconds: float | None = None,
    fill: float = 0.0,
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples [n] float32 of a `.fadae` file's bytes, and their rate in Hz.

    `fill`: see `Decoder`.
    """
    decoder = Decoder(io.BytesIO(code), model, fill=fill)
    rate_hz = decoder.sample_rate_hz
    blocks = list(decoder.blocks(*decoder.span(start_seconds, stop_seconds)))
    return np.concatenate([np.zeros(0, dtype=np.float32), *blocks]), rate_hz
