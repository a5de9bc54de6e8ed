"""How far a job is, from its workspace alone: exact of little, close of much, in few requests."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fadae.archive.folder import FolderSource
from fadae.errors import NoInputError
from fadae.forget import forget
from fadae.query import samples, status_of, training_samples
from fadae.query.looks import FEW, last_lines, look_at_blocks
from fadae.query.status import StageStatus
from fadae.records import Commit, Decoded, Track
from fadae.stages.extract import extract
from fadae.stages.ingest.driver import ingest
from fadae.store.features import feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, MARKS, PREFIXES, STAGING
from fadae.store.plan import Plan, plan_header
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from tests.audio.sounds import music, save
from tests.command import fadae
from tests.store.staged import HOP, stage_all, stage_failure

PRICES = Path(__file__).resolve().parents[2] / "docs/examples/prices.toml"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(str(tmp_path / "w"))


def stages(location: Location, **options: Any) -> dict[str, StageStatus]:
    return dict(status_of(location, **options).stages)


def test_what_is_forgotten_before_it_is_published_is_not_waited_for(location: Location) -> None:
    stage_all(location, {"a/1": 3 * HOP})
    extract(location)
    stage_all(location, {"b/1": HOP}, first_seed=9)
    assert stages(location)["extract"].total is None
    forget(location, ["b/1"], "asked")
    told = stages(location)
    assert (told["extract"].done, told["extract"].total) == (1, 1)
    assert (told["ingest"].done, told["ingest"].total) == (2, 2)


def test_each_stage_as_it_comes(location: Location) -> None:
    with pytest.raises(NoInputError):
        status_of(location)
    stage_all(location, {"a/1": 3 * HOP, "a/2": 2 * HOP})
    stage_failure(location, "a/3")
    told = stages(location)
    ingested = told["ingest"]
    assert (ingested.done, ingested.failed, ingested.total, ingested.exact) == (2, 1, 3, True)
    assert told["extract"].total is None, "no plan tells how much it will be"
    extract(location)
    stage_all(location, {"b/1": HOP}, first_seed=9)
    after = status_of(location)
    assert (after.stages["ingest"].done, after.stages["ingest"].failed) == (3, 1)
    assert (after.stages["extract"].done, after.stages["extract"].total) == (1, None)
    assert after.audio_hours == pytest.approx(6 * HOP / 11025 / 3600)
    extract(location)
    found = stages(location)
    assert (found["extract"].done, found["extract"].total) == (2, 2)
    assert (found["reconstruct"].done, found["reconstruct"].total) == (0, 2)
    assert found["extract"].last_commit_seconds is not None


def test_rate_and_time_left_are_those_of_the_last_minutes(
    location: Location, tmp_path: Path
) -> None:
    for number in range(12):
        save(tmp_path / "music" / f"{number}.wav", music(0.4, seed=number))
    ingest(location, [FolderSource(str(tmp_path / "music"))])
    for number, path in enumerate(sorted(Path(location.url).glob("staging/*/*.json"))):
        os.utime(path, (1000.0 + 10 * number,) * 2)
    # As if half of a listing of 24 were still to come.
    (finished,) = Path(location.url).glob("ingests/*.json")
    state = json.loads(finished.read_text())
    finished.write_text(json.dumps({**state, "ok": 24}))
    told = stages(location, now=1120.0)["ingest"]
    assert (told.done, told.total) == (12, 24)
    assert told.rate == pytest.approx(12 / 120, rel=0.1)
    assert told.eta_seconds == pytest.approx(120, rel=0.1)
    assert stages(location, now=9e5)["ingest"].eta_seconds is None, "nothing came of late"


def test_blocks_of_an_unfinished_plan_are_counted(location: Location) -> None:
    stage_all(location, {"a/1": 2 * 1024 * HOP})
    transform = FrequencyAdaptiveTransform.preset("seed")
    attrs = feature_attrs(transform.config(), "float16")
    store = FrameStore.create(location, FEATURES, feature_specs(transform, "float16"), attrs)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr("fadae.stages.extract.publish", lambda plan: interrupted())
        patch.setattr("fadae.stages.extract.extract_shard", marks_only)
        extract(location)
    plan, header = Plan.read(location, 0), plan_header(location, 0)
    assert plan is not None and plan.header == header
    told = stages(location)["extract"]
    assert (told.done, told.total, told.exact) == (2, 3, True)
    far = look_at_blocks(store, range(1000 * FEW), "00000-", 0.0)
    assert not far.is_exact


def interrupted() -> None:
    raise InterruptedError


def marks_only(task: Any) -> bool:
    """All but the second block are done, their rows never written."""
    store = FrameStore.open(task.location, FEATURES)
    if task.block != 1:
        task.location.write_bytes(f"{store.marks}/{task.plan}/{task.block}", b"")
    return True


def test_many_recordings_are_counted_closely_in_few_requests(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32,768 of them, names of hard links: a commit a folder."""
    each = 128
    for number, prefix in enumerate(PREFIXES):
        track = Track("i", f"{number}.ogg")
        decoded = Decoded(11025, 11025 * 60, "0" * 64, 44100, 2, 1, "0" * 40)
        folder = Path(location.url) / STAGING / prefix
        folder.mkdir(parents=True)
        original = folder / f"{'0' * 32}-{prefix}{0:030x}.json"
        original.write_text(Commit(track, decoded).to_json())
        for other in range(1, each):
            os.link(original, folder / f"{other:032}-{prefix}{other:030x}.json")
    calls: Counter[str] = Counter()
    call = Location._call

    def counted(self: Location, verb: str, path: str, *arguments: Any, **options: Any) -> Any:
        calls[verb] += 1
        return call(self, verb, path, *arguments, **options)

    monkeypatch.setattr(Location, "_call", counted)
    told = status_of(location)
    assert told.stages["ingest"].done == pytest.approx(each * 256, rel=0.05)
    assert not told.stages["ingest"].exact
    assert told.audio_hours == pytest.approx(each * 256 / 60, rel=0.05)
    assert calls.total() < 500


