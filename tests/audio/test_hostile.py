"""The corpus of hostile files: each is sound or has its reason, soon, in little memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae.audio.protocol import TAG_CHARACTERS
from fadae.audio.sandbox import Sandbox
from fadae.errors import PermanentFailure
from tests.audio.hostile import BAD, CORPUS, ODD, SHORT, Hostile
from tests.audio.test_sandbox import peak_bytes

_PEAK_BYTES = 128 << 20  # 63 MB were measured, most of it what the libraries take


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def file_of(one: Hostile, folder: Path, listener: socket.socket) -> Path:
    path = folder / "source"
    port = str(listener.getsockname()[1]).encode()
    path.write_bytes(one.make().replace(b"{port}", port))
    return path


def test_the_corpus_is_whole() -> None:
    assert len(CORPUS) == len({one.name for one in CORPUS}) == 48


@pytest.mark.parametrize("one", ODD, ids=lambda one: one.name)
def test_an_odd_file_is_sound(
    one: Hostile, one_child: Sandbox, listener: socket.socket, tmp_path: Path
) -> None:
    blocks: list[bytes] = []
    path = file_of(one, tmp_path, listener)
    source = one_child.decode(path, 11025, SHORT, blocks.append)
    assert sum(map(len, blocks)) == pytest.approx(2 * 11025 * one.seconds, rel=0.08)
    assert source.damage is None
    assert all(len(text) <= TAG_CHARACTERS for text in source.tags.values())
    assert peak_bytes(one_child) < _PEAK_BYTES


@pytest.mark.parametrize("one", BAD, ids=lambda one: one.name)
def test_a_bad_file_is_quarantined_with_its_reason(
    one: Hostile, one_child: Sandbox, listener: socket.socket, tmp_path: Path
) -> None:
    path = file_of(one, tmp_path, listener)
    with pytest.raises(PermanentFailure, match=one.reason):
        one_child.decode(path, 11025, SHORT, lambda data: None)
    assert peak_bytes(one_child) < _PEAK_BYTES
    with pytest.raises(BlockingIOError):
        listener.accept()  # nobody came to ask
