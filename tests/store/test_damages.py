"""Thirty kinds of damage: `verify` finds each, and repair heals what can be healed."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from fadae.stages.extract import extract, extract_shard
from fadae.store.frames import FrameStore
from fadae.store.history import history_path
from fadae.store.indexing import superseded
from fadae.store.location import Location
from fadae.store.paths import FEATURES, commit_path, mark_path, pcm_path
from fadae.store.verify import verify
from tests.store.staged import HOP, RATE_HZ, stage_all, tree

Damage = Callable[[Path], None]
INDEX = f"{FEATURES}/recording_id/index"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two publications, two blocks; of the last recordings nothing is published yet."""
    folder = tmp_path_factory.mktemp("damages") / "sound"
    location = Location(str(folder))
    stage_all(location, {"a/1": 20 * RATE_HZ, "a/2": 5 * HOP})
    extract(location, keep_staging=True)
    stage_all(location, {"b/1": 30_000}, first_seed=5)
    extract(location, keep_staging=True)
    location.delete_many(superseded(FrameStore.open(location, FEATURES), 2))
    location.delete(pcm_path("b/1"))  # published: it lies in `audio` alone
    stage_all(location, {"n/1": 9000}, first_seed=9)
    return folder


def written(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Rewrite one object."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def flipped(name: str) -> Damage:
    return written(name, lambda data: bytes([*data[:9], data[9] ^ 16, *data[10:]]))


def cut(name: str) -> Damage:
    return written(name, lambda data: data[: len(data) // 2])


def told(name: str, change: Callable[[Any], object]) -> Damage:
    """Rewrite a JSON document, well formed."""

    def changed(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return written(name, changed)


def stored(name: str, change: Callable[[Any], None]) -> Damage:
    """Rewrite rows of an array through zarr: every checksum holds."""

    def damage(folder: Path) -> None:
        array = zarr.open_array(str(folder / FEATURES / name), mode="r+")
        change(array)

    return damage


def other_row(array: Any) -> None:
    array[1] = array[0]


def other_block(array: Any) -> None:
    values = array[:60]
    values[10] = values[11]
    array[:1024] = np.concatenate([values, array[60:1024]])


def set_back(folder: Path) -> None:
    shutil.copyfile(folder / history_path(1), folder / FEATURES / "zarr.json")


def plan_of_another(folder: Path) -> None:
    shutil.copyfile(folder / "plans/00000.jsonl.gz", folder / "plans/00001.jsonl.gz")


def plan_rewritten(folder: Path) -> None:
    path = folder / "plans/00001.jsonl.gz"
    head, *lines = gzip.decompress(path.read_bytes()).splitlines()
    path.write_bytes(gzip.compress(head + b"\n" + b"\n".join(lines)[:-40]))


def plan_retold(folder: Path) -> None:
    path = folder / "plans/00001.jsonl.gz"
    lines = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(lines.replace(b"Title of 1", b"Title of 2")))


def index_file(kind: str, change: Callable[[Path], None]) -> Damage:
    def damage(folder: Path) -> None:
        change(sorted((folder / INDEX).glob(f"{kind}-*"))[-1])

    return damage


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def attrs(name: str, value: object) -> Damage:
    return told(f"{FEATURES}/zarr.json", lambda root: root["attributes"].update({name: value}))


def lengthened(root: Any) -> None:
    root["consolidated_metadata"]["metadata"]["audio"]["shape"][0] += 5


# What heals, to the same bytes; then what is named and cannot be healed from what is here.
HEALED: dict[str, Damage] = {
    "root gone": gone(f"{FEATURES}/zarr.json"),
    "root cut": cut(f"{FEATURES}/zarr.json"),
    "root set back": set_back,
    "root set forward": attrs("published_plans", 7),
    "root of another length": told(f"{FEATURES}/zarr.json", lengthened),
    "root of another transform": attrs("dtype", "float32"),
    "index unnamed": attrs("index", None),
    "a document gone": gone(f"{FEATURES}/audio/zarr.json"),
    "a document of another length": told(
        f"{FEATURES}/features/zarr.json", lambda d: d["shape"].__setitem__(0, 3)
    ),
    "a column gone": gone(f"{FEATURES}/recording_url/c/0"),
    "a column flipped": flipped(f"{FEATURES}/recording_title/c/0"),
    "a column's row another's": stored("recording_key", other_row),
    "a number of a column": stored("recording_frame_start", other_row),
    "a band gone": gone(f"{FEATURES}/band_low_hz/c/0"),
    "a band another's": stored("band_high_hz", other_row),
    "features gone": gone(f"{FEATURES}/features/c/0/0"),
    "features flipped": flipped(f"{FEATURES}/features/c/1/0"),
    "features cut": cut(f"{FEATURES}/features/c/0/0"),
    "frames of another recording": stored("frame_recording", lambda a: a.__setitem__(1, 7)),
    "index: rows cut": index_file("rows", halved),
    "index: ids gone": index_file("ids", Path.unlink),
    "index: text flipped": index_file("text", halved),
    "a kept root cut": cut(history_path(2)),
    "a kept root's attribute": told(
        history_path(2), lambda root: root["attributes"].update(dtype="float32")
    ),
    "a kept root's number": written(
        history_path(2), lambda data: data.replace(b"[202,206]", b"[202,207]", 1)
    ),
    "a root's number": written(
        f"{FEATURES}/zarr.json", lambda data: data.replace(b'"samples":', b'"samples":1', 1)
    ),
    "a root's word": written(
        f"{FEATURES}/zarr.json", lambda data: data.replace(b'"name"', b'"naie"', 1)
    ),
    "a mark gone": gone(mark_path("n/1")),
    "staged samples cut": cut(pcm_path("a/1")),
}
NAMED: dict[str, Damage] = {
    "a plan gone": gone("plans/00001.jsonl.gz"),
    "a plan cut": cut("plans/00000.jsonl.gz"),
    "a plan of another number": plan_of_another,
    "a plan's line cut": plan_rewritten,
    "a plan's title another": plan_retold,
    "published samples gone": gone(f"{FEATURES}/audio/c/1/0"),
    "published samples others": stored("audio", lambda a: a.__setitem__(1024, a[1025])),
    "a commit gone": gone(commit_path("a/2")),
    "a commit cut": cut(commit_path("a/2")),
}


def without_spare(folder: Path) -> dict[str, str]:
    """Every file that counts: not the staged samples of what is published."""
    found = tree(folder)
    return {name: sha for name, sha in found.items() if not name.endswith(".pcm")}


def test_nothing_is_found_where_nothing_is_wrong(sound: Path) -> None:
    assert verify(Location(str(sound)))["problems"] == []


@pytest.mark.parametrize("name", HEALED)
def test_it_is_found_and_healed(name: str, sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "workspace"))
    HEALED[name](folder)
    location = Location(str(folder))
    assert verify(location)["problems_found"], "not found"
    verify(location, recompute=extract_shard)
    assert verify(location)["problems"] == []
    assert without_spare(folder) == without_spare(sound)


@pytest.mark.parametrize("name", NAMED)
def test_it_is_found_and_nothing_else_is_touched(name: str, sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "workspace"))
    NAMED[name](folder)
    location = Location(str(folder))
    damaged = without_spare(folder)
    found = verify(location)["problems"]
    assert found, "not found"
    verify(location, recompute=extract_shard)
    assert verify(location)["problems"], "said to be sound"
    after = without_spare(folder)
    assert set(changed(damaged, after)) <= {one["path"] for one in found} | {
        commit_path("b/1"),
        commit_path("a/2"),
    }


def changed(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    yield from (name for name in before if after.get(name) != before[name])
