"""The index of recordings: it says what the columns say, in few requests, whatever is killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import fadae
from fadae.errors import UnknownNameError
from fadae.records import sha256_hex
from fadae.stages.extract import extract, extract_shard
from fadae.store import indexing
from fadae.store.features import FeatureSet
from fadae.store.frames import DamagedError, FrameStore
from fadae.store.history import HISTORY, history_path
from fadae.store.index_objects import ROWS_PER_PACK, RecordingRow
from fadae.store.indexing import check_index, extend_index, sweep_index
from fadae.store.location import Location
from fadae.store.paths import FEATURES, RELEASED, mark_path, pcm_path, recording_key
from fadae.store.plan import Plan
from fadae.store.published import PublishedRecordings, RecordingColumns
from fadae.store.recording_index import INDEX, RecordingIndex, _as_listed, index_attrs
from fadae.store.verify import verify
from tests.store.staged import RATE_HZ, noise, stage, stage_all, tree

HOSTILE = {
    "a/../../etc/passwd": 40,
    "a/caf\udce9.ogg": 41,
    r"a/caf\udce9.ogg": 42,  # what the one above is stored as
    "a/\n\x00\xff\u2028.ogg": 43,
    "a/" + "x" * 300: 44,
    "a/İSTANBUL ß ﬁ.ogg": 45,
    '{"id":"x"}/[1]': 46,
}


def row(number: int, **values: object) -> RecordingRow:
    """A made-up row of the table; every tenth repeats the PCM of the one before."""
    repeated = number % 10 == 9
    name = f"item-{number % 7}/{number:06d} part {number % 100}.ogg"
    made = RecordingRow(
        id=name,
        item=name.partition("/")[0],
        file=name.partition("/")[2],
        title=f"Title {number}",
        creator="A. Composer",
        licence="CC0",
        url="",
        key=recording_key(name),
        sha1="0" * 40,
        pcm_sha256=sha256_hex(str(number - repeated)),
        rate_hz=RATE_HZ,
        source_rate_hz=44100,
        samples=1000 + number - repeated,
        seconds=(1000 + number - repeated) / RATE_HZ,
        frame_start=2 * (number - repeated),
        frame_count=2,
        same_as=number - 1 if repeated else -1,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def grow(store: FrameStore, count: int, number: int) -> FrameStore:
    """Publish so many more made-up recordings, as a plan of this number would."""
    first = store.recording_rows
    rows = [row(n) for n in range(first, first + count)]
    sweep_index(store, number)
    names = RecordingRow.__dataclass_fields__
    store.write_recordings(first, {f"recording_{n}": [getattr(r, n) for r in rows] for n in names})
    index = extend_index(store, iter(rows), f"{number:05d}-{number:016x}")
    return store.publish(store.rows, first + count, {"index": index, "published_plans": number + 1})


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one recording published."""
    folder = tmp_path_factory.mktemp("index") / "empty"
    location = Location(str(folder))
    stage_all(location, {"a/1": 10})
    extract(location)
    return folder


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> FrameStore:
    """features.zarr with no recordings, to grow."""
    folder = shutil.copytree(empty, tmp_path / "w")
    shutil.rmtree(folder / INDEX)
    opened = FrameStore.open(Location(str(folder)), FEATURES)
    return opened.publish(opened.rows, 0, {"index": None})


def index_of(store: FrameStore) -> RecordingIndex:
    index = RecordingIndex.of(store)
    assert index is not None
    return index


