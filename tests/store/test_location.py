"""What a folder fails at and what it refuses, told as a bucket tells it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from fadae.errors import AccessError, StorageError
from fadae.store.location import PARTIAL, Location, _Written


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    location = Location(str(tmp_path / "file"))
    for verb in (
        lambda: location.write_bytes("x", b"1"),
        lambda: location.create_exclusive("x", b"1"),
        lambda: location.read_bytes("x"),
        lambda: location.size_bytes("x"),
    ):
        with pytest.raises(AccessError, match=r"file: [\w ]+ x: Not a directory; check the path"):
            verb()


def test_what_is_not_there_stays_a_file_not_found(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        location.read_bytes("x")
    with pytest.raises(FileNotFoundError), location.reading("x"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_storage_error() -> None:
    written = _Written(os.open("/dev/full", os.O_WRONLY), "write x")
    with pytest.raises(StorageError, match="write x: No space left"):  # noqa: SIM117
        with io.BufferedWriter(written) as file:
            file.write(b"1")


def test_an_error_of_the_block_that_writes_is_its_own(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    with pytest.raises(BrokenPipeError), location.writing("x"):
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_no_object(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    location.write_bytes("a/whole", b"1")
    (tmp_path / "a" / f"{PARTIAL}x").write_bytes(b"half")
    assert location.names("a") == ["whole"]
