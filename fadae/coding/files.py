"""Entropy models and recordings as files: what `fadae encode` and `fadae decode` do.

A model is a safetensors file, nothing but named arrays of whole numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from fadae.audio import decoded, from_pcm
from fadae.coding import container, rate
from fadae.coding.coder import ByteCoder
from fadae.coding.container import Header, Rate
from fadae.coding.entropy import EntropyModel, Network, fingerprint
from fadae.coding.rate import Step
from fadae.coding.symbols import STEPS
from fadae.coding.tables import Tables
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


_PIECE = 1 << 20  # coefficients analyzed, coded or decoded at a time, about
_KEPT_PIECES = 8  # analyzed once: a quarter of an hour at 11025 Hz
_AIM = 0.9985  # of the bytes asked for
_MISS = 0.0015  # either side of that aim is good enough
_TRIES = 4  # after these, what fits does
_MOST_TRIES = 16
_INDEX = 0.6  # bytes a row of index, about, beyond the step that is in a row's code already


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
    try:
        with decoded(path, sample_rate_hz) as pcm:
            return compress(
                _Stored(pcm.fileno()),
                sample_rate_hz,
                model=model,
                code_bytes=code_bytes,
                rate_kind=rate_kind,
            )
    except PermanentFailure as failure:
        raise NoInputError(f"{path}: {failure}") from failure


class Samples(Protocol):
    """Samples [n] int16 that need not be in memory, as slices."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.int16]:
        """Return some of them."""


class _Stored:
    """The samples of an open file of PCM."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._samples = os.fstat(descriptor).st_size // 2

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.int16]:
        start, stop, _ = part.indices(self._samples)
        read = os.pread(self._descriptor, 2 * max(0, stop - start), 2 * start)
        return np.frombuffer(read, dtype="<i2")


def compress(
    samples: Samples,
    sample_rate_hz: int,
    *,
    model: EntropyModel | None = None,
    code_bytes: int = 256,
    rate_kind: Rate = "average",
) -> bytes:
    """Return the `.fadae` file of samples [n] int16.

    At an average rate the file takes at most `code_bytes` a row, index and header included; at a
    constant one no row takes more, and index and header come on top, about a byte a row. `model`
    defaults to the packaged one. Raises UsageError for impossible options, and where a recording
    is so short that its header alone takes more than all of its rows may.
    """
    if not rate.LEAST_BYTES <= code_bytes <= rate.MOST_BYTES:
        raise UsageError(
            f"--code-bytes is {rate.LEAST_BYTES} to {rate.MOST_BYTES}, not {code_bytes}"
        )
    model = packaged() if model is None else model
    encoder = _Encoder(model, samples, sample_rate_hz, code_bytes, rate_kind)
    return encoder.constant() if rate_kind == "constant" else _Averaged(encoder).file()


class _Encoder:
    """One recording being encoded."""

    def __init__(
        self,
        model: EntropyModel,
        samples: Samples,
        sample_rate_hz: int,
        code_bytes: int,
        rate_kind: Rate,
    ) -> None:
        self._samples = samples
        self._transform = CriticalTransform(sample_rate_hz)
        self.rows = self._transform.frame_count(len(samples))
        self.coder = ByteCoder(model, self._transform.size)
        self.header = Header(
            identify(model),
            sample_rate_hz,
            len(samples),
            self.rows,
            code_bytes,
            rate_kind,
            Step(0, 0.0),
        )
        if self.rows > container.MOST_ROWS:
            raise UsageError(f"a recording of {self.rows:,} rows; {container.MOST_ROWS:,} fit")
        self._piece_rows = _piece_rows(self._transform.size)
        self._analyzed = functools.lru_cache(_KEPT_PIECES)(self._analyze)

    def constant(self) -> bytes:
        """Return the file in which no row takes more than what was asked for."""
        codes: list[bytes] = []
        for _, c in self.pieces():
            codes += rate.encode_constant(self.coder, c, self.header.code_bytes)
        return container.write(self.header, codes)

    def pieces(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Yield all rows' coefficients [F, size], and which the first one is."""
        for first in range(0, self.rows, self._piece_rows):
            yield first, self._analyzed(first)

    def sample(self) -> npt.NDArray[np.float32]:
        """Return the coefficients [F, size] of the rows by which the step is nearly found."""
        hop = self._transform.hop_samples
        chosen = rate.sample_rows(self.rows)
        heard = [self._heard((row - 1) * hop, (row + 1) * hop) for row in chosen]
        c: npt.NDArray[np.float32] = self._transform.analyze_frames(np.concatenate(heard))
        return c[::2]  # between two of them the sound jumps

    def _analyze(self, first: int) -> npt.NDArray[np.float32]:
        hop = self._transform.hop_samples
        stop = min(first + self._piece_rows, self.rows)
        c: npt.NDArray[np.float32] = self._transform.analyze_frames(
            self._heard((first - 1) * hop, stop * hop)
        )
        return c

    def _heard(self, begin: int, end: int) -> npt.NDArray[np.float32]:
        """Return samples begin .. end, zeros where there are none."""
        heard = np.zeros(end - begin, dtype=np.float32)
        inside = from_pcm(self._samples[max(0, begin) : max(0, end)])
        at = max(0, -begin)
        heard[at : at + len(inside)] = inside
        return heard


