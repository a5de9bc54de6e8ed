"""Values that travel between rooms survive the journey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadae.errors import PermanentFailure, TransientFailure
from fadae.records import CodeSpec, Commit, Decoded, Failure, FailureClass, Track

TRACK = Track("AOC11B", "disc 1/Präludium #1?.ogg", title="x\x00\u202e", size_bytes=3)
DECODED = Decoded(11025, 22050, "ab" * 32, 44100, 2, 1000, "cd" * 20)


@given(st.text(), st.text(), st.text())
def test_a_commit_reads_back_as_it_was_written(file: str, title: str, reason: str) -> None:
    track = Track("item", file.encode("utf-8", "replace").decode(), title=title)
    failure = Failure(track.id, FailureClass.PERMANENT, reason, attempts=3)
    for commit in (Commit(track, DECODED), Commit(track, failure=failure)):
        assert Commit.from_json(commit.to_json()) == commit


def test_a_commit_is_either_decoded_or_failed() -> None:
    with pytest.raises(ValueError, match="either decoded or failed"):
        Commit(TRACK)


def test_a_track_ignores_keys_of_a_later_version() -> None:
    assert Track.from_dict({**TRACK.to_dict(), "mood": "calm"}) == TRACK


def test_failures_take_their_class_from_the_error() -> None:
    assert Failure.of("a/b", TransientFailure("503")).failure_class is FailureClass.TRANSIENT
    assert Failure.of("a/b", PermanentFailure("404")).failure_class is FailureClass.PERMANENT


def test_seconds_are_samples_over_the_transforms_rate() -> None:
    assert DECODED.seconds == 2.0


def test_specs_with_a_fill_of_nan_are_equal() -> None:
    assert CodeSpec(3) == CodeSpec(3, fill=float("nan")) != CodeSpec(4)
    assert len({CodeSpec(3), CodeSpec(3, fill=float("nan"))}) == 1
