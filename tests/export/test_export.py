"""Exports: what is read back is what is stored, whatever names say and whenever one is killed."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from numpy.typing import NDArray

import fadae
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.export.driver import CITATION, HEAD, export
from fadae.export.plan import Request, piece_edges
from fadae.forget import forget
from fadae.query.workspace import Workspace
from fadae.stages.reconstruct import reconstruct
from fadae.store.features import FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import reconstruction_path
from fadae.summaries import ExportSummary
from tests.forks import forking
from tests.s3 import S3Server
from tests.synthetic import music, write_features, write_run

HOSTILE = "../../etc/.passwd.tar/x.flac"
ROUND = f"{'a' * 300}/ü\u202e'\"|<b>.ogg"
IDS = [HOSTILE, ROUND, "item/one.ogg", "item/one_ogg", "item/three.ogg"]
AGAIN = "again/the same.ogg"
CONTENT = ("codes", "features", "audio", "metadata")


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    pcm = {name: music(9 + 8 * i, seed=i) for i, name in enumerate(IDS)}
    titles = {HOSTILE: "](javascript:x) <script>\n# |\\"}
    same = {AGAIN: IDS[2]}
    write_features(location, pcm | {AGAIN: pcm[IDS[2]]}, same_as=same, titles=titles)
    write_run(location, holdout=0.4)
    reconstruct(location, "default")
    return location


@pytest.fixture
def workspace(location: Location) -> Workspace:
    return fadae.open(location.url)


def request(format: str = "webdataset", **asked: Any) -> Request:
    defaults: dict[str, Any] = {"what": CONTENT, "seconds": 7.0, "shard_mb": 1}
    if format == "audiofolder":
        defaults |= {"what": ("audio", "metadata"), "seconds": 2.0}
    return Request(format, **(defaults | asked))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(workspace: Workspace, recording_id: str, start_seconds: float, count: int) -> range:
    recording = workspace.recording(recording_id)
    first = recording.frame_start + round(start_seconds / workspace.hop_seconds)
    return range(first, first + count)


def all_rows(workspace: Workspace) -> Counter[int]:
    own = [one for one in workspace.recordings if one.same_as < 0]
    return Counter(
        row for one in own for row in range(one.frame_start, one.frame_start + one.frame_count)
    )


def check_sample(workspace: Workspace, told: dict[str, Any], sample: dict[str, Any]) -> range:
    """Hold a sample against what is stored; return its rows."""
    rows = rows_of(workspace, told["id"], told["start_seconds"], len(sample["features"]))
    features = FeatureSet.open(workspace.location)
    codes = FrameStore.open(workspace.location, reconstruction_path("default"))
    part = (rows.start, rows.stop)
    np.testing.assert_array_equal(sample["features"], features.read("features", *part))
    np.testing.assert_array_equal(sample["codes"], codes.read("encoded", *part))
    np.testing.assert_array_equal(sample["scale"], codes.read("scale", *part))
    samples, rate_hz = soundfile.read(io.BytesIO(sample["audio"]), dtype="float32")
    start = told["start_seconds"]
    heard = workspace.audio(told["id"], (start, None))[: len(samples)]
    np.testing.assert_array_equal(samples, heard)
    assert len(samples) == round(told["seconds"] * rate_hz) > 0
    recording = workspace.recording(told["id"])
    assert told["title"] == recording.title
    assert (told["licence"], told["licence_id"]) == (recording.licence, "CC0-1.0")
    role = {"train": False, "holdout": True}[told["split"]]
    assert recording.held_out is role
    return rows


def test_webdataset_reads_back_what_is_stored(workspace: Workspace, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    done = export(workspace.location, str(tmp_path / "out"), request())
    tars = sorted(map(str, (tmp_path / "out" / "data").iterdir()))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    keys = [sample["__key__"] for sample in samples]
    assert len(set(keys)) == len(keys) == done.pieces
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}", key) for key in keys)
    seen = Counter[int]()
    for sample in samples:
        stored = {
            name: np.load(io.BytesIO(sample[f"{name}.npy"]), allow_pickle=False)
            for name in ("features", "codes", "scale")
        }
        told = json.loads(sample["json"])
        seen.update(check_sample(workspace, told, stored | {"audio": sample["flac"]}))
    assert seen == all_rows(workspace)
    assert len(tars) == done.shards_written > 4
    assert done.recordings == len(IDS)


def test_parquet_reads_back_what_is_stored(workspace: Workspace, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: fadae[export]")
    done = export(workspace.location, str(tmp_path / "out"), request("parquet"))
    seen, pieces = Counter[int](), 0
    for path in sorted((tmp_path / "out" / "data").iterdir()):
        table = parquet.read_table(path)
        rest = table.drop_columns(["features", "codes", "scale"]).to_pylist()
        for row, told in enumerate(rest):
            count = len(table["scale"][row])
            sample: dict[str, Any] = {"audio": told["audio"]["bytes"]}
            for name in ("features", "codes"):
                values = table[name][row].values.flatten().to_numpy(zero_copy_only=False)
                sample[name] = values.reshape(count, -1)
            sample["scale"] = table["scale"][row].values.to_numpy(zero_copy_only=False)
            seen.update(check_sample(workspace, told, sample))
            pieces += 1
    assert seen == all_rows(workspace)
    assert pieces == done.pieces


def test_an_audiofolder_has_a_table_of_its_files(workspace: Workspace, tmp_path: Path) -> None:
    done = export(workspace.location, str(tmp_path / "out"), request("audiofolder"))
    tables = sorted((tmp_path / "out" / "data").rglob("metadata.jsonl"))
    lengths, files = Counter[str](), 0
    for table in tables:
        lines = [json.loads(line) for line in table.read_text().splitlines()]
        assert {p.name for p in table.parent.iterdir()} == {
            "metadata.jsonl",
            *(line["file_name"] for line in lines),
        }
        for line in lines:
            samples, _ = soundfile.read(table.parent / line["file_name"], dtype="float32")
            start = (line["start_seconds"], None)
            heard = workspace.audio(line["id"], start)[: len(samples)]
            np.testing.assert_array_equal(samples, heard)
            lengths[line["id"]] += len(samples)
            files += 1
    assert files == done.pieces
    assert lengths == {name: workspace.recording(name).samples for name in IDS}


def test_datasets_loads_what_the_card_says(workspace: Workspace, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="no datasets: pip install datasets")
    plain = ("codes", "metadata")
    for format, what in (("parquet", CONTENT), ("webdataset", plain)):
        export(workspace.location, str(tmp_path / format), request(format, what=what))
        loaded = datasets.load_dataset(str(tmp_path / format), cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == {"train", "holdout"}
        told = loaded["train"][0]["json"] if format == "webdataset" else loaded["train"][0]
        assert workspace.recording(told["id"]).held_out is False
    export(workspace.location, str(tmp_path / "sound"), request("audiofolder"))
    streamed = datasets.load_dataset(str(tmp_path / "sound"), streaming=True)
    assert {"audio", "id", "title", "licence"} <= set(streamed["train"].features)


class Killed:
    """A mapper that dies when so many shards are done."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(
        self,
        function: Callable[[Any], Any],
        values: Iterable[Any],
        *,
        label: str,
        total: int | None = None,
        unit: str = "items",
    ) -> Iterator[Any]:
        for number, value in enumerate(values):
            if number == self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield function(value)


