"""Ids and documents that nobody meant: names stay inside, damage is told and never a traceback."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fadae.errors import FadaeError
from fadae.records import Commit, Decoded, Track
from fadae.store import paths
from fadae.store.checks import check_page
from fadae.store.location import Location
from fadae.store.plan import Plan
from fadae.store.staging import LedgerPage
from tests.mutation import mutated, mutated_json
from tests.store.staged import noise, stage

MANY = settings(max_examples=100 if settings().max_examples <= 100 else 5_000)
SEEDS = st.integers(0, 2**64 - 1)
ID = "AOC11B/disc 1/01.ogg"
TEXTS = st.text(st.characters(codec=None), max_size=400)  # half pairs of surrogates too


@given(first=TEXTS, second=TEXTS)
@MANY
def test_an_id_is_one_name_and_no_other_ids(first: str, second: str) -> None:
    for one in (first, second):
        for path in (paths.pcm_path(one), paths.commit_path(one), paths.source_path(one)):
            assert re.fullmatch(r"[a-z]+/[0-9a-f]{2}/[A-Za-z0-9._-]{33,80}", path)
            assert "." not in path.split("/")[-1][-1:]
            assert set(path.split("/")).isdisjoint((".", ".."))
    assert (paths.recording_key(first) == paths.recording_key(second)) == (first == second)


def changed(seed: int, text: bytes) -> bytes:
    """Return a mutated JSON text: its bytes, or a value of it."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return mutated(chance, text)
    value = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = mutated_json(chance, value)
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("documents")))
    stage(location, ID, noise(0, 1000))
    return location


@pytest.fixture(scope="module")
def commit(location: Location) -> bytes:
    return location.read_bytes(paths.commit_path(ID))


@given(seed=SEEDS)
@MANY
def test_a_changed_commit_is_a_commit_or_a_problem(
    location: Location, commit: bytes, seed: int
) -> None:
    location.write_bytes(paths.commit_path(ID), changed(seed, commit))
    report = check_page(LedgerPage(location, paths.staging_prefix(ID)))
    event("problem" if report.problems or report.unstaged else "commit")
    for problem in report.problems:
        assert problem.path in (paths.commit_path(ID), paths.pcm_path(ID)) or problem.problem


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"decoded": null, "failure": null, "track": "x"}',
        b'{"decoded": null, "failure": ["x"], "track": {}}',
        b"7",
        b"",
    ],
)
def test_no_commit_is_told_by_a_few_kinds_of_error(text: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Commit.from_json(text)


PLANNED = {
    "track": dataclasses.asdict(Track("AOC11B", "01.ogg")),
    "decoded": dataclasses.asdict(Decoded(11025, 4000, "ab" * 32, 44100, 2, 9, "cd" * 20)),
    "frame_start": 0,
    "frame_count": 2,
    "same_as": -1,
}
HEADER = {
    "number": 0,
    "transform": {"preset": "seed"},
    "dtype": "float16",
    "first_recording": 0,
    "recordings": 1,
    "start_row": 0,
    "stop_row": 2,
    "fadae_version": "test",
}


@given(seed=SEEDS)
@MANY
def test_a_changed_plan_is_a_plan_or_one_line(location: Location, seed: int) -> None:
    chance = random.Random(seed)
    lines: list[Any] = [HEADER, PLANNED, PLANNED]
    at = chance.randrange(3)
    lines[at] = mutated_json(chance, lines[at])
    data = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), 1, mtime=0)
    if chance.random() < 0.3:
        data = mutated(chance, data)
    location.write_bytes(paths.plan_path(0), data)
    try:
        plan = Plan.read(location, 0)
        assert plan is not None
        list(plan.recordings())
        event("plan")
    except FadaeError as error:
        event("damaged")
        assert "is damaged" in str(error)


def test_a_plan_that_is_there_reads_back(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    text = "".join(json.dumps(line) + "\n" for line in (HEADER, PLANNED))
    location.write_bytes(paths.plan_path(0), gzip.compress(text.encode()))
    plan = Plan.read(location, 0)
    assert plan is not None
    assert [one.track.file for one in plan.recordings()] == ["01.ogg"]
