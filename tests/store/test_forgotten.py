"""Tombstones, what they mean of the recording table, and the removal of what they name."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fadae
from fadae.errors import UnknownNameError, UsageError
from fadae.forget import forget
from fadae.stages.extract import extract, extract_shard
from fadae.store import Location, read_tombstones
from fadae.store.features import NO_SAMPLE, FeatureSet
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.index_objects import decoded_pack, decoded_text
from fadae.store.tombstones import Tombstone
from fadae.store.verify import verify
from tests.s3 import S3Server
from tests.store.staged import HOP, noise, stage, stage_all, tree

LENGTHS = {"a/1": 20 * HOP, "a/2": 30 * HOP, "b/1": 12 * HOP, "c/live 1": 7 * HOP}


def filled(location: Location) -> Location:
    stage_all(location, LENGTHS)
    stage(location, "d/again", noise(1, 30 * HOP))  # what a/2 has
    extract(location)
    return location


def ids(location: Location, at: int | None = None) -> list[str]:
    workspace = fadae.open(location.url, location._options, at=at)
    recordings = workspace.recordings
    found = [one.id for one in recordings]
    assert (
        found == [one.id for one in recordings[:]] == [recordings[i].id for i in range(len(found))]
    )
    assert found == [recordings[place].id for place in recordings.rows("title")]
    return found


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("a/1", ["a/2", "b/1", "c/live 1", "d/again"]),
        ("a", ["b/1", "c/live 1", "d/again"]),
        ("*/live*", ["a/1", "a/2", "b/1", "d/again"]),
        ("[ad]", ["b/1", "c/live 1"]),
        ("nowhere", ["a/1", "a/2", "b/1", "c/live 1", "d/again"]),
    ],
)
def test_what_is_forgotten_is_listed_no_more(target: str, left: list[str], tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    done = forget(location, [target], "asked", by="me")
    assert ids(location) == left and done.recordings == 5 - len(left)
    assert ids(location, at=1) == left
    info = fadae.open(location.url).info()
    assert info.recordings["ok"] == len(left) and info.forgotten == 5 - len(left)
    gone = [one for one in [*LENGTHS, "d/again"] if one not in left]
    for one in gone:
        with pytest.raises(UnknownNameError, match="forgotten"):
            fadae.open(location.url).audio(one)
    assert verify(location).problems == []
    before = tree(tmp_path)
    assert forget(location, [target], "asked once more").new == 0 and tree(tmp_path) == before


def test_a_name_with_a_bracket_is_meant_as_it_is(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    stage_all(location, {"a/x [1].ogg": HOP, "a/x 1.ogg": HOP})
    extract(location)
    forget(location, ["a/x [1].ogg"], "asked")
    assert [one.id for one in fadae.open(location.url).recordings] == ["a/x 1.ogg"]


def test_repeated_samples_stay_for_whoever_is_not_forgotten(tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    heard = fadae.open(location.url).audio("d/again")
    forget(location, ["a/2"], "asked", erase_bytes=True)
    again = fadae.open(location.url)
    assert np.array_equal(again.audio("d/again"), heard)
    assert again.recording("d/again").same_as == -1
    assert FeatureSet.open(location).frames == sum(n // HOP + 1 for n in LENGTHS.values())
    forget(location, ["d/again"], "asked")
    start = again.recording("d/again").frame_start
    assert (FeatureSet.open(location).read("audio", start, start + 31) != NO_SAMPLE).any()
    forget(location, ["d"], "asked", erase_bytes=True)
    assert (FeatureSet.open(location).read("audio", start, start + 31) == NO_SAMPLE).all()
    assert verify(location).problems == []


def test_what_comes_again_is_not_planned_and_shares_no_silent_rows(tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    forget(location, ["a/1", "n"], "asked", erase_bytes=True)
    stage(location, "n/1", noise(50, HOP))
    stage(location, "z/same as a", noise(0, LENGTHS["a/1"]))  # of which nothing is left
    extract(location)
    workspace = fadae.open(location.url)
    assert [one.id for one in workspace.recordings][-1] == "z/same as a"
    assert workspace.recordings[-1].same_as == -1
    found = np.round(workspace.audio("z/same as a") * 32768).astype(np.int16)
    assert np.array_equal(found, noise(0, LENGTHS["a/1"]))
    assert FrameStore.open(location, "features.zarr").recording_rows == 6
    assert verify(location).problems == []


def everything(location: Location) -> Iterator[tuple[str, bytes]]:
    """Every object, and what it is compressed of."""
    for path in location.found_below(""):
        data = location.read_bytes(path)
        yield path, data
        if path.endswith(".gz"):
            yield path, gzip.decompress(data)
        if "/index/rows-" in path:
            yield path, repr(decoded_pack(data, path)).encode()
        if "/index/text-" in path:
            yield path, decoded_text(data, path)


def columns(location: Location) -> str:
    store = FrameStore.open(location, "features.zarr")
    names = [name for name in store.names if name.startswith("recording_")]
    return repr([store.read(name).tolist() for name in names])


def chunks_of(location: Location, array: str, rows: slice) -> list[bytes]:
    """The compressed chunks that hold some rows now."""
    store = FrameStore.open(location, "features.zarr")
    found = []
    for chunk in range(rows.start // 64, -(-rows.stop // 64)):
        block, within = divmod(chunk, 16)
        data = location.read_bytes(store.block_path(array, block))
        at, length = np.frombuffer(data[-260:-4], "<u8").reshape(16, 2)[within].tolist()
        found.append(data[at : at + length])
    return found


def test_what_is_erased_is_nowhere(tmp_path: Path) -> None:
    """Not its samples, raw or compressed; not its title, in a file or in what it is packed of."""
    location = Location(str(tmp_path))
    secret = noise(99, 70 * HOP)
    stage_all(location, {"a/1": 90 * HOP, "c/3": 5 * HOP})
    stage(location, "b/secret", secret)
    location.write_bytes("sources/x", b"")
    extract(location, keep_staging=True)
    kept = {n: fadae.open(location.url).audio(n) for n in ("a/1", "c/3")}
    rows = fadae.open(location.url).recording("b/secret")
    span = slice(rows.frame_start, rows.frame_start + rows.frame_count)
    inside = slice(-(-span.start // 64) * 64, span.stop // 64 * 64)  # whole chunks of it alone
    pieces = [p for a in ("audio", "features") for p in chunks_of(location, a, inside)]
    needles = [b"Title of secret", b"title of secret", *pieces]
    needles += [secret.tobytes()[at : at + 64] for at in range(0, len(secret), 4001)]

    def seen() -> set[bytes]:
        return {n for n in needles for _, data in everything(location) if n in data}

    assert seen() == set(needles) and "Title of secret" in columns(location)
    done = forget(location, ["b/secret"], "asked", erase_bytes=True)
    assert done.erased_recordings == 1 and done.erased_frames == rows.frame_count
    assert seen() == set() and "Title of secret" not in columns(location)
    features = FeatureSet.open(location)
    assert (features.read("frame_recording", span.start, span.stop) == -1).all()
    assert np.isnan(features.read("features", span.start, span.stop)).all()
    assert (features.read("audio", span.start, span.stop) == NO_SAMPLE).all()
    for name, sound in kept.items():
        assert np.array_equal(fadae.open(location.url).audio(name), sound)
        assert np.array_equal(fadae.open(location.url, at=1).audio(name), sound)
    assert verify(location).problems == []
    assert verify(location, recompute=extract_shard).problems == [] and seen() == set()


def test_other_rows_keep_their_bytes(tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    store = FrameStore.open(location, "features.zarr")
    before = {name: store.read(name) for name in store.frame_names}
    shards = {n: location.read_bytes(store.block_path(n, 0)) for n in ("audio", "features")}
    forget(location, ["a/2", "d"], "asked", erase_bytes=True)
    start = fadae.open(location.url, at=1).recording("b/1").frame_start
    for name, rows in before.items():
        after = FrameStore.open(location, "features.zarr").read(name)
        assert after[:21].tobytes() == rows[:21].tobytes()
        assert after[52:].tobytes() == rows[52:].tobytes() and start == 52
    for name, data in shards.items():
        after_shard = location.read_bytes(store.block_path(name, 0))
        assert len(after_shard) == len(data) and after_shard[-260:] == data[-260:]


def test_a_damaged_block_is_repaired_without_what_is_erased(tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    forget(location, ["a/1"], "asked", erase_bytes=True)
    store = FrameStore.open(location, "features.zarr")
    expected = {name: store.read(name) for name in store.frame_names}
    for name in ("features", "frame_recording"):
        location.delete(store.block_path(name, 0))
    done = verify(location, recompute=extract_shard)
    assert done.problems_found == done.problems_repaired == 2
    for name, rows in expected.items():
        assert np.array_equal(store.read(name), rows, equal_nan=rows.dtype.kind == "f")
    assert verify(location).problems == []


class Killed(BaseException):
    pass


def test_erasing_goes_on_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its n-th write or removal, for every n: run again, it ends with the same bytes."""
    at = "2026-11-27T00:00:00+00:00"
    monkeypatch.setattr(Tombstone, "of", lambda *a, **k: _made(at, *a, **k))
    filled(Location(str(tmp_path / "before")))
    first = Location(str(shutil.copytree(tmp_path / "before", tmp_path / "whole")))
    before = {n: fadae.open(first.url).audio(n) for n in ("a/1", "c/live 1")}
    forget(first, ["b/1", "*/again", "a/2"], "asked", erase_bytes=True)
    expected, wanted, n = tree(tmp_path / "whole"), -1, 0
    while True:
        location = Location(str(shutil.copytree(tmp_path / "before", tmp_path / str(n))))
        with monkeypatch.context() as patched:
            done = _killing(patched, wanted)
            with contextlib.suppress(Killed):
                forget(location, ["b/1", "*/again", "a/2"], "asked", erase_bytes=True)
        if wanted < 0:
            wanted, n = 0, n + 1
            total = done[0]
            assert total > 20
            continue
        for name, sound in before.items():  # a reader meanwhile
            assert np.array_equal(fadae.open(location.url).audio(name), sound)
        forget(location, ["b/1", "*/again", "a/2"], "asked", erase_bytes=True)
        assert tree(tmp_path / str(n)) == expected, f"killed at write {wanted}"
        wanted, n = wanted + 3, n + 1
        if wanted >= total:
            break
    assert verify(location).problems == []


