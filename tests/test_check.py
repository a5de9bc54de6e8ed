"""`fadae check`: what it finds, what to do about it, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from fadae import check
from fadae.audio import sandbox as sandboxes
from fadae.check import Finding, decoder, versions
from tests.command import fadae, summary


@pytest.fixture(autouse=True)
def no_idle_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_idle", [])


def test_the_installation_of_the_tests_is_a_good_one() -> None:
    assert versions().state == "ok", versions().says


def test_a_release_that_does_not_fit_is_named() -> None:
    assert check._problem("numpy", SpecifierSet("<1")).endswith("required <1")
    assert check._problem("no-such-library", SpecifierSet()) == "no no-such-library"
    assert check._problem("numpy", SpecifierSet(">=1")) == ""


def test_a_wall_with_gaps_is_weak_and_each_gap_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandboxes, "_without", {"Landlock", "seccomp"})
    found = decoder()
    assert (found.state, found.says.partition(";")[0]) == ("weak", "descriptors, limits")
    assert "5.13" in found.remedy
    assert "x86_64" in found.remedy


def test_the_command_prints_a_line_a_check() -> None:
    told = fadae("check")
    assert told.returncode == 0
    assert [line.split()[1] for line in told.stdout.splitlines()] == ["versions", "decoder"]


@pytest.mark.parametrize(("states", "code"), [(("away",), 75), (("away", "wrong", "ok"), 2)])
def test_the_worst_finding_decides_the_end(
    monkeypatch: pytest.MonkeyPatch, states: tuple[check.State, ...], code: int
) -> None:
    found = [Finding(f"check {state}", state, "said", "do this") for state in states]
    monkeypatch.setattr(check, "CHECKS", tuple((lambda one=one: one) for one in found))
    told = fadae("check", "--json")
    assert told.returncode == code
    assert [row["state"] for row in summary(told)["checks"]] == list(states)
    assert "said; do this" in told.stderr


def test_a_decoder_that_does_not_work_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "soxr.py").write_text("class ResampleStream: pass")
    monkeypatch.syspath_prepend(tmp_path)
    found = decoder()
    assert (found.state, found.remedy) == ("wrong", check._INSTALL)
    assert "TypeError" in found.says
