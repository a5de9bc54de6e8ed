"""Folders of music of any size out of a few recordings, each part of a recording another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import av

from fadae.audio.ogg import with_fixed_serial

SHIFT_SECONDS = 5.0


def make_corpora(music: Path, folder: Path, sizes: list[int]) -> dict[int, Path]:
    """Return folders of so many OGG files; a larger one holds those of the smaller ones.

    They are the recordings of a folder, then the same without their first seconds, without more of
    them, and so on: other samples, hence other recordings. Packets are copied, not coded again.
    """
    sources = sorted(path for path in music.glob("*.ogg") if path.stem != "silence")
    if not sources:
        raise SystemExit(f"no real music: put .ogg files into {music}")
    made = list(_cuts(sources, folder / "every", max(sizes)))
    corpora = {size: folder / str(size) for size in sizes}
    for size, corpus in corpora.items():
        corpus.mkdir()
        for file in made[:size]:
            os.link(file, corpus / file.name)
    return corpora


def _cuts(sources: list[Path], folder: Path, wanted: int) -> Iterator[Path]:
    """Make so many files; yield them, all recordings once before any comes again."""
    folder.mkdir(parents=True)
    left = {source: _seconds(source) for source in sources}
    for turn in count():
        left = {source: length for source, length in left.items() if length > turn * SHIFT_SECONDS}
        if not left:
            raise SystemExit(f"{len(sources)} recordings are too short for {wanted} others")
        for source in left:
            target = folder / f"{source.stem}-{turn}.ogg"
            _cut(source, target, turn * SHIFT_SECONDS)
            yield target
            wanted -= 1
            if not wanted:
                return


def _seconds(source: Path) -> float:
    with av.open(source) as opened:
        return float((opened.duration or 0) / av.time_base)


def _cut(source: Path, target: Path, first_second: float) -> None:
    """Copy a recording from about a second on."""
    with av.open(source) as read, av.open(target, "w", format="ogg") as written:
        from_stream = read.streams.audio[0]
        to_stream = written.add_stream_from_template(from_stream)
        first: int | None = None
        for packet in read.demux(from_stream):
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue  # the last one of a file is empty
            if packet.pts * packet.time_base < first_second:
                continue
            first = packet.pts if first is None else first
            packet.pts, packet.dts = packet.pts - first, packet.dts - first
            packet.stream = to_stream
            written.mux(packet)
    target.write_bytes(with_fixed_serial(target.read_bytes()))