def test_a_reader_sees_each_row_as_it_was_or_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = filled(Location(str(tmp_path)))
    store = FrameStore.open(location, "features.zarr")  # as a reader has it open meanwhile
    names = ("audio", "features", "frame_recording")
    before, looks = {name: store.read(name) for name in names}, list[int]()
    fills = {name: store.array(name).fill_value for name in names}
    plain = Location.replace

    def replace(self: Location, path: str, data: bytes, version: str | None) -> bool:
        done = plain(self, path, data, version)
        for name, rows in before.items():
            now = store.read(name)
            blank = np.full(rows[:1].shape, fills[name], rows.dtype).tobytes()
            same = [a.tobytes() == b.tobytes() for a, b in zip(now, rows, strict=True)]
            assert all(same[:21]) and all(same[52:])
            assert all(s or row.tobytes() == blank for s, row in zip(same, now, strict=True))
            looks.append(same.count(False))
        return done

    monkeypatch.setattr(Location, "replace", replace)
    forget(location, ["a/2", "d"], "asked", erase_bytes=True)
    assert min(looks) == 0 and max(looks) == 31


def _made(at: str, target: str, reason: str, by: str = "", **about: bool) -> Tombstone:
    from fadae.store.tombstones import kind_of

    return Tombstone(kind_of(target), target, reason, by, at, about["erase"])