def _export_killed(url: str, to: str, asked: Request, after: int) -> None:
    export(url, to, asked, mapper=Killed(after))


@pytest.mark.parametrize("format", ["webdataset", "parquet", "audiofolder"])
def test_an_export_killed_at_any_shard_ends_with_the_same_bytes(
    workspace: Workspace, tmp_path: Path, format: str
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="no pyarrow: fadae[export]")
    asked, url = request(format), workspace.location.url
    whole = export(url, str(tmp_path / "whole"), asked)
    context = forking()
    for after in (whole.shards_written // 2,):
        torn = tmp_path / f"torn {after}"
        process = context.Process(target=_export_killed, args=(url, str(torn), asked, after))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (torn / CITATION).exists()
        (torn / "data").mkdir(exist_ok=True)
        (torn / "data" / ".partial-of-the-killed").write_bytes(b"half a shard")
        done = export(url, str(torn), asked)
        assert done.shards_kept == after
        assert files_of(torn) == files_of(tmp_path / "whole")
    again = export(url, str(tmp_path / "whole"), asked)
    assert (again.shards_written, again.shards_kept) == (0, whole.shards_written)


def test_a_folder_of_sound_cut_off_inside_is_written_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    export(workspace.location, str(tmp_path / "out"), request("audiofolder"))
    before = files_of(tmp_path / "out")
    shard = min((tmp_path / "out" / "data" / "train").iterdir())
    sounds = sorted(shard.glob("*.flac"))
    (shard / "metadata.jsonl").unlink()  # written last
    sounds[-1].unlink()
    done = export(workspace.location, str(tmp_path / "out"), request("audiofolder"))
    assert done.shards_written == 1
    assert files_of(tmp_path / "out") == before


def test_the_card_says_where_the_splits_are_and_names_no_markup(
    workspace: Workspace, tmp_path: Path
) -> None:
    export(workspace.location, str(tmp_path / "out"), request())
    text = (tmp_path / "out" / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    files = yaml.safe_load(header)["configs"][0]["data_files"]
    named = {one["split"]: sorted((tmp_path / "out").glob(one["path"])) for one in files}
    every = sorted((tmp_path / "out" / "data").iterdir())
    assert sorted(path for paths in named.values() for path in paths) == every
    assert set(named) == {"train", "holdout"}
    assert "<b>" not in body
    assert "CC0-1.0" in body
    assert "held\\_out\\_nmse\\_db" in body
    sources = (tmp_path / "out" / "SOURCES.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in sources} == set(IDS)


def test_a_bucket_holds_the_bytes_of_a_folder(
    workspace: Workspace, tmp_path: Path, s3: S3Server
) -> None:
    asked = request("audiofolder")
    target = Location(f"{s3.url}/export", s3.storage_options)
    export(workspace.location, str(tmp_path / "out"), asked)
    assert export(workspace.location, target, asked).shards_kept == 0
    read = {name: target.read_bytes(name) for name in target.found_below("")}
    assert read == files_of(tmp_path / "out")
    assert export(workspace.location, target, asked).shards_written == 0


def test_a_split_and_a_licence_choose(workspace: Workspace, tmp_path: Path) -> None:
    asked = request(what=("metadata",), split="holdout", licence="cc0,by")
    done = export(workspace.location, str(tmp_path / "out"), asked)
    assert done.recordings == len({*workspace.split().held_out} - {AGAIN})
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["holdout-000000.tar"]
    with pytest.raises(NoInputError, match="no recording to export"):
        export(workspace.location, str(tmp_path / "none"), request(licence="by,unknown"))
    assert not (tmp_path / "none").exists()


def test_recordings_that_came_since_it_was_begun_are_left_out(
    location: Location, tmp_path: Path
) -> None:
    copied = tmp_path / "workspace"
    shutil.copytree(location.url, copied)
    grown, asked = Location(str(copied)), request(what=("audio",))
    whole = export(grown, str(tmp_path / "whole"), asked)
    (tmp_path / "whole" / CITATION).unlink()
    shard = min((tmp_path / "whole" / "data").iterdir())
    kept = shard.read_bytes()
    shard.unlink()
    write_features(grown, {"late/one.ogg": music(8, seed=9)})
    done = export(grown, str(tmp_path / "whole"), asked)
    assert done.recordings == whole.recordings
    assert shard.read_bytes() == kept
    later = export(grown, str(tmp_path / "later"), asked)
    assert later.splits["unseen"] == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"format": "parket"}, "no format 'parket'; nearest: 'parquet'"),
        ({"what": ("sound",)}, "no kind of content 'sound'"),
        ({"what": ()}, "at least one of"),
        ({"split": "test"}, "no split 'test'"),
        ({"format": "audiofolder", "what": ("codes",)}, "an audiofolder holds audio"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"shard_mb": 0}, "shard_mb must be at least 1"),
        ({"run": "defualt"}, "no run 'defualt'; nearest: 'default'"),
        ({"run": "unmade"}, "fadae reconstruct --run unmade"),
    ],
)
def test_what_cannot_be_exported_is_told(
    location: Location, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    if asked.get("run") == "unmade":
        write_run(location, "unmade", seed=2)
    with pytest.raises(UsageError, match=told):
        export(location, str(tmp_path / "out"), request(**asked))
    shutil.rmtree(Path(location.url) / "runs" / "unmade", ignore_errors=True)
    assert not (tmp_path / "out").exists()


def test_what_lies_there_already_is_never_mixed_with(workspace: Workspace, tmp_path: Path) -> None:
    location, out = workspace.location, tmp_path / "out"
    export(location, str(out), request(what=("metadata",)))
    before = files_of(out)
    for other, name in (
        (request(what=("audio",)), "what"),
        (request(what=("metadata",), seconds=9.0), "seconds"),
        (request("audiofolder"), "format"),
    ):
        with pytest.raises(UsageError, match=f"another export, whose {name} is"):
            export(location, str(out), other)
    for damaged in ("{", "[]", '{"rows": "1"}'):
        (out / HEAD).write_text(damaged)
        with pytest.raises(UsageError, match="no head of an export"):
            export(location, str(out), request(what=("metadata",)))
    (out / HEAD).unlink()
    with pytest.raises(UsageError, match="and no export: choose another"):
        export(location, str(out), request(what=("metadata",)))
    del before[HEAD]
    assert files_of(out) == before
    with pytest.raises(UsageError, match="lies in the workspace"):
        export(location, f"{location.url}/out", request())


def test_shards_that_workers_wrote_elsewhere_are_missed(
    workspace: Workspace, tmp_path: Path
) -> None:
    def elsewhere(function: Callable[[Any], Any], values: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([True for _ in values])

    with pytest.raises(TransientError, match="do all workers write to the same place"):
        export(workspace.location, str(tmp_path / "out"), request(), mapper=elsewhere)


@pytest.mark.parametrize("rows", [2, 3, 21])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 22, 43])
def test_pieces_cover_a_recording_and_none_is_its_last_row(rows: int, count: int) -> None:
    edges = piece_edges(5, 5 + count, rows)
    sizes: NDArray[np.int64] = np.diff(edges)
    assert (edges[0], edges[-1]) == (5, 5 + count)
    assert sizes.max() <= rows + 1
    assert sizes.min() >= min(2, count)


