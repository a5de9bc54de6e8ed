"""What every store does alike, be it a folder, memory or a bucket of any kind."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import zarr

from fadae.store.layout import BLOCK_FRAMES, fixed_array, new_group
from fadae.store.location import Location

# Of a kept source: file names and bytes from outside, which look like parts of a request.
AWKWARD = "x/ü +%20 b.ogg"
HOSTILE = b"\r\n--==0==--\r\n\x00" * 3

Opened = Callable[[], Location]


def test_an_object_is_what_was_last_written(opened: Opened) -> None:
    location, other = opened(), opened()
    for path in ("a", "f/b", "f/g/c", AWKWARD):
        location.write_bytes(path, b"old")
        location.write_bytes(path, HOSTILE, content_type="application/json")
        assert other.read_bytes(path) == HOSTILE
        assert other.size_bytes(path) == len(HOSTILE)
        assert other.exists(path)
    location.write_bytes("empty", b"")
    assert (other.read_bytes("empty"), other.size_bytes("empty")) == (b"", 0)
    assert other.read_version("empty")[0] == b""
    assert list(other.read_many(["a", "f/b"])) == [HOSTILE] * 2
    with other.reading("f/g/c") as file:
        assert file.read() == HOSTILE
    assert abs(location.modified_seconds("a") - time.time()) < 3600


def test_a_range_is_a_slice(opened: Opened) -> None:
    location = opened()
    location.write_bytes("a", b"0123456789")
    for start, stop in ((0, 1), (3, 7), (None, 4), (5, None), (0, 10)):
        assert location.read_bytes("a", start, stop) == b"0123456789"[start:stop]


def test_what_is_not_there_is_told_as_a_folder_tells_it(opened: Opened) -> None:
    location = opened()
    assert (location.names(""), location.names("a"), location.found_below("a")) == ([], [], {})
    assert not location.exists("a")
    for verb in (
        lambda: location.read_bytes("a"),
        lambda: location.read_bytes("a", 0, 1),
        lambda: location.size_bytes("a"),
        lambda: location.modified_seconds("a"),
        lambda: location.read_version("a"),
    ):
        with pytest.raises(FileNotFoundError):
            verb()
    location.delete("a")
    location.delete_many(["a", "b"])


def test_a_listing_knows_of_every_write_at_once(opened: Opened) -> None:
    location, other = opened(), opened()
    for path in ("f/a", "f/b/c", "f/b/d/e", "fa", "g"):
        location.write_bytes(path, b"1")
    assert other.names("") == ["f", "fa", "g"]
    assert other.names("f") == ["a", "b"]
    assert other.names("f/b") == ["c", "d"]
    assert sorted(other.found_below("f")) == ["a", "b/c", "b/d/e"]
    assert other.exists("f/b")
    found = other.found_below("f")["a"]
    assert found.size_bytes == 1 and abs(found.modified_seconds - time.time()) < 3600
    location.delete("f/b/c")
    assert other.names("f/b") == ["d"]
    location.delete("f")
    assert other.found_below("f") == {}
    assert set(other.names("")) - {"f"} == {"fa", "g"}  # SeaweedFS tells of emptied folders
    location.delete_many(["fa", "g", "absent"])
    assert other.found_below("") == {}


def test_many_objects_go_at_once(opened: Opened) -> None:
    location = opened()
    paths = [f"m/{number:03d}" for number in range(60)]
    list(location.concurrently(lambda path: location.write_bytes(path, b"1"), paths))
    assert location.names("m") == [path[2:] for path in paths]
    location.delete_many([*paths[:50], "m/absent"])
    assert location.names("m") == [path[2:] for path in paths[50:]]


def test_an_object_by_parts_appears_whole_or_not_at_all(opened: Opened) -> None:
    location = opened()
    with pytest.raises(KeyError), location.writing("x/y") as file:
        file.write(b"part")
        raise KeyError
    assert not location.exists("x/y")
    whole = np.random.default_rng(0).bytes(6_000_000)  # several times a client's part
    with location.writing("x/y") as file:
        file.write(whole)
    assert location.read_bytes("x/y") == whole
    assert location.names("x") == ["y"]


def test_zarr_reads_what_was_written_and_nothing_where_nothing_was(opened: Opened) -> None:
    location = opened()
    rows = np.arange(2 * BLOCK_FRAMES * 4, dtype=np.float32).reshape(-1, 4)
    for name, data in new_group([fixed_array("a", "x", np.zeros(3), {})], {}).items():
        location.write_bytes(f"z/{name}", data)
    store = location.zarr_store("z")
    array = zarr.create_array(
        store, name="b", shape=rows.shape, dtype="float32", chunks=(64, 4), shards=(BLOCK_FRAMES, 4)
    )
    array[:BLOCK_FRAMES] = rows[:BLOCK_FRAMES]
    array = zarr.open_array(opened().zarr_store("z", read_only=True), path="b", mode="r")
    assert np.array_equal(array[100:300], rows[100:300])  # by ranges, the last one from the end
    assert not np.any(array[BLOCK_FRAMES:])
    location.write_bytes("z/b/c/0/0", b"")
    with pytest.raises(Exception) as told:
        array[0]
    assert not isinstance(told.value, FileNotFoundError)
