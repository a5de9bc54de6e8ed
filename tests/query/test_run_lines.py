"""Runs side by side: what is told of each, in which order, in how many requests."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

import fadae
from fadae import figures
from fadae.errors import UsageError
from fadae.query import SORTS, Workspace
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.synthetic import music, write_features, write_run

TOLD = {"bytes_a_row": 64.0, "kbps": 1.5, "steps": 5}


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    write_features(location, {"a/1.ogg": music(6, seed=1), "a/2.ogg": music(6, seed=2)})
    good = {"holdout_nmse_db": -9.0, "pca_nmse_db": -7.25, **TOLD}
    write_run(location, "good", holdout=0.5, summary=good)
    write_run(location, "bad", holdout=0.5, summary={**good, "holdout_nmse_db": -3.0, "steps": 7})
    write_run(location, "begun", holdout=0.5)
    location.delete("runs/begun/summary.json")
    location.delete("runs/begun/model.safetensors")
    reconstruct(location, "good")
    return location


@pytest.fixture
def workspace(location: Location) -> Workspace:
    return fadae.open(location.url)


def test_each_run_is_told_with_its_errors_and_what_it_takes(workspace: Workspace) -> None:
    good, bad, begun = workspace.run_table()
    assert (good.run, good.state, good.model, good.steps) == ("good", "finished", "dense", 5)
    assert (good.bytes_a_row, good.reconstructed) == (64.0, True)
    assert good.kbps == pytest.approx(64 * 8 / 1000 / (3750 / 11025))
    assert (good.held_out_nmse_db, good.pca_gap_db) == (-9.0, -1.75)
    pooled = workspace.pooled_scores("good")
    assert good.trained_nmse_db == pytest.approx(pooled["trained_nmse_db"])
    model = Path(workspace.location.url) / "runs" / "good" / "model.safetensors"
    assert good.model_bytes == model.stat().st_size
    assert (bad.pca_gap_db, bad.trained_nmse_db, bad.kbps) == (4.25, None, 1.5)
    assert (begun.run, begun.state, begun.steps, begun.model_bytes) == (
        "begun",
        "under way",
        5,
        None,
    )
    assert begun.held_out_nmse_db is None and begun.written is not None


def test_a_run_that_may_go_on_is_under_way(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {"a/1.ogg": music(3)})
    write_run(location, holdout=0.0, summary=TOLD)
    path = tmp_path / "runs" / "default" / "summary.json"
    done = json.loads(path.read_text())
    config = json.loads((tmp_path / "runs" / "default" / "config.json").read_text())
    path.write_text(json.dumps({**done, "recipe": config["recipe"]}))
    assert fadae.open(location.url).run_table()[0].state == "finished"
    path.write_text(json.dumps({**done, "recipe": {**config["recipe"], "epochs": 1}}))
    assert fadae.open(location.url).run_table()[0].state == "under way"


@pytest.mark.parametrize("key", SORTS)
def test_runs_are_sorted_and_those_without_a_value_come_last(
    workspace: Workspace, key: str
) -> None:
    name, falling = SORTS[key]
    table = workspace.run_table(key)
    values = [getattr(line, name) for line in table]
    known = [value for value in values if value is not None]
    assert sorted(known, reverse=falling) == known == values[: len(known)]
    assert len(table) == 3


def test_a_wrong_key_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="cannot sort runs by 'heldout': one of held_out, trained"):
        Workspace(Location("memory://nowhere")).run_table("heldout")


def test_a_table_costs_few_requests_a_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    call = Location._call

    def counted(self: Location, verb: str, path: str, *arguments: Any, **options: Any) -> Any:
        asked.append(f"{verb} {path}")
        return call(self, verb, path, *arguments, **options)

    monkeypatch.setattr(Location, "_call", counted)
    workspace.run_table()
    assert len(asked) <= 1 + 3 * 6, asked


def test_a_table_becomes_a_data_frame(workspace: Workspace) -> None:
    frame = workspace.run_table().to_pandas()
    assert list(frame.index) == ["good", "bad", "begun"]
    assert frame.loc["good", "pca_gap_db"] == -1.75
    assert list(fadae.open(workspace.location.url).run_table().to_pandas().columns) == [
        *frame.columns
    ]


def test_curves_of_several_runs_share_their_axes(workspace: Workspace) -> None:
    found = workspace.curves(["good", "begun"])
    assert list(found["curves"]) == ["good", "begun"]
    assert found["axes"]["step"] == (1.0, 5.0)
    assert found["axes"]["holdout_nmse_db"] == (-5.0, -1.0)
    assert found["curves"]["begun"]["train_loss"][0] == (1.0, 1.0)
    assert json.loads(json.dumps(found))["axes"]["step"] == [1.0, 5.0]
    with pytest.raises(UsageError, match="no run 'godo'; nearest: 'good'"):
        workspace.curves(["godo"])
    png = figures.run_overlay({**found, "curves": {**found["curves"], "$\\frac{": {}}})
    assert struct.unpack(">II", png[16:24]) == (1650, 630)