def _killing(patched: pytest.MonkeyPatch, at: int) -> list[int]:
    """Raise at the n-th write or removal from now on; count them."""
    count = [0]

    def wrapped(name: str) -> None:
        plain = getattr(Location, name)

        def killing(self: Location, *arguments: object, **options: object) -> object:
            count[0] += 1
            if count[0] - 1 == at:
                raise Killed
            return plain(self, *arguments, **options)

        patched.setattr(Location, name, killing)

    for name in ("write_bytes", "create_exclusive", "replace", "delete"):
        wrapped(name)
    return count


def test_on_s3_too(s3: S3Server) -> None:
    location = filled(Location(f"{s3.url}/forget", s3.storage_options))
    forget(location, ["b/1", "*/again"], "asked", erase_bytes=True)
    assert ids(location) == ["a/1", "a/2", "c/live 1"]
    assert verify(location).problems == []


def hostile() -> list[bytes]:
    sound = Tombstone.of("a/1", "asked").to_bytes()
    other = Tombstone.of("a/2", "asked").to_bytes()
    values = json.loads(sound)
    nested = b"[" * 100_000
    changed = json.dumps({**values, "reason": "another"}).encode()
    kind = json.dumps({**values, "kind": 7}).encode()
    return [b"", b"null", b"[]", b"{}", sound[:-5], other, changed, kind, nested, b"\xff" * 9]


@pytest.mark.parametrize("data", hostile())
def test_a_tombstone_that_cannot_be_read_stops_the_reader(data: bytes, tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    path = Tombstone.of("a/1", "asked").path
    location.write_bytes(path, data)
    with pytest.raises(DamagedError, match="restore it from a copy"):
        read_tombstones(location)


@pytest.mark.parametrize("target", ["", " ", "x" * 5000])
def test_what_is_no_target_is_refused(target: str, tmp_path: Path) -> None:
    Location(str(tmp_path)).write_bytes("x", b"")
    with pytest.raises(UsageError, match="characters"):
        forget(str(tmp_path), [target], "asked")


def test_what_is_kept_of_the_rows_is_only_a_help(tmp_path: Path) -> None:
    location = filled(Location(str(tmp_path)))
    forget(location, ["a"], "asked")
    kept = "features.zarr/recording_id/forgotten"
    for data in (b"", b"{}\n", location.read_bytes(kept)[:-3]):
        location.write_bytes(kept, data)
        assert ids(location) == ["b/1", "c/live 1", "d/again"]
    location.delete(kept)
    assert ids(location) == ["b/1", "c/live 1", "d/again"]