def test_the_summary_counts_what_is_there(workspace: Workspace, tmp_path: Path) -> None:
    done: ExportSummary = export(workspace.location, str(tmp_path / "out"), request())
    assert done.audio_seconds == pytest.approx(workspace.audio_seconds, abs=2 * len(IDS))
    assert sum(done.splits.values()) == done.recordings


def test_parquet_without_pyarrow_is_told_before_anything_is_written(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as an import of what is not installed
    with pytest.raises(UsageError, match=r"pip install 'fadae\[export\]'"):
        export(workspace.location, str(tmp_path / "out"), request("parquet"))
    assert not (tmp_path / "out").exists()


def test_what_is_forgotten_is_not_handed_on(location: Location, tmp_path: Path) -> None:
    copied = Location(str(tmp_path / "workspace"))
    shutil.copytree(location.url, copied.url)
    asked = request("audiofolder")
    export(copied, str(tmp_path / "before"), asked)
    gone = [IDS[2], IDS[4]]  # of the first another one has the samples
    forget(copied, gone, "asked")
    export(copied, str(tmp_path / "after"), asked)
    every = b"".join(files_of(tmp_path / "after").values()).decode("latin-1")
    assert not [name for name in gone if name in every]
    assert f'"id": "{AGAIN}"' in every
    workspace = fadae.open(copied.url)
    names = {
        name
        for side in (None, "train", "holdout")
        for batch in workspace.torch("codes", split=side)
        for name in batch["recording"]
    }
    assert names == {*IDS, AGAIN} - {*gone}
    (tmp_path / "before" / CITATION).unlink()
    with pytest.raises(UsageError, match="are others by now"):
        export(copied, str(tmp_path / "before"), asked)


def test_sound_says_where_it_comes_from(workspace: Workspace, tmp_path: Path) -> None:
    export(workspace.location, str(tmp_path / "out"), request("audiofolder"))
    for sound in (tmp_path / "out" / "data").rglob("*one_ogg*.flac"):
        with soundfile.SoundFile(sound) as opened:
            tags = opened.copy_metadata()
        assert tags["license"] == "https://creativecommons.org/publicdomain/zero/1.0/"
        assert "source: item/one" in tags["comment"]
        break
    else:
        raise AssertionError("no such sound")
