"""Extraction: what rows hold, growth, repeated PCM, refusals; kills, rivals and readers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from fadae.errors import NoInputError, UsageError
from fadae.stages.extract import extract, fill
from fadae.store.features import NO_SAMPLE, FeatureSet
from fadae.store.location import Location
from fadae.store.mapping import map_serially
from fadae.store.plan import Plan
from fadae.store.publication import publish
from fadae.store.staging import read_pcm
from tests.command import fadae, summary
from tests.store.staged import HOP, RATE_HZ, noise, stage, stage_all, stage_failure, tree

SECOND = RATE_HZ
# Two blocks: one recording across the boundary, a short one, one of a single sample.
LENGTHS = {"a/1": 200 * SECOND, "a/2": 5 * HOP, "b/3 ü?#": 1, "z/9": 200 * SECOND}
MORE = {"a/0": 40_000, "e/5": 30 * SECOND}


@pytest.fixture
def location(tmp_path: Path) -> Location:
    location = Location(str(tmp_path / "workspace"))
    stage_all(location, LENGTHS)
    stage_failure(location, "f/x")
    return location


def folder(location: Location) -> Path:
    return Path(location.url)


def modified(location: Location) -> dict[str, int]:
    zarr = folder(location) / "features.zarr"
    return {str(p): p.stat().st_mtime_ns for p in zarr.rglob("*") if p.is_file()}


def test_every_row_is_the_transform_of_its_samples(location: Location) -> None:
    summary = extract(location, keep_staging=True)
    features = FeatureSet.open(location)
    table, transform = features.recordings, features.transform
    assert table.id.tolist() == sorted(LENGTHS)
    assert summary["frames"] == sum(transform.frame_count(n) for n in LENGTHS.values())
    assert summary["audio_seconds"] == pytest.approx(sum(LENGTHS.values()) / SECOND)
    assert (summary["shards_written"], summary["shards_kept"]) == (2, 0)
    for row, recording_id in enumerate(table.id.tolist()):
        start, count = int(table.frame_start[row]), int(table.frame_count[row])
        pcm = read_pcm(location, recording_id, 0, int(table.samples[row]))
        expected = transform.analyze(pcm.astype(np.float32) / 32768).astype(np.float16)
        np.testing.assert_array_equal(features.read("features", start, start + count), expected)
        audio = features.read("audio", start, start + count).reshape(-1)
        np.testing.assert_array_equal(audio[: len(pcm)], pcm)
        assert (audio[len(pcm) :] == NO_SAMPLE).all()
        np.testing.assert_array_equal(
            features.read("frame_time", start, start + count), np.arange(count) * (HOP / SECOND)
        )
        assert (features.read("frame_recording", start, start + count) == row).all()


@pytest.mark.parametrize("preset", ["seed", "full"])
def test_the_energy_kept_is_that_of_the_transforms_own_synthesis(
    tmp_path: Path, preset: str, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location(str(tmp_path / "workspace"))
    time = np.arange(60 * SECOND) / SECOND
    for number, hz in enumerate((100, 1000)):  # below the seed's bands, and within them
        tone = (0.2 + 0.1 * number) * np.sin(2 * np.pi * hz * time)
        stage(location, f"a/{number}", np.rint(tone * 32767).astype(np.int16))
    with caplog.at_level("INFO", "fadae.extract"):
        told = extract(location, preset=preset)["energy_kept"]
    features, energy = FeatureSet.open(location), np.zeros(2)
    for start, count in zip(
        features.recordings.frame_start, features.recordings.frame_count, strict=True
    ):
        pcm = features.read("audio", int(start), int(start + count)).astype(np.float64)
        pcm[pcm == NO_SAMPLE] = 0
        c = features.read("features", int(start), int(start + count)).astype(np.float32)
        heard = features.transform.synthesize(c).astype(np.float64)
        energy += ((heard**2).sum(), ((pcm / 32768) ** 2).sum())
    assert told == pytest.approx(energy[0] / energy[1], abs=0.02)
    assert told == pytest.approx(0.09 / 0.13 if preset == "seed" else 1, abs=0.02)
    assert f"kept {100 * told:.0f} % of the energy" in caplog.text
    assert ("--preset full keeps all" in caplog.text) == (preset == "seed")
    assert extract(location, preset=preset)["energy_kept"] == told


def test_of_silence_no_energy_can_be_kept(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage(location, "a/silence", np.zeros(SECOND, np.int16))
    assert extract(location)["energy_kept"] is None


def test_a_second_run_touches_nothing(location: Location) -> None:
    extract(location)
    before = modified(location)
    summary = extract(location)
    assert (summary["shards_written"], summary["shards_kept"]) == (0, 2)
    assert modified(location) == before


def test_growth_begins_at_a_block_and_leaves_the_old_shards_alone(location: Location) -> None:
    extract(location)
    rows, before = FeatureSet.open(location).rows, modified(location)
    stage_all(location, MORE, first_seed=10)
    summary = extract(location)
    features = FeatureSet.open(location)
    assert (summary["shards_written"], summary["shards_kept"]) == (1, 2)
    assert features.recordings.frame_start[len(LENGTHS)] == 2048
    assert (features.read("frame_recording", rows, 2048) == -1).all()
    assert np.isnan(features.read("frame_time", rows, 2048)).all()
    assert np.isnan(features.read("features", rows, 2048)).all()
    assert (features.read("audio", rows, 2048) == NO_SAMPLE).all()
    assert features.frames == summary["frames"] < features.rows
    after = modified(location)
    shards = [path for path in before if "/c/" in path and "/recording_" not in path]
    assert len(shards) == 2 * 4 + 4
    assert all(after[path] == before[path] for path in shards)


def test_repeated_pcm_gets_a_row_that_shares_frames_and_counts_once(location: Location) -> None:
    stage(location, "c/again", noise(0, LENGTHS["a/1"]))  # as a/1
    first = extract(location)
    stage(location, "A/earlier id", noise(0, LENGTHS["a/1"]))
    assert extract(location)["frames"] == first["frames"]
    features = FeatureSet.open(location)
    table = features.recordings
    original, again, later = (table.index(i) for i in ("a/1", "c/again", "A/earlier id"))
    assert table.same_as[[original, again, later]].tolist() == [-1, original, original]
    assert table.frame_start[again] == table.frame_start[later] == table.frame_start[original]
    assert table.frame_count[again] == table.frame_count[original]
    assert features.rows == 1186  # repeated recordings alone add no rows, not even padding


def test_another_configuration_is_refused_by_name(location: Location) -> None:
    with pytest.raises(UsageError, match="--sample-rate 11025"):
        extract(location, preset="full", sample_rate_hz=22050)
    with pytest.raises(UsageError, match="comparison"):
        extract(location, preset="zounds")
    with pytest.raises(UsageError, match="float16 or float32"):
        extract(location, dtype="float64")
    extract(location)
    with pytest.raises(
        UsageError, match=r"'seed' at 11025 Hz as float16; this run asks for 'full'"
    ):
        extract(location, preset="full")
    with pytest.raises(UsageError, match="--dtype float16"):
        extract(location, dtype="float32")


def test_nothing_ingested_is_no_input(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    with pytest.raises(NoInputError):
        extract(location)
    stage_failure(location, "f/x")
    with pytest.raises(NoInputError):
        extract(location)


def test_full_at_another_rate_as_float32(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    pcm = noise(1, 30_000)
    stage(location, "a/1", pcm, rate_hz=8000)
    extract(location, preset="full", sample_rate_hz=8000, dtype="float32")
    features = FeatureSet.open(location)
    expected = features.transform.analyze(pcm.astype(np.float32) / 32768)
    np.testing.assert_array_equal(features.read("features"), expected)


def test_names_that_are_no_text_are_extracted_once(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    stage_all(location, {"a/caf\udce9.ogg": 4000, "a/\u202e\n.ogg": 4000})
    assert extract(location)["recordings"] == 2
    assert extract(location)["shards_written"] == 0
    assert r"a/caf\udce9.ogg" in FeatureSet.open(location).recordings.id


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_lost_pcm_is_named(location: Location, how: str) -> None:
    path = next((folder(location) / "staging").rglob("z_9-*.pcm"))
    path.write_bytes(path.read_bytes()[:-2])
    if how == "gone":
        path.unlink()
    with pytest.raises(NoInputError, match="z/9"):
        extract(location)


# --- kills, rivals, readers


def drive(location: Location, die_at: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.store.driver", location.url]
    command += [] if die_at is None else [str(die_at)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL)


def undisturbed(tmp_path: Path, *ingests: dict[str, int]) -> dict[str, str]:
    """The bytes of a workspace whose recordings were ingested and extracted in these steps."""
    location = Location(str(tmp_path / "undisturbed"))
    for number, lengths in enumerate(ingests):
        stage_all(location, lengths, first_seed=10 * number)
        extract(location)
    return tree(folder(location) / "features.zarr")


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage_all(location, LENGTHS)
    kills = 0
    # In turn: in the documents, in a shard's objects, in the next one's, twice in publication.
    for number in (20, 25, 37, 5, 20):
        process = drive(location, number)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 5
    summary = extract(location)
    assert summary["shards_written"] + summary["shards_kept"] == 2
    assert tree(folder(location) / "features.zarr") == undisturbed(tmp_path, LENGTHS)


def test_a_kill_before_publication_then_more_ingest_ends_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage_all(location, LENGTHS)
    assert drive(location, 36).wait() == -signal.SIGKILL  # planned, a block written
    assert (folder(location) / "plans/00000.jsonl.gz").exists()
    stage_all(location, MORE, first_seed=10)
    summary = extract(location)
    assert summary["recordings"] == len(LENGTHS) + len(MORE)
    assert tree(folder(location) / "features.zarr") == undisturbed(tmp_path, LENGTHS, MORE)


def test_two_drivers_at_once_make_one_dataset(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage_all(location, LENGTHS)
    drivers = [drive(location) for _ in range(2)]
    assert [driver.wait() for driver in drivers] == [0, 0]
    assert list((folder(location) / "staging").rglob("*.pcm")) == []
    assert tree(folder(location) / "features.zarr") == undisturbed(tmp_path, LENGTHS)


def test_a_driver_that_publishes_late_takes_nothing_back(tmp_path: Path) -> None:
    location = Location(str(tmp_path / "workspace"))
    stage_all(location, LENGTHS)
    extract(location)
    stage_all(location, MORE, first_seed=10)
    extract(location)
    late = Plan.read(location, 0)
    assert late is not None
    assert fill(late, map_serially) == 0
    publish(late)
    assert tree(folder(location) / "features.zarr") == undisturbed(tmp_path, LENGTHS, MORE)


def test_blocks_are_kept_only_under_their_own_plan(location: Location, tmp_path: Path) -> None:
    assert drive(location, 40).wait() == -signal.SIGKILL
    (folder(location) / "plans/00000.jsonl.gz").unlink()
    stage_all(location, MORE, first_seed=10)  # sorts before: every row moves
    summary = extract(location)
    assert summary["shards_kept"] == 0
    together = Location(str(tmp_path / "together"))
    stage_all(together, LENGTHS)
    stage_all(together, MORE, first_seed=10)
    extract(together)
    ours, expected = (
        {
            name: digest
            for name, digest in tree(folder(x) / "features.zarr").items()
            if "/blocks/" not in name
        }
        for x in (location, together)
    )
    assert ours == expected


def test_a_reader_sees_the_old_dataset_or_the_new_one(location: Location) -> None:
    extract(location)
    url, old = str(folder(location) / "features.zarr"), FeatureSet.open(location)
    stage_all(location, MORE, first_seed=10)
    driver, seen = drive(location), set()
    while driver.poll() is None:
        now = xr.open_zarr(url)
        seen.add((now.sizes["frame"], now.sizes["recording"]))
        assert (now.recording_id.values != "").all()
        assert (
            int(now.recording_frame_start[-1] + now.recording_frame_count[-1]) <= now.sizes["frame"]
        )
        assert (old.read("recording_id") == sorted(LENGTHS)).all()
    assert driver.returncode == 0
    new = FeatureSet.open(location)
    assert seen <= {(old.rows, len(old.recordings)), (new.rows, len(new.recordings))}
    assert len(seen) >= 1
    assert old.rows == 1186 < new.rows


def test_workers_need_no_torch() -> None:
    code = "import sys, fadae.stages.extract, fadae.store.verify; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_the_command_reports_and_refuses(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FADAE_WORKSPACE", location.url)
    done = fadae("extract", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = summary(done)
    assert {"frames", "audio_seconds", "shards_written", "shards_kept"} <= set(told)
    assert told["shards_written"] == 2
    refused = fadae("extract", "--workers", "1", "--json", "--dtype", "float32")
    assert refused.returncode == 2
    assert "--dtype float16" in refused.stderr.splitlines()[-1]
