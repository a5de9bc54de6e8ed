"""A recording's code as one file, `.fadae`: any second of it decodes without the rest.

All numbers are little-endian. The file is a header, an index, and the rows' bytes one after
another.

| bytes | header |
|---|---|
| 8 | magic: 89 46 41 44 41 45 0D 0A ("\\x89FADAE\\r\\n") |
| 2 | version of the format: 1 |
| 1 | preset: 1, `critical` |
| 1 | rate: 0 average, 1 constant |
| 8 | fingerprint of the entropy model: the first bytes of its SHA-256 |
| 4 | sample rate in Hz |
| 8 | samples, L |
| 4 | rows, F: ceil(L / H) + 1, or 0 |
| 2 | bytes a row that were asked for |
| 1, 2 | step index of the recording, and in 1/65535 the share of rows with the next one |
| 4, 4 | bytes of the index's two columns |
| 4 | CRC-32 of the header until here and of the index |

The index is: a CRC-32 (4 bytes) of the bytes of every 64 rows; the column of the rows' lengths,
each less the one before; and the column of their step indices, each less the one that the
recording's step gives (average) or less the one before (constant). A row of no bytes is silent
and counts as being of the expected step. Columns are those of `bitstream`. A row's bytes are what
`coder` says, without the step index in front.

Whatever is wrong with a file is a CodeError of one line.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from fadae.coding.bitstream import pack_column, unpack_column
from fadae.coding.rate import Step
from fadae.coding.symbols import STEPS
from fadae.errors import CodeError

MAGIC = b"\x89FADAE\r\n"
VERSION = 1
GROUP_ROWS = 64  # that share a checksum: 1/16 of a byte a row
MOST_ROWS = 2**22  # 16 days

Rate = Literal["average", "constant"]
_RATES: tuple[Rate, ...] = ("average", "constant")
_CRITICAL = 1
_HEADER = struct.Struct("<8sHBB8sIQIHBHII")
_CRC = struct.Struct("<I")
_SHARES = 65535


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its rows."""

    fingerprint: bytes
    sample_rate_hz: int
    samples: int
    rows: int
    code_bytes: int
    rate: Rate
    step: Step

    def pack(self, columns: Sequence[bytes]) -> bytes:
        """Return the header's bytes, without its checksum."""
        return _HEADER.pack(
            MAGIC,
            VERSION,
            _CRITICAL,
            _RATES.index(self.rate),
            self.fingerprint,
            self.sample_rate_hz,
            self.samples,
            self.rows,
            self.code_bytes,
            self.step.index,
            round(self.step.share * _SHARES),
            *map(len, columns),
        )


def stored_step(step: Step) -> Step:
    """Return a step as the header can hold it; rows must be coded with this one."""
    return Step(step.index, round(step.share * _SHARES) / _SHARES)


def write(header: Header, codes: Sequence[bytes]) -> bytes:
    """Return the file of a recording's rows; `header.step` is a `stored_step`."""
    lengths = np.array([len(code) for code in codes], dtype=np.int64)
    columns = [
        pack_column(np.diff(lengths, prepend=0)),
        pack_column(_step_residuals(header, codes)),
    ]
    payload = [code[1:] for code in codes]
    groups = [b"".join(payload[at : at + GROUP_ROWS]) for at in range(0, len(codes), GROUP_ROWS)]
    head = header.pack(columns)
    index = b"".join(_CRC.pack(zlib.crc32(group)) for group in groups) + b"".join(columns)
    return head + _CRC.pack(zlib.crc32(head + index)) + index + b"".join(groups)


