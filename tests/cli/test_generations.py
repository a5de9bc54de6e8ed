"""Passes over the stages by their commands: what one notes, the next one goes by."""

from __future__ import annotations

from pathlib import Path

from fadae.audio.write import encode
from tests.command import fadae, summary
from tests.synthetic import RATE_HZ, music

TRAIN = ("--widths", "16,4", "--max-steps", "3", "--ranks", "1", "--on-growth", "new")


def test_a_run_for_what_grew_is_the_one_reconstructed(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()

    def one_pass(generation: str, new: str) -> tuple[str, int, int]:
        """Add a recording, run the stages; return the run reconstructed, its rows, and all."""
        samples = music(6.0, seed=ord(new)) / 32768
        (folder / f"{new}.ogg").write_bytes(encode(samples, RATE_HZ, "ogg"))
        told = {}
        for stage, options in (
            ("ingest", ("--folder", str(folder), "--refresh")),
            ("extract", ()),
            ("train", TRAIN),
            ("reconstruct", ()),
        ):
            ended = fadae(
                stage, *options, "-w", "memory://grows", "--generation", generation, "--json"
            )
            assert ended.returncode == 0, ended.stderr
            told[stage] = summary(ended)
        made = told["reconstruct"]
        return made["run"], made["frames"], told["extract"]["frames"]

    run, rows, of = one_pass("monday", "a")
    assert (run, rows) == ("default", of)
    grown, more, of = one_pass("tuesday", "b")
    assert (grown, more) == ("default-2", of)
    assert more > rows
    # Once more, as a driver that is run again does: it finds the same run, and is done.
    again = fadae("reconstruct", "-w", "memory://grows", "--generation", "tuesday", "--json")
    assert summary(again)["run"] == "default-2"
    assert summary(again)["shards_written"] == 0
