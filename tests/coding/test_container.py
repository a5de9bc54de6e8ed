"""The file format: exact, seekable, and one clear line about whatever is not one."""

from __future__ import annotations

import contextlib
import functools
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fadae.audio.write import encode as encode_audio
from fadae.coding import container, files
from fadae.coding.bitstream import pack_column, unpack_column
from fadae.coding.coder import ByteCoder
from fadae.coding.container import Header, Reader
from fadae.coding.rate import Step
from fadae.errors import CodeError, UsageError
from fadae.scores import log_spectral_distance_db, snr_db
from fadae.transform.critical import CriticalTransform
from tests.coding import models

RATE_HZ = 11025


def music(seconds: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return a few decaying notes a second over a little noise."""
    rng = np.random.default_rng(seed)
    n = np.arange(int(seconds * RATE_HZ))
    sound = 20 * rng.standard_normal(len(n))
    for start in range(0, len(n), RATE_HZ // 4):
        t = np.maximum(n - start, 0) / RATE_HZ
        pitch_hz = 110 * 2 ** (rng.integers(0, 40) / 12)
        sound += (n >= start) * 4000 * np.exp(-4 * t) * np.sin(2 * np.pi * pitch_hz * t)
    return np.clip(sound, -32767, 32767).astype(np.int16)


def noise(samples: int, rate_hz: int) -> tuple[np.ndarray[Any, np.dtype[np.int16]], int]:
    """Return the loudest noise there is, every sample at full scale."""
    signs = np.random.default_rng(6).integers(0, 2, samples) * 2 - 1
    return (32767 * signs).astype(np.int16), rate_hz


EXTREMES: dict[str, Callable[[], tuple[np.ndarray[Any, np.dtype[np.int16]], int]]] = {
    "no sample": lambda: (np.zeros(0, dtype=np.int16), RATE_HZ),
    "one sample": lambda: (np.array([30000], dtype=np.int16), RATE_HZ),
    "silence": lambda: (np.zeros(9 * 3750, dtype=np.int16), RATE_HZ),
    "noise": lambda: noise(9 * 3750, RATE_HZ),
    "noise at 192 kHz": lambda: noise(5 * 65536, 192_000),
}


@pytest.fixture(scope="module")
def pcm() -> np.ndarray[Any, np.dtype[np.int16]]:
    return music(60)


@pytest.fixture(scope="module")
def code(pcm: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    return files.compress(pcm, RATE_HZ, model=models.tables(), code_bytes=256)


class TestColumns:
    @pytest.mark.parametrize("spread", [0, 1, 5, 300, 2**20])
    def test_round_trip(self, spread: int) -> None:
        numbers = np.random.default_rng(0).integers(-spread, spread + 1, 1000)
        column = pack_column(numbers)
        np.testing.assert_array_equal(unpack_column(column, 1000), numbers)
        assert len(column) <= 40 + 1000 * np.log2(2 * spread + 2) / 8 * 1.35

    def test_nothing(self) -> None:
        empty = np.zeros(0, dtype=np.int64)
        assert len(unpack_column(pack_column(empty), 0)) == 0

    def test_damage_is_said_or_decodes_to_something(self) -> None:
        rng = np.random.default_rng(1)
        column = pack_column(rng.integers(-50, 50, 100))
        for _ in range(300):
            damaged = bytearray(column)
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            with contextlib.suppress(CodeError):
                assert len(unpack_column(bytes(damaged), 100)) == 100


class TestFormat:
    @pytest.mark.parametrize("rate", ["average", "constant"])
    def test_rows_come_back(self, rate: container.Rate) -> None:
        rng = np.random.default_rng(2)
        codes = [
            bytes([100 + row % 3]) + rng.bytes(int(rng.integers(1, 400))) if row % 5 else b""
            for row in range(150)
        ]
        step = container.stored_step(Step(100, 0.3))
        header = Header(b"12345678", RATE_HZ, 148 * 3750, 150, 256, rate, step)
        reader = Reader(io.BytesIO(container.write(header, codes)))
        assert reader.header == header
        for first, stop in [(0, 150), (0, 1), (63, 65), (140, 150), (7, 7)]:
            assert reader.rows(first, stop) == codes[first:stop]

    def test_header_is_as_documented(self, code: bytes) -> None:
        assert code[:8] == b"\x89FADAE\r\n"
        assert code[8:12] == bytes([1, 0, 1, 0])
        assert code[12:20] == files.identify(models.tables())
        assert int.from_bytes(code[20:24], "little") == RATE_HZ
        assert int.from_bytes(code[24:32], "little") == 60 * RATE_HZ
        assert int.from_bytes(code[32:36], "little") == 178
        assert int.from_bytes(code[36:38], "little") == 256


class TestFiles:
    @pytest.mark.parametrize("rate_kind", ["average", "constant"])
    @pytest.mark.parametrize("code_bytes", [64, 256])
    def test_takes_what_was_asked_for(
        self,
        pcm: np.ndarray[Any, np.dtype[np.int16]],
        rate_kind: container.Rate,
        code_bytes: int,
    ) -> None:
        code = files.compress(
            pcm, RATE_HZ, model=models.tables(), code_bytes=code_bytes, rate_kind=rate_kind
        )
        rows = CriticalTransform(RATE_HZ).frame_count(len(pcm))
        assert 0.9 * code_bytes <= len(code) / rows <= code_bytes
        sound, rate_hz = files.decompress(code, model=models.tables())
        assert (len(sound), rate_hz) == (len(pcm), RATE_HZ)
        assert snr_db(pcm / 32768, sound) > 3

    @pytest.mark.parametrize("fill", [0.0, 0.4])
    def test_any_stretch_is_that_of_the_whole(self, code: bytes, fill: float) -> None:
        whole, _ = files.decompress(code, model=models.tables(), fill=fill)
        for start, stop in [(0, 1), (17.3, 18.9), (59, None), (30, 30)]:
            part, _ = files.decompress(
                code, model=models.tables(), start_seconds=start, stop_seconds=stop, fill=fill
            )
            first = round(start * RATE_HZ)
            last = None if stop is None else round(stop * RATE_HZ)
            np.testing.assert_array_equal(part, whole[first:last])

    def test_noise_in_place_of_zeros_brings_the_spectrum_nearer(
        self, pcm: np.ndarray[Any, np.dtype[np.int16]], code: bytes
    ) -> None:
        original = pcm / np.float32(32768)
        plain, filled = (
            files.decompress(code, model=models.tables(), fill=fill)[0] for fill in (0.0, 0.4)
        )
        near, far = (log_spectral_distance_db(original, one) for one in (filled, plain))
        assert near < far
        assert snr_db(original, plain) > snr_db(original, filled) > snr_db(original, plain) - 1

    def test_a_stretch_is_decoded_without_reading_the_rest(self, code: bytes) -> None:
        # All rows but the last groups' are ruined, their checksums with them.
        reader = Reader(io.BytesIO(code))
        begin, end = int(reader._starts[0]), int(reader._starts[128])
        ruined = code[:begin] + bytes(end - begin) + code[end:]
        part, _ = files.decompress(ruined, model=models.tables(), start_seconds=50)
        whole, _ = files.decompress(code, model=models.tables(), start_seconds=50)
        np.testing.assert_array_equal(part, whole)
        with pytest.raises(CodeError, match="rows 0 to 64"):
            files.decompress(ruined, model=models.tables(), start_seconds=1, stop_seconds=2)

    def test_the_same_input_gives_the_same_file(
        self, pcm: np.ndarray[Any, np.dtype[np.int16]], code: bytes
    ) -> None:
        assert files.compress(pcm, RATE_HZ, model=models.tables(), code_bytes=256) == code

    @pytest.mark.parametrize("rate_hz", [8000, 44100])
    def test_other_sample_rates(self, rate_hz: int) -> None:
        pcm = music(8)
        code = files.compress(pcm, rate_hz, model=models.tables(), code_bytes=512)
        sound, got_hz = files.decompress(code, model=models.tables())
        assert (len(sound), got_hz) == (len(pcm), rate_hz)

    @pytest.mark.parametrize("samples", [0, 1, 3750, 3751])
    def test_short_and_silent_recordings(self, samples: int) -> None:
        pcm = np.zeros(samples, dtype=np.int16)
        code = files.compress(pcm, RATE_HZ, model=models.tables())
        assert len(code) < 100
        sound, _ = files.decompress(code, model=models.tables())
        assert len(sound) == samples
        assert not sound.any()

    @pytest.mark.parametrize("sound", list(EXTREMES))
    @pytest.mark.parametrize("rate_kind", ["average", "constant"])
    @pytest.mark.parametrize("code_bytes", [16, 8192])
    def test_whatever_the_sound_it_fits_or_is_refused(
        self, sound: str, rate_kind: container.Rate, code_bytes: int
    ) -> None:
        pcm, rate_hz = EXTREMES[sound]()

        def made(code_bytes: int) -> bytes:
            model = models.tables()
            return files.compress(
                pcm, rate_hz, model=model, code_bytes=code_bytes, rate_kind=rate_kind
            )

        try:
            code = made(code_bytes)
        except UsageError as refused:
            assert sound == "one sample" and code_bytes == 16
            least = int(str(refused).split("--code-bytes ")[1].split()[0])
            assert len(made(least)) <= 2 * least
            return
        reader = Reader(io.BytesIO(code))
        rows = reader.rows(0, reader.header.rows)
        longest = max(map(len, rows), default=0)
        if rate_kind == "constant":
            assert longest <= code_bytes
        else:
            assert longest <= 4 * code_bytes
            assert len(code) <= code_bytes * len(rows) or not rows
        heard, _ = files.decompress(code, model=models.tables())
        assert len(heard) == len(pcm) and np.all(np.isfinite(heard))
        if code_bytes == 8192:
            assert not pcm.any() or snr_db(pcm / 32768, heard) > 3

    def test_the_samples_of_a_file_are_read_as_they_are_needed(self) -> None:
        pcm = music(20)
        read: list[int] = []

        class Counted:
            def __len__(self) -> int:
                return len(pcm)

            def __getitem__(self, part: slice, /) -> np.ndarray[Any, np.dtype[np.int16]]:
                read.append(part.stop - part.start)
                return pcm[part]

        code = files.compress(Counted(), RATE_HZ, model=models.tables(), code_bytes=128)
        assert code == files.compress(pcm, RATE_HZ, model=models.tables(), code_bytes=128)
        assert max(read) <= 300 * 3750

    def test_an_audio_file(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.wav"
        path.write_bytes(encode_audio(music(5) / 32768, RATE_HZ, "wav"))
        code = files.encode_file(path, model=models.tables())
        assert code == files.compress(music(5), RATE_HZ, model=models.tables())

    @pytest.mark.parametrize("code_bytes", [0, 15, 8193])
    def test_impossible_sizes_are_refused(self, code_bytes: int) -> None:
        with pytest.raises(UsageError):
            files.compress(music(1), RATE_HZ, model=models.tables(), code_bytes=code_bytes)


class TestWhatIsNoCode:
    def test_another_model_is_named(self, code: bytes) -> None:
        with pytest.raises(CodeError, match=files.identify(models.tables()).hex()) as refused:
            files.decompress(code, model=models.network())
        assert refused.value.exit_code == 65

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (lambda code: b"", "not a fadae code"),
            (lambda code: b"RIFF" + code, "not a fadae code"),
            (lambda code: code[:30], "header is not whole"),
            (lambda code: code[:60], "index is not whole"),
            (lambda code: code[:-1], "cut short"),
            (lambda code: code + b"x", "too long"),
            (lambda code: code[:8] + b"\2" + code[9:], "version 2"),
            (lambda code: code[:52] + b"\0" + code[53:], "checksum"),
        ],
    )
    def test_says_what_is_wrong(self, code: bytes, damage: Any, says: str) -> None:
        with pytest.raises(CodeError, match=says) as refused:
            files.decompress(damage(code), model=models.tables())
        assert "\n" not in str(refused.value)

    def test_every_flipped_bit_is_noticed(self, code: bytes) -> None:
        rng = np.random.default_rng(3)
        for at in [*range(60), *rng.integers(0, len(code), 140)]:
            damaged = bytearray(code)
            damaged[at] ^= 1 << rng.integers(8)
            with pytest.raises(CodeError):
                files.decompress(bytes(damaged), model=models.tables())

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=2_000 if settings().max_examples <= 100 else 100_000)
    def test_forged_files_end_in_sound_or_in_one_line(self, seed: int) -> None:
        forged = forge(np.random.default_rng(seed), short_code())
        with contextlib.suppress(CodeError):
            sound, _ = files.decompress(forged, model=models.network())
            assert len(sound) <= 2**22 and np.all(np.isfinite(sound))


@functools.cache
def short_code(foreign: bool = False) -> bytes:
    """Return the file of a few short rows: a low rate has few coefficients."""
    model = models.tables() if foreign else models.network()
    return files.compress(music(1)[:3000], 2000, model=model, code_bytes=128)


def forge(rng: np.random.Generator, code: bytes) -> bytes:
    """Return a damaged file; in most, the checksums agree with the damage, and it goes deeper."""
    kind = rng.integers(7)
    if kind == 4:  # another model's rows, under this one's name
        foreign = short_code(foreign=True)
        code = foreign[:12] + code[12:20] + foreign[20:]
    elif kind == 5:  # the head of one file, and what another one has from there on
        foreign, at = short_code(foreign=True), int(rng.integers(20, 80))
        code = code[:at] + foreign[at:] if rng.integers(2) else foreign[:at] + code[at:]
        code = code[:12] + short_code()[12:20] + code[20:]
    rows = min(57 + int.from_bytes(code[41:45], "little") % 256
               + int.from_bytes(code[45:49], "little") % 256, len(code))  # fmt: skip
    forged = bytearray(code)
    begin, end = {1: (rows, len(code)), 2: (20, 49), 3: (57, rows)}.get(int(kind), (0, rows))
    if kind < 4:
        for _ in range(rng.integers(1, 6)):
            forged[rng.integers(begin, max(end, begin + 1))] = rng.integers(256)
    if kind == 6:  # rows of nothing but chance
        forged[rows:] = rng.bytes(len(code) - rows)
    if kind == 0:
        return bytes(forged[: rng.integers(1, len(forged) + 1)])
    if kind in (1, 4, 5, 6):
        forged[53:57] = zlib.crc32(forged[rows:]).to_bytes(4, "little")
    forged[49:53] = zlib.crc32(forged[:49] + forged[53:rows]).to_bytes(4, "little")
    return bytes(forged)


class TestKeptModels:
    @pytest.mark.parametrize("model", [models.tables, models.network])
    def test_a_kept_model_codes_the_same(self, model: Any) -> None:
        again = files.from_bytes(files.to_bytes(model()))
        assert files.identify(again) == files.identify(model())
        c, index = models.rows(4, seed=30), models.steps(4)
        expected = ByteCoder(model(), models.SIZE).encode(c, index)
        assert ByteCoder(again, models.SIZE).encode(c, index) == expected

    @pytest.mark.parametrize("junk", [b"", b"x" * 100, b"\10\0\0\0\0\0\0\0{}      "])
    def test_other_bytes_are_refused(self, junk: bytes) -> None:
        with pytest.raises(CodeError):
            files.from_bytes(junk)