def _piece_rows(size: int) -> int:
    return max(1, _PIECE // (16 * size)) * 16


class _Averaged:
    """The rows of a recording, coded with one step that is corrected until the file fits.

    A correction changes the share of rows with the next step: only those are coded again.
    """

    def __init__(self, encoder: _Encoder) -> None:
        self._encoder = encoder
        self._asked = encoder.header.code_bytes
        self._codes = [b""] * encoder.rows
        self._index = np.full(encoder.rows, rate.SILENT)

    def file(self) -> bytes:
        """Return the file whose rows take what was asked for, all counted."""
        budget, made = self._asked * len(self._codes), self._file(rate.SILENT)
        if not self._codes:
            return made
        if len(made) > budget:
            raise UsageError(
                f"{len(self._codes)} rows of {self._asked} bytes do not hold a file's header: "
                f"--code-bytes {-(-len(made) // len(self._codes))} or more"
            )
        at, slope = self._forecast(budget * _AIM - len(made))
        low, high = -1.0, float(rate.SILENT)  # where files are too long, and where they fit
        best = made
        for tried in range(_MOST_TRIES):
            made = self._file(self._code(at))
            if len(made) > budget:
                low = at
            else:
                best, high = made, at
                if len(made) >= (_AIM - _MISS) * budget or at == 0 or tried >= _TRIES:
                    break
            at += (len(made) - _AIM * budget) / slope
            if not low < at < high:
                at = max(0.0, (low + high) / 2)
        return best

    def _forecast(self, wanted: float) -> tuple[float, float]:
        """Return at which index all rows take so many bytes, and how many fewer at the next."""
        encoder, rows = self._encoder, len(self._codes)
        each_row = max(1.0, wanted / rows - _INDEX)
        step, forecast = rate.measured_step(encoder.coder, encoder.sample(), each_row)
        taken = [0.0, 0.0]
        for _, c in encoder.pieces():
            for more in (0, 1):
                cap = rate.CAP * self._asked
                taken[more] += forecast.taken(np.abs(c), step.index + more, cap)
        slope = max(taken[0] - taken[1], 0.01 * taken[0], 1.0)
        return max(0.0, step.index + (taken[0] - each_row * rows) / slope), slope

    def _code(self, at: float) -> float:
        """Code the rows that have another step than before, and return where this is."""
        step = container.stored_step(Step.at(at))
        wanted = step.of_rows(0, len(self._index))
        for first, c in self._encoder.pieces():
            part = slice(first, first + len(c))
            rows = np.flatnonzero(wanted[part] != self._index[part])
            if len(rows):
                made = rate.encode_with_steps(
                    self._encoder.coder, c[rows], wanted[part][rows], rate.CAP * self._asked
                )
                for row, code in zip(rows, made, strict=True):
                    self._codes[first + row] = code
        self._index = wanted
        return at

    def _file(self, at: float) -> bytes:
        step = container.stored_step(Step.at(min(at, STEPS - 1.0)))
        header = dataclasses.replace(self._encoder.header, step=step)
        return container.write(header, self._codes)


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
        """Yield samples start .. stop as blocks [n] float32 of about a million.

        Only the rows they sound from are read. The same samples, whatever the start.
        """
        stop = self.samples if stop is None else min(stop, self.samples)
        hop = self._transform.hop_samples
        piece = _piece_rows(self._transform.size)
        for first in range(start // hop, -(-stop // hop), piece):
            last = min(first + piece, -(-stop // hop))
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
