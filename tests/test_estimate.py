"""The estimate's arithmetic: proportional, bounded by the slowest, true to what jobs write."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import fadae
from fadae.archive.folder import FolderSource
from fadae.cli.app import app
from fadae.estimate import (
    TYPICAL_HOURS,
    Constants,
    Job,
    estimate,
    estimate_workspace,
    sources,
    table,
)
from fadae.stages.extract import extract
from fadae.stages.ingest.driver import ingest
from fadae.store.frames import FrameStore
from fadae.store.layout import BLOCK_FRAMES, CHUNK_FRAMES
from fadae.store.location import Location
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from tests.synthetic import RATE_HZ, music, write_features


def test_layout_is_the_store_s() -> None:
    import fadae.estimate

    transform = FrequencyAdaptiveTransform.preset("seed")
    constants = Constants()
    assert (fadae.estimate.BLOCK_FRAMES, fadae.estimate.CHUNK_FRAMES) == (
        BLOCK_FRAMES,
        CHUNK_FRAMES,
    )
    assert constants.rate_hz.value == transform.sample_rate_hz
    assert constants.hop_samples.value == transform.hop_samples
    assert constants.coefficients.value == transform.size


def test_a_dataset_has_the_rows_and_objects_that_are_estimated(tmp_path: Path) -> None:
    """12 minutes in 3 recordings, so that the assumed length of a track does not matter."""
    location = Location(str(tmp_path))
    write_features(location, {f"a/{n}": music(240.0, n) for n in range(3)})
    store = FrameStore.open(location, "features.zarr")
    cost = estimate(Job(audio_hours=720 / 3600))["extract"]
    table = store.read("recording_frame_count")
    rows = 720 * RATE_HZ / Constants().hop_samples.value + 3
    assert int(table.sum()) == pytest.approx(rows, abs=3)
    blocks = -(-int(table.sum()) // BLOCK_FRAMES)
    assert len(store.frame_names) + 1 == 5  # four arrays and the block's mark
    assert cost.objects_written == pytest.approx(5 * blocks, rel=0.5)


def test_a_workspace_of_real_music_takes_what_is_estimated(
    recordings: Path, tmp_path: Path
) -> None:
    ingested = Location(str(tmp_path / "seed"))
    done = ingest(ingested, [FolderSource(str(recordings))])
    critical = Location(str(shutil.copytree(ingested.url, tmp_path / "critical")))
    for location, most in ((ingested, 2.4e9), (critical, 1.5e9)):
        preset = location.url.rpartition("/")[2]
        extract(location, preset=preset)
        taken = fadae.open(location.url).info()["sizes"]
        found = sum(p.stat().st_size for p in Path(location.url).rglob("*") if p.is_file())
        assert taken["total"] == found
        hours = done["audio_seconds"] / 3600
        assert found * 10 / hours <= most
        told = estimate_workspace(Job(audio_hours=hours, preset=preset))
        assert told.total == pytest.approx(found, rel=0.05)
        assert told.features == pytest.approx(taken["features"], rel=0.05)
        assert told.audio == pytest.approx(taken["audio"], rel=0.05)


@given(st.floats(10, 1e7), st.integers(1, 5000))
def test_mapped_stages_grow_with_the_audio(hours: float, workers: int) -> None:
    once, twice = (estimate(Job(h, workers)) for h in (hours, 2 * hours))
    for stage in ("ingest", "extract", "reconstruct"):
        for field in ("bytes_read", "bytes_written", "requests", "core_hours", "wall_hours"):
            first, second = (getattr(cost[stage], field) for cost in (once, twice))
            assert second == pytest.approx(2 * first)


@given(st.floats(10, 1e7), st.integers(1, 5000))
def test_no_stage_is_faster_than_its_cores_or_the_archive(hours: float, workers: int) -> None:
    job = Job(hours, workers)
    costs = estimate(job)
    for stage in ("ingest", "extract", "reconstruct"):
        assert costs[stage].wall_hours >= costs[stage].core_hours / workers
    rate = job.downloads * Constants().transfer_rate.value
    assert costs["ingest"].wall_hours >= 0.999 * costs["ingest"].bytes_read / rate / 3600


def test_training_costs_its_sample_whatever_the_corpus() -> None:
    costs = [estimate(Job(hours))["train"].core_hours for hours in TYPICAL_HOURS]
    assert costs[0] == costs[1] == costs[2]
    assert estimate(Job(10))["train"].core_hours < costs[0]


def test_a_faster_machine_is_a_field() -> None:
    constants = Constants()
    faster = dataclasses.replace(
        constants, extract_rate=dataclasses.replace(constants.extract_rate, value=3e3)
    )
    ratio = constants.extract_rate.value / 3e3
    slow, fast = (estimate(Job(1e3), each)["extract"].core_hours for each in (constants, faster))
    assert fast == pytest.approx(slow * ratio)


def test_every_constant_says_where_it_comes_from() -> None:
    for field in dataclasses.fields(Constants):
        constant = getattr(Constants(), field.name)
        assert constant.unit
        assert constant.source
        assert constant.source in sources()


def test_command_prints_what_the_library_says() -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["estimate", "--hours", "1000", "--workers", "8", "--json"])
    assert done.exit_code == 0
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["1000 h"]["extract"] == dataclasses.asdict(
        estimate(Job(1000, workers=8))["extract"]
    )
    done = runner.invoke(app, ["estimate", "--markdown"])
    assert table([Job(hours) for hours in TYPICAL_HOURS]) in done.stdout