class Requests(Location):
    """A location that counts what is read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads = self.bytes_read = 0

    def read_bytes(self, path: str, start: int | None = None, stop: int | None = None) -> bytes:
        data = super().read_bytes(path, start, stop)
        self.reads, self.bytes_read = self.reads + 1, self.bytes_read + len(data)
        return data


def test_it_says_what_the_columns_say(store: FrameStore) -> None:
    for number, count in enumerate((ROWS_PER_PACK - 3, 5, 1, 130)):
        store = grow(store, count, number)
    index, columns = index_of(store), RecordingColumns(store)
    assert len(index) == len(columns) == store.recording_rows
    drawn = random.Random(0)
    for at in [
        0,
        ROWS_PER_PACK - 1,
        ROWS_PER_PACK,
        len(index) - 1,
        *drawn.choices(range(16_000), k=5),
    ]:
        found = index.row(at)
        assert found == columns.row(at) == row(at)
        assert index.find(found.id) == columns.find(found.id) == at
    assert index.find("item-0/no such.ogg") is None
    start, stop = ROWS_PER_PACK - 70, ROWS_PER_PACK + 200
    assert index.rows(start, stop) == columns.rows(start, stop)
    digests = {row(n).pcm_sha256 for n in (9, 16_500, 16_009)} | {sha256_hex("new")}
    assert index.canonical(digests) == columns.canonical(digests)
    assert {at for at, _ in index.canonical(digests).values()} == {8, 16_008, 16_500}
    keys = [recording_key(row(n).id) for n in (7, 16_501)] + [recording_key("b/2")]
    assert index.published_keys(keys) == columns.published_keys(keys) == set(keys[:2])
    published = PublishedRecordings(store)
    assert published.matching(["item-3", "part 1", "00"]).tolist() == [
        n for n in range(len(index)) if n % 7 == 3 and "part 1" in row(n).id and "00" in row(n).id
    ]
    attrs = index_attrs(store.attrs, store.recording_rows)
    assert attrs is not None and len(attrs["tables"]) <= 3
    own = [row(n) for n in range(len(index)) if n % 10 != 9]
    assert (attrs["frames"], attrs["samples"]) == (2 * len(own), sum(r.samples for r in own))
    assert list(check_index(store, repair=False)) == []
    for wanted in (5, 9000, ROWS_PER_PACK, store.recording_rows - 1):
        location = Requests(store.location.url)
        recording = fadae.Workspace(location).recording(row(wanted).id)
        assert (recording.row, recording.title) == (wanted, f"Title {wanted}")
        assert location.reads <= 6  # the root's document is one
        assert location.bytes_read < 250_000


def test_many_small_publications_leave_few_objects(store: FrameStore) -> None:
    small = indexing._SMALL
    try:
        indexing._SMALL = 8
        for number in range(24):
            store = grow(store, 1 + number % 3, number)
    finally:
        indexing._SMALL = small
    attrs = index_attrs(store.attrs, store.recording_rows)
    assert attrs is not None and len(attrs["tables"]) <= 4
    # Those of this publication, and what is left for the readers of the one before.
    assert len(store.location.names(INDEX)) <= 2 * (2 + 2 * 4)
    assert [index_of(store).find(row(n).id) for n in range(store.recording_rows)] == [
        *range(store.recording_rows)
    ]


def test_hostile_names_are_found_by_the_ids_they_are_listed_with(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    stage_all(location, HOSTILE)
    extract(location)
    workspace = fadae.open(location.url)
    assert len(workspace.recordings) == len(HOSTILE)
    for recording in workspace.recordings:
        assert workspace.recording(recording.id).id == recording.id
    for word in ("etc/passwd", "i̇stanbul", "SS", "FI", "\x00", '{"id":"x"}', "x" * 300, r"\udce9"):
        assert workspace.search(word), word
    assert not workspace.search("\udce9")
    with pytest.raises(UnknownNameError, match=r"nearest: 'a/\.\./\.\./etc/passwd'"):
        workspace.recording("etc/passwd")
    assert _as_listed(r"\ud\udce9\ud800x\udzzz") == "\\ud\udce9\ud800x\\udzzz"
    assert extract(location)["shards_written"] == 0


def test_whoever_reads_an_old_publication_reads_on(store: FrameStore) -> None:
    old = grow(store, 300, 0)
    seen = PublishedRecordings(old)
    assert seen.row(299) == row(299)
    store = grow(old, 1, 1)
    assert PublishedRecordings(old).find(row(7).id) == 7  # kept for a publication more
    grow(store, 1, 2)
    assert RecordingIndex.of(old) is not None
    assert PublishedRecordings(old).find(row(7).id) == 7  # from the columns
    assert len(PublishedRecordings(old)) == 300


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_damage_is_found_and_repaired_to_the_same_bytes(
    how: str, empty: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(empty, tmp_path / "w"))
    location = Location(str(folder))
    for name in location.names(INDEX):
        path = folder / INDEX / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data if how == "flip" else data[:-3])
        if how == "gone":
            path.unlink()
    names = {f"{INDEX}/{name}" for name in Location(str(empty)).names(INDEX)}
    assert len(names) == 4
    assert {p["path"] for p in verify(location)["problems"]} == names
    if how != "gone":
        with pytest.raises(DamagedError, match="verify --repair"):
            fadae.open(location.url).recording("a/1")
    assert verify(location, recompute=extract_shard)["problems_repaired"] == 4
    assert tree(folder) == tree(empty)


def without_index(folder: Path) -> Location:
    """Make a workspace what an earlier fadae left: no index, no history, no marks."""
    shutil.rmtree(folder / INDEX)
    shutil.rmtree(folder / HISTORY)
    shutil.rmtree(folder / "staging/new", ignore_errors=True)
    path = folder / FEATURES / "zarr.json"
    root = json.loads(path.read_text("utf-8"))
    del root["attributes"]["index"], root["attributes"]["root_sha256"]
    path.write_text(json.dumps(root), "utf-8")
    return Location(str(folder))


def test_a_store_of_an_earlier_fadae_opens_and_gets_an_index(empty: Path, tmp_path: Path) -> None:
    again = noise(0, 10)
    made = []
    for number, upgrade in enumerate(("none", "extract", "verify")):
        folder = Path(shutil.copytree(empty, tmp_path / str(number)))
        location = Location(str(folder)) if upgrade == "none" else without_index(folder)
        stage(location, "b/again", again)  # unmarked below: staged by the earlier fadae
        if upgrade != "none":
            shutil.rmtree(folder / "staging/new")
        workspace = fadae.open(location.url)
        assert workspace.recording("a/1").row == 0
        assert workspace.search("composer") and workspace.info()["frames"] == 2
        assert workspace.info()["recordings"]["ok"] == 2
        if upgrade == "verify":
            assert verify(location, recompute=extract_shard)["problems"] == []
            assert RecordingIndex.of(FrameStore.open(location, FEATURES)) is not None
        assert extract(location)["recordings"] == 2
        store = FrameStore.open(location, FEATURES)
        assert [index_of(store).row(n).same_as for n in range(2)] == [-1, 0]
        assert list(check_index(store, repair=False)) == []
        made.append(store.attrs["index"])
    assert made[0]["frames"] == made[1]["frames"] == made[2]["frames"] == 2


def test_plain_xarray_sees_no_index(empty: Path) -> None:
    opened = xr.open_zarr(str(empty / FEATURES))
    assert opened.recording_id.values.tolist() == ["a/1"]
    assert not [name for name in opened.variables if "index" in str(name)]


def writes_of_an_extraction(location: Location, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Extract; return the paths of all writes, as the driver that is told to die counts them."""
    written = []

    def noting(write: Any) -> Any:
        def noted(self: Location, path: str, *arguments: Any) -> Any:
            written.append(path)
            return write(self, path, *arguments)

        return noted

    with monkeypatch.context() as patched:
        for name in ("write_bytes", "create_exclusive"):
            patched.setattr(Location, name, noting(getattr(Location, name)))
        extract(location)
    return written


