"""FLAC in parts: the samples, their number told at once, and nothing held."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from fadae.arrays import Float32
from fadae.audio import Tags, flac_stream
from fadae.audio.pcm import to_pcm
from fadae.errors import UsageError

RATE_HZ = 11025


def blocks(count: int, size: int, seen: list[int] | None = None) -> Iterator[Float32]:
    random = np.random.default_rng(0)
    for at in range(count):
        if seen is not None:
            seen.append(at)
        yield np.float32(0.3) * random.standard_normal(size, dtype=np.float32).clip(-1, 1)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 1000), (20, 30_000)])
def test_the_parts_are_a_file_of_these_samples(count: int, size: int) -> None:
    tags = Tags(title="Für\0 Elise \ud800", licence="CC0-1.0")
    data = b"".join(flac_stream(blocks(count, size), RATE_HZ, count * size, tags))
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.samplerate, file.channels, file.frames) == (RATE_HZ, 1, count * size)
        assert (file.title, file.license) == (tags.fields()["title"], "CC0-1.0")
        assert file.title.startswith("Für") and file.title.isprintable()
        samples = file.read(dtype="int16")
    np.testing.assert_array_equal(samples, to_pcm(np.concatenate([*blocks(count, size)])))


def test_a_part_leaves_as_soon_as_it_is_made() -> None:
    seen: list[int] = []
    parts = flac_stream(blocks(50, 30_000, seen), RATE_HZ, 50 * 30_000)
    sizes = []
    for number, part in enumerate(parts):
        assert len(seen) <= number + 1
        sizes.append(len(part))
    assert max(sizes) < 2 * 30_000 + 10_000


@pytest.mark.parametrize("promised", [2999, 3001])
def test_another_number_of_samples_than_promised_is_no_whole_file(promised: int) -> None:
    with pytest.raises(ValueError, match=f"3000 samples came where {promised}"):
        list(flac_stream(blocks(3, 1000), RATE_HZ, promised))


def test_a_rate_that_flac_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot write 2000000 Hz audio as flac"):
        list(flac_stream(blocks(1, 10), 2_000_000, 10))
