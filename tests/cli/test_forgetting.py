"""`fadae forget` as typed, and what the commands that read say afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from fadae.store.location import Location
from tests.command import fadae, summary
from tests.synthetic import music, write_features

IDS = ("a/1.ogg", "a/2.ogg", "b/1.ogg")


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    location = Location(str(tmp_path / "workspace"))
    write_features(location, {one: music(4, seed=n) for n, one in enumerate(IDS)})
    return location.url


def test_what_is_typed_is_done_and_told(workspace: str) -> None:
    at = ("-w", workspace)
    done = fadae("forget", "a/1.ogg", "--reason", "ticket\x1b 12", "--by", "me", *at)
    assert (done.returncode, done.stdout) == (
        0,
        "1 recordings are forgotten, by 1 tombstones\n",
    )
    listed = summary(fadae("query", "--json", *at))
    assert [one["id"] for one in listed["recordings"]] == ["a/2.ogg", "b/1.ogg"]
    told = summary(fadae("info", "--json", *at))
    assert (told["forgotten"], told["tombstones"], told["recordings"]["ok"]) == (1, 1, 2)
    assert told["licences"] == {"CC0-1.0": 2}
    gone = fadae("query", "a/1.ogg", *at)
    assert gone.returncode == 2 and "is forgotten" in gone.stderr
    erased = summary(fadae("forget", "a", "--reason", "asked", "--erase", "--json", *at))
    assert erased["new"] == 1 and erased["erased_recordings"] == 2 and erased["learned"] == {}
    shown = fadae("forget", *at).stdout.splitlines()
    assert len(shown) == 2 and "ticket\N{REPLACEMENT CHARACTER} 12  (me)" in "".join(shown)
    assert [one["value"] for one in summary(fadae("forget", "--json", *at))["tombstones"]] == [
        "a/1.ogg",
        "a",
    ]
    assert fadae("verify", *at).returncode == 0


@pytest.mark.parametrize(
    "wrong", [("a",), ("a", "--reason", " "), ("--erase",), ("", "--reason", "asked")]
)
def test_what_cannot_be_meant_is_one_line(workspace: str, wrong: tuple[str, ...]) -> None:
    done = fadae("forget", *wrong, "-w", workspace)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_no_workspace_is_none_to_forget_in(tmp_path: Path) -> None:
    assert fadae("forget", "a", "--reason", "r", "-w", str(tmp_path / "no")).returncode == 65


def test_recordings_are_listed_by_licence_and_written_with_it(
    workspace: str, tmp_path: Path
) -> None:
    found = summary(fadae("query", "--licence", "cc0", "--json", "-w", workspace))
    assert found["found"] == 3
    none = summary(fadae("query", "--licence", "by,unknown", "--json", "-w", workspace))
    assert none["found"] == 0
    assert fadae("query", "--licence", "free", "-w", workspace).returncode == 2
    assert fadae("query", "a/1.ogg", "--licence", "by", "-w", workspace).returncode == 2
    assert "CC0-1.0" in fadae("query", "-w", workspace).stdout
    file = tmp_path / "x.flac"
    assert fadae("query", "a/1.ogg", "--to", str(file), "-w", workspace).returncode == 0
    with soundfile.SoundFile(file) as opened:
        told = opened.copy_metadata()
    assert told["title"] == "Title of a/1.ogg" and "zero/1.0" in told["license"]
    assert told["comment"] == "source: a/1.ogg; licence: CC0-1.0; made by fadae"
