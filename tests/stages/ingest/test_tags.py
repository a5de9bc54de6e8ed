"""What files say of themselves becomes title, creator and licence where the source says nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest

from fadae.archive.folder import FolderSource
from fadae.archive.items import ArchiveSource
from fadae.audio.decode import decode
from fadae.embedded.items import HeldItem, hold
from fadae.embedded.server import EmbeddedArchive
from fadae.records import Track
from fadae.stages.extract import extract
from fadae.stages.ingest.driver import ingest
from fadae.stages.ingest.recording import with_tags
from fadae.store.features import RecordingTable
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES
from tests.audio.sounds import music
from tests.stages.ingest.conftest import QUICK, committed

TAGS = {
    "title": "Menü\tü",
    "artist": "A. Artist",
    "album": "An Album",
    "date": "1999",
    "copyright": "© A. Artist",
}
CODECS = {"mp3": "libmp3lame", "ogg": "libopus", "flac": "flac", "m4a": "aac", "opus": "libopus"}


def save(path: Path, codec: str, **tags: str) -> Path:
    """Write 2 s of music with tags, as FFmpeg writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate_hz = 48000
    samples = (music(2, rate_hz) * 32767).astype("<i2")[None, :]
    with av.open(str(path), "w") as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        if path.suffix in (".ogg", ".opus"):
            stream.metadata.update(tags)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(
            stream.codec_context.format, "mono", rate_hz, stream.codec_context.frame_size or 4096
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", CODECS)
def test_tags_of_a_folders_files_come_into_the_table(
    tmp_path: Path, location: Location, suffix: str
) -> None:
    path = save(tmp_path / f"music/01.{suffix}", CODECS[suffix], **TAGS)
    plain = save(tmp_path / f"plain/01.{suffix}", CODECS[suffix])
    ingest(location, [FolderSource(str(tmp_path / "music"))])
    track = committed(location, f"music/01.{suffix}").track
    assert (track.title, track.creator, track.licence) == ("Menü ü", "A. Artist", "© A. Artist")
    tagged, untagged = (np.concatenate(list(decode(file, 11025))) for file in (path, plain))
    assert np.array_equal(tagged, untagged)
    extract(location)
    table = RecordingTable(FrameStore.open(location, FEATURES))
    shown = [table.column(name)[0] for name in ("title", "creator", "licence")]
    assert shown == ["Menü ü", "A. Artist", "© A. Artist"]


def test_an_archives_metadata_wins(tmp_path: Path, location: Location) -> None:
    path = save(tmp_path / "01.ogg", "libopus", **TAGS)
    held = hold(path, "01.ogg", title="The archive's title")
    item = HeldItem("item", {"licenseurl": "https://example.org/licence"}, (held,))
    with EmbeddedArchive([item]) as archive:
        ingest(location, [ArchiveSource(items=("item",), url=archive.url, request_policy=QUICK)])
    track = committed(location, "item/01.ogg").track
    assert track.title == "The archive's title"
    assert track.creator == "A. Artist"
    assert track.licence == "https://example.org/licence"


def test_tags_are_hostile_text() -> None:
    track = Track("item", "a.ogg", "a")
    hostile = {
        "title": "T\x1b[31m\u202e\r\n" + "x" * 5000,
        "artist": "\0\0",
        "license": "javascript:x",
        "copyright": "c",
    }
    found = with_tags(track, hostile)
    assert found.title.startswith("T [31m x")
    assert len(found.title) == 300
    assert (found.creator, found.licence) == ("", "javascript:x")
    url = "https://creativecommons.org/licenses/by/4.0/"
    assert with_tags(track, {"license": url, "copyright": "c"}).licence == url
    assert with_tags(track, {}) == track
    known = dataclasses.replace(track, title="Known", creator="One", licence="two")
    assert with_tags(known, hostile) == known


def test_a_tag_that_is_no_text_costs_nothing(tmp_path: Path, location: Location) -> None:
    path = save(tmp_path / "music/a.flac", "flac", title="PLACE", artist="Someone")
    path.write_bytes(path.read_bytes().replace(b"PLACE", b"\xffLA\xfeE"))
    assert ingest(location, [FolderSource(str(tmp_path / "music"))])["ok"] == 1
    track = committed(location, "music/a.flac").track
    assert (track.title, track.creator) == ("\ufffdLA\ufffdE", "Someone")
