"""What a file that is written says of itself, as others read it."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from fadae.audio import Tags, write
from fadae.audio.decode import decode

TAGS = Tags(
    title="Menü\x1b[31m in\r\nG\u202e",
    creator="J. S. Bäch\0",
    licence="https://creativecommons.org/licenses/by/4.0/",
    licence_id="CC-BY-4.0",
    source="item/01 ü.ogg",
    run="default",
    model_sha256="ab" * 32,
)
X = (0.3 * np.sin(np.arange(22050) / 9)).astype(np.float32)


def read(data: bytes) -> dict[str, str]:
    """The tags that FFmpeg finds, by their names in lower case."""
    with av.open(io.BytesIO(data)) as container:
        found = {**container.metadata, **container.streams[0].metadata}
    return {name.lower(): text for name, text in found.items()}


@pytest.mark.parametrize("format", write.FORMATS)
def test_any_player_reads_them(format: str, tmp_path: Path) -> None:
    data = write.encode(X, 11025, format, TAGS)
    found = read(data)
    assert (found["title"], found["artist"]) == ("Menü [31m in G", "J. S. Bäch")
    assert found["license" if format != "wav" else "copyright"] == TAGS.licence
    for part in ("item/01 ü.ogg", "CC-BY-4.0", "run: default", "ab" * 32):
        assert part in found["comment"]
    assert data == write.encode(X, 11025, format, TAGS)
    write.write_blocks(tmp_path / "x", [X], 11025, format, TAGS)
    assert read((tmp_path / "x").read_bytes()) == found


@pytest.mark.parametrize("format", write.FORMATS)
def test_they_change_no_sample(format: str, tmp_path: Path) -> None:
    plain, tagged = (write.encode(X, 11025, format, tags) for tags in (None, TAGS))
    sounds = [soundfile.read(io.BytesIO(data))[0] for data in (plain, tagged)]
    assert np.array_equal(*sounds)
    (tmp_path / "x").write_bytes(tagged)
    assert sum(map(len, decode(tmp_path / "x", 11025))) >= len(X)


@pytest.mark.parametrize("format", write.FORMATS)
def test_hostile_text_is_one_bounded_line(format: str) -> None:
    hostile = "\ud800\0\n" + "x" * 100_000 + "\x1b]0;y\x07"
    tags = Tags(hostile, hostile, hostile, hostile, hostile, hostile, hostile)
    for text in read(write.encode(X, 11025, format, tags)).values():
        assert text.isprintable() and len(text) < 5000


@pytest.mark.parametrize("format", write.FORMATS)
def test_what_is_not_known_is_not_said(format: str) -> None:
    found = read(write.encode(X, 11025, format, Tags()))
    assert found["comment"] == "made by fadae" and not {"title", "artist", "license"} & found.keys()
