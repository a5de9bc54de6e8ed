"""`fadae runs`: a table, its order, a plot, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fadae.store.location import Location
from tests.command import fadae, summary
from tests.synthetic import music, write_features, write_run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    write_features(location, {"a/1.ogg": music(3)})
    for name, held_out in {"one": -3.0, "two": -9.0}.items():
        told = {"holdout_nmse_db": held_out, "pca_nmse_db": -7.25, "steps": 5}
        write_run(location, name, holdout=0.0, summary=told)
    return location.url


def test_runs_are_a_table_the_best_first(workspace: str) -> None:
    heads, two, one = fadae("runs", "-w", workspace).stdout.splitlines()
    assert heads.split()[:3] == ["run", "model", "state"] and "PCA gap (dB)" in heads
    assert two.split()[:3] == ["two", "dense", "finished"] and " -9.00 " in two
    assert one.split()[0] == "one" and " 4.25 " in one
    by_name = summary(fadae("runs", "-w", workspace, "--sort", "run", "--json"))
    assert [run["run"] for run in by_name["runs"]] == ["one", "two"]
    chosen = summary(fadae("runs", "one", "-w", workspace, "--json"))
    assert [run["pca_gap_db"] for run in chosen["runs"]] == [4.25]


def test_runs_are_drawn_on_common_axes(workspace: str, tmp_path: Path) -> None:
    file = tmp_path / "curves.png"
    done = fadae("runs", "one", "two", "-w", workspace, "--plot", str(file), "--json")
    assert summary(done)["file"] == str(file)
    assert file.read_bytes().startswith(b"\x89PNG")
    missing = fadae("runs", "-w", workspace, "--plot", str(tmp_path / "no" / "where.png"))
    assert missing.returncode == 2 and "cannot write" in missing.stderr


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--sort", "heldout"), "cannot sort runs by 'heldout': one of held_out, trained"),
        (("onee",), "no run 'onee'; nearest: 'one'"),
        (("--track", "aim"), "--track aim: one of tensorboard, mlflow, wandb"),
    ],
)
def test_mistakes_are_told_in_a_line(workspace: str, asked: tuple[str, ...], said: str) -> None:
    done = fadae("runs", *asked, "-w", workspace)
    assert done.returncode == 2 and said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_workspace_without_runs_says_so(tmp_path: Path) -> None:
    write_features(Location(str(tmp_path)), {"a/1.ogg": music(3)})
    done = fadae("runs", "-w", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "no runs: `fadae train` makes one\n")
    plot = fadae("runs", "-w", str(tmp_path), "--plot", str(tmp_path / "x.png"))
    assert plot.returncode == 65
