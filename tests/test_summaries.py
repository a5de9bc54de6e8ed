"""What stages hand back: attributes for a program, the contract's keys for `--json`."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from fadae.config import TrainConfig
from fadae.records import (
    FeatureAttrs,
    Scores,
    TrainRecipe,
    TransformConfig,
    canonical_json,
)
from fadae.store import feature_attrs
from fadae.summaries import (
    ExtractSummary,
    IngestSummary,
    JobSummary,
    ReconstructSummary,
    StageSummary,
    TrainSummary,
    VerifySummary,
)
from fadae.training.run import State
from fadae.transform import preset

INGEST = IngestSummary(
    recordings=3,
    ok=2,
    failed=1,
    audio_seconds=7.5,
    bytes=9,
    failures=[{"id": "a/b", "class": "transient", "reason": "503"}],
)
EXTRACT = ExtractSummary(2, 14, 7.5, 1, 0, None)
TRAIN = TrainSummary(run="a", model="dense", steps=3, figures={"bits": 4.5}, published_step=2)
RECONSTRUCT = ReconstructSummary(
    "a", 14, 1, 0, -9.0, 8.0, 7.0, 6.0, -5.0, 4.0, -3.0, 2.0, "00", 9.0, 1.0
)
VERIFY = VerifySummary(2, 3, 0, 0, 0, 0)

# The contract of `--json`, in the order in which it is printed.
KEYS: list[tuple[StageSummary, str]] = [
    (INGEST, "recordings ok failed quarantined audio_seconds bytes forgotten excluded failures"),
    (EXTRACT, "recordings frames audio_seconds shards_written shards_kept energy_kept"),
    (
        TRAIN,
        "run model steps epochs train_loss holdout_loss holdout_nmse_db holdout_nmse_linear_db "
        "pca_nmse_db pca_nmse_linear_db pca_components best_step best_holdout_nmse_db "
        "train_frames holdout_frames stale_recordings padding_rows silent_rows failed_rows "
        "model_sha256 samples_per_second waited_share ranks bytes_a_row kbps holdout_bits "
        "published_step",
    ),
    (
        RECONSTRUCT,
        "run frames shards_written shards_kept nmse_db audio_snr_db audio_si_sdr_db "
        "log_spectral_distance_db held_out_nmse_db held_out_audio_snr_db trained_nmse_db "
        "trained_audio_snr_db model_sha256 bytes_a_row kbps",
    ),
    (
        VERIFY,
        "recordings_checked shards_checked shards_damaged shards_repaired problems_found "
        "problems_repaired problems",
    ),
]


@pytest.mark.parametrize(
    ("summary", "keys"), KEYS, ids=[type(summary).__name__ for summary, _ in KEYS]
)
def test_a_summary_has_the_keys_of_the_contract(summary: StageSummary, keys: str) -> None:
    assert list(summary) == keys.split()
    assert json.loads(json.dumps(dict(summary))) == summary
    assert pickle.loads(pickle.dumps(summary)) == summary
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(summary, keys.split()[0], 7)


def test_values_are_attributes_and_items() -> None:
    assert (INGEST.ok, INGEST["ok"], INGEST.failures[0]["class"]) == (2, 2, "transient")
    with pytest.raises(KeyError):
        INGEST["frames"]


def test_a_jobs_summary_nests_the_stages_that_were_reached() -> None:
    job = JobSummary().including(INGEST).including(EXTRACT).including(None)
    assert list(job) == ["ingest", "extract"]
    assert json.loads(json.dumps(dict(job)))["extract"] == EXTRACT
    assert list(JobSummary()) == []


def test_a_training_that_is_not_done_has_published_no_step() -> None:
    assert "published_step" not in TrainSummary(run="a", steps=3)


@pytest.mark.parametrize("summary", [TRAIN, TrainSummary(run="b")])
def test_a_trainings_summary_reads_back_as_it_was_written(summary: TrainSummary) -> None:
    assert TrainSummary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary


def test_a_summary_of_an_earlier_version_is_read() -> None:
    read = TrainSummary.from_dict({"run": "a", "holdout_nmse_db": -3.0, "mood": "calm"})
    assert (read.holdout_nmse_db, read.pca_nmse_db, read.figures) == (-3.0, None, {})


@pytest.mark.parametrize("figures", [{}, {"bits": 4.5}])
def test_a_runs_state_reads_back_as_it_was_written(figures: dict[str, float]) -> None:
    state = State(step=3)
    state.add_evaluation(Scores(0.5, -9.0, -8.0, 7, 1, 0, figures), None)
    written = json.loads(canonical_json(state.to_dict()))
    assert State.from_dict(written) == state
    assert ("figures" in written["evaluation"]) == bool(figures)
    assert State.from_dict(State().to_dict()) == State()


def test_documents_have_the_keys_of_their_types() -> None:
    recipe = TrainConfig(options={"keep": 1}).recipe()
    assert recipe.keys() == TrainRecipe.__annotations__.keys()
    for name in ("seed", "critical"):
        config = preset(name).config()
        assert config.keys() <= TransformConfig.__annotations__.keys()
        assert {"name", "sample_rate_hz", "hop_samples"} <= config.keys()
        assert feature_attrs(config, "float16").keys() == FeatureAttrs.__annotations__.keys()