def test_a_ledger_of_an_earlier_fadae_without_marks(location: Location) -> None:
    stage_all(location, {"a/1": HOP, "a/2": HOP})
    extract(location)
    Location(location.url).delete(MARKS)
    assert stages(location)["ingest"].done == 2


def test_a_training_is_told_by_its_last_lines(location: Location) -> None:
    recipe = {"epochs": 10, "batch_size": 64, "max_steps": 500}
    config = {"recipe": recipe, "dataset": {"train_frames": 3210}}
    location.write_bytes("runs/r/config.json", json.dumps(config).encode())
    lines = [{"step": 20, "seconds": 900.0, "train_loss": 0.5}]
    lines += [{"step": s, "seconds": s / 4, "train_loss": 1 / s} for s in (40, 60, 80)]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9'
    location.write_bytes("runs/r/metrics.jsonl", text.encode())
    told = stages(location)["train"]
    assert (told.done, told.total, told.rate, told.eta_seconds) == (80, 500, 4.0, 105.0)
    assert {s.name: s.value for s in training_samples(location, "r")} == {
        "fadae_train_step": 80,
        "fadae_train_loss": 1 / 80,
        "fadae_train_samples_per_second": 4.0 * 64,
    }
    assert last_lines(location, "runs/r/metrics.jsonl", 90)[-1] == json.dumps(lines[-1]).encode()
    named = {sample.name for sample in samples(status_of(location))}
    assert {"fadae_stage_done", "fadae_stage_bytes", "fadae_stage_rate"} <= named


def test_command_shows_a_table_or_json_and_watches(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_all(location, {"a/1": HOP})
    shown = fadae("status", "-w", location.url)
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        "stage",
        "ingest",
        "extract",
        "train",
        "reconstruct",
    ]
    told = json.loads(fadae("status", "-w", location.url, "--json").stdout)
    assert told["stages"]["ingest"]["done"] == 1
    assert told["stages"]["ingest"].keys() == {f.name for f in dataclasses.fields(StageStatus)}
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", nap)
    watched = fadae("status", "-w", location.url, "--watch", "--every", "7", "--json")
    assert (watched.returncode, naps) == (0, [7.0, 7.0])
    looks = [json.loads(line)["stages"]["ingest"] for line in watched.stdout.splitlines()]
    assert [look["done"] for look in looks] == [1, 1]
    assert fadae("status", "-w", location.url + "-none").returncode == 65


def test_what_is_left_is_estimated_from_what_is_there(location: Location) -> None:
    stage_all(location, {f"a/{n}": 30 * HOP for n in range(4)})
    before = json.loads(fadae("estimate", "-w", location.url, "--json").stdout)["remaining"]
    assert before["ingest"]["core_hours"] == 0 and before["extract"]["core_hours"] > 0
    extract(location)
    ended = fadae(
        "estimate", "-w", location.url, "--price", str(PRICES), "--months", "9e4", "--json"
    )
    told = json.loads(ended.stdout)
    assert told["remaining"]["extract"]["core_hours"] == 0
    assert told["remaining"]["reconstruct"]["core_hours"] > 0
    assert told["found"]["sizes"]["features"] > 0
    stored = sum(told["found"]["sizes"].values())
    stored += told["remaining"]["reconstruct"]["bytes_written"]
    one = told["remaining"]["money"]["example-cloud"]
    assert one["storage"] == pytest.approx(stored / 1e9 * 9e4 * 0.02, abs=0.01)
    assert fadae("estimate", "-w", location.url, "--hours", "3").returncode == 2