def test_killed_at_any_write_of_publication_it_ends_with_the_same_bytes(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Location(str(shutil.copytree(empty, tmp_path / "whole")))
    stage_all(whole, {"b/2": 20, "b/3": 30}, first_seed=1)
    written = writes_of_an_extraction(whole, monkeypatch)
    index = [n for n, path in enumerate(written, start=1) if path.startswith(INDEX)]
    root = written.index(f"{FEATURES}/zarr.json", index[0]) + 1
    assert len(index) == 4 and index[-1] < root
    assert written[root:] == [history_path(2), history_path(2), RELEASED]
    for number in (index[1], root, root + 1):
        folder = Path(shutil.copytree(empty, tmp_path / str(number)))
        location = Location(str(folder))
        stage_all(location, {"b/2": 20, "b/3": 30}, first_seed=1)
        command = [sys.executable, "-m", "tests.store.driver", location.url, str(number)]
        top = Path(__file__).resolve().parents[2]
        assert subprocess.run(command, cwd=top, check=False).returncode == -signal.SIGKILL
        seen = fadae.open(location.url)
        published = ["a/1"] if number <= root else ["a/1", "b/2", "b/3"]
        assert [r.id for r in seen.recordings] == published
        assert seen.recording("a/1").row == 0
        extract(location)
        assert tree(folder / FEATURES) == tree(Path(whole.url) / FEATURES)
        assert location.names(f"staging/new/{sha256_hex('b/2')[:2]}") == []


def test_marks_tell_what_is_new(empty: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(empty, tmp_path / "w"))
    location = Location(str(folder))
    assert not location.exists(mark_path("a/1"))
    location.write_bytes(mark_path("a/1"), b"")  # killed before the marks were removed
    location.write_bytes(mark_path("c/never"), b"")  # killed before the commit was written
    stage_all(location, {"b/2": 20}, first_seed=1)
    assert fadae.open(location.url).info()["recordings"]["ok"] == 2
    assert extract(location)["recordings"] == 2
    assert not location.exists(mark_path("a/1")) and not location.exists(mark_path("b/2"))
    # A commit without a mark, as an earlier fadae writes it beside this one: verify tells.
    stage_all(location, {"b/3": 30}, first_seed=2)
    location.delete(mark_path("b/3"))
    assert [p["path"] for p in verify(location)["problems"]] == [mark_path("b/3")]
    assert verify(location, recompute=extract_shard)["problems_repaired"] == 1
    assert extract(location)["recordings"] == 3
    # Removed with its plans, all is extracted again where its PCM is: nothing is passed over.
    for seed, (recording, samples) in enumerate({"a/1": 10, "b/2": 20, "b/3": 30}.items()):
        location.write_bytes(pcm_path(recording), noise(seed, samples).tobytes())
    shutil.rmtree(folder / FEATURES)
    shutil.rmtree(folder / "plans")
    assert extract(location)["recordings"] == 3


def test_a_late_driver_changes_nothing_of_the_index(empty: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(empty, tmp_path / "w"))
    location = Location(str(folder))
    old = FrameStore.open(location, FEATURES)
    stage_all(location, {"b/2": 20}, first_seed=1)
    extract(location)
    stage_all(location, {"b/3": 30}, first_seed=2)
    extract(location)
    before = tree(folder / INDEX)
    plan = Plan.read(location, 1)
    assert plan is not None
    rows = PublishedRecordings(FrameStore.open(location, FEATURES)).rows(1, 2)
    sweep_index(old, 1)
    assert extend_index(old, rows, plan.token)["packs"] == [plan.token]
    after = tree(folder / INDEX)
    assert {name: after[name] for name in before} == before
    features = FeatureSet.open(location)
    assert [r.id for r in PublishedRecordings(features.store).rows(0, 3)] == ["a/1", "b/2", "b/3"]
    assert list(check_index(features.store, repair=False)) == []