class Reader:
    """A file's rows, read as they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        """Read header and index of an open file; raises CodeError where they are none."""
        self._file = file
        head = file.read(_HEADER.size + _CRC.size)
        self.header, columns = _unpack_header(head)
        groups = -(-self.header.rows // GROUP_ROWS)
        size = file.seek(0, io.SEEK_END) - len(head)
        if _CRC.size * groups + sum(columns) > size:
            raise CodeError("cut short: the index is not whole")
        file.seek(len(head))
        index = file.read(_CRC.size * groups + sum(columns))
        (checksum,) = _CRC.unpack(head[_HEADER.size :])
        if zlib.crc32(head[: _HEADER.size] + index) != checksum:
            raise CodeError("damaged: header and index do not match their checksum")
        self._checksums = np.frombuffer(index[: _CRC.size * groups], dtype="<u4")
        at = _CRC.size * groups
        lengths = np.cumsum(unpack_column(index[at : at + columns[0]], self.header.rows))
        if np.any(lengths < 0) or np.any(lengths == 1):
            raise CodeError("damaged: a row of impossible length")
        self._steps = _steps(self.header, unpack_column(index[at + columns[0] :], len(lengths)))
        payload = np.maximum(lengths - 1, 0)
        self._starts = np.concatenate([[0], np.cumsum(payload)]) + len(head) + len(index)
        if self._starts[-1] != len(head) + size:
            raise CodeError(
                f"cut short or too long: {len(head) + size:,} bytes, not {self._starts[-1]:,}"
            )

    def rows(self, first: int, stop: int) -> list[bytes]:
        """Return the codes of rows first .. stop, as `ByteCoder.decode` takes them.

        Reads and checks the groups of 64 rows they are in, nothing else.
        """
        codes: list[bytes] = []
        for group in range(first // GROUP_ROWS, -(-stop // GROUP_ROWS)):
            begin = group * GROUP_ROWS
            end = min(begin + GROUP_ROWS, self.header.rows)
            starts = self._starts[begin : end + 1] - self._starts[begin]
            self._file.seek(int(self._starts[begin]))
            read = self._file.read(int(starts[-1]))
            if zlib.crc32(read) != self._checksums[group]:
                raise CodeError(f"damaged: rows {begin} to {end} do not match their checksum")
            codes += [
                bytes([step]) + read[a:b] if b > a else b""
                for step, a, b in zip(self._steps[begin:end], starts, starts[1:], strict=False)
            ]
        skip = first - first // GROUP_ROWS * GROUP_ROWS
        return codes[skip : skip + stop - first]


def _unpack_header(head: bytes) -> tuple[Header, tuple[int, int]]:
    """Return the header and the bytes of both columns; raises CodeError where it is none."""
    if not head.startswith(MAGIC):
        raise CodeError("not a fadae code: it does not begin like one")
    if len(head) < _HEADER.size + _CRC.size:
        raise CodeError("cut short: the header is not whole")
    (_, version, preset, rate, fingerprint, rate_hz, samples, rows, code_bytes, index, share,
     *columns) = _HEADER.unpack(head[: _HEADER.size])  # fmt: skip
    if version != VERSION:
        raise CodeError(f"format version {version}; this fadae reads {VERSION}: use a newer one")
    if preset != _CRITICAL or rate >= len(_RATES):
        raise CodeError(f"damaged: preset {preset}, rate {rate}")
    if not 100 <= rate_hz <= 384_000 or rows > MOST_ROWS:
        raise CodeError(f"damaged: {rows:,} rows at {rate_hz:,} Hz")
    step = Step(index, share / _SHARES)
    header = Header(fingerprint, rate_hz, samples, rows, code_bytes, _RATES[rate], step)
    return header, (columns[0], columns[1])


def _expected_steps(header: Header, rows: int) -> npt.NDArray[np.int64]:
    return np.minimum(header.step.of_rows(0, rows), STEPS - 1)


def _step_residuals(header: Header, codes: Sequence[bytes]) -> npt.NDArray[np.int64]:
    expected = _expected_steps(header, len(codes))
    if header.rate == "average":
        pairs = zip(codes, expected, strict=True)
        return np.array([code[0] - step if code else 0 for code, step in pairs], dtype=np.int64)
    steps, last = np.zeros(len(codes), dtype=np.int64), header.step.index
    for row, code in enumerate(codes):
        last = code[0] if code else last
        steps[row] = last
    return np.diff(steps, prepend=header.step.index)


def _steps(header: Header, residuals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if header.rate == "average":
        steps = _expected_steps(header, header.rows) + residuals
    else:
        steps = header.step.index + np.cumsum(residuals)
    if np.any(steps < 0) or np.any(steps >= STEPS):
        raise CodeError("damaged: a step that is none")
    return steps
