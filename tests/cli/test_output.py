"""Every command ends the same way: summary, one line for an error, an exit code."""

import json
import signal

import pytest
import typer
from typer.testing import CliRunner

from fadae import metrics
from fadae.cli.output import Shown, reporting
from fadae.errors import (
    IDLE_EXIT,
    FadaeError,
    NoInputError,
    StoppedError,
    TransientError,
    UsageError,
)


def run(error: FadaeError | None, *arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()

    def stage(name: str = "x") -> dict[str, object]:
        """Do it."""
        if error:
            raise error
        return {"name": name, "nmse_db": float("nan"), "parts": {"frames": 1234}}

    app.command()(reporting(stage))
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_json_is_the_last_line_and_knows_no_nan() -> None:
    code, out, _ = run(None, "--json", "--name", "bach")
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == {
        "name": "bach",
        "nmse_db": None,
        "parts": {"frames": 1234},
    }


def test_a_person_reads_names_and_numbers() -> None:
    _, out, _ = run(None)
    assert "frames" in out and "1,234" in out and "{" not in out


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("u"), 2), (NoInputError("n"), 65), (TransientError("t"), 75)],
)
def test_errors_are_one_line_and_their_exit_code(error: FadaeError, code: int) -> None:
    assert run(error) == (code, "", f"fadae: {error}\n")


@pytest.mark.parametrize(
    ("error", "done", "code"),
    [
        (TransientError("t"), None, 69),
        (TransientError("t"), "fadae_blocks_written_total", 75),
        (TransientError("t"), "fadae_bytes_total", 75),
        (TransientError("t"), "fadae_units_done_total", 69),  # what was there already counts too
        (StoppedError("s"), None, 75),
        (UsageError("u"), None, 2),
    ],
)
def test_an_attempt_with_nothing_to_show_ends_as_it_is_told_to(
    error: FadaeError, done: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_values", {})
    monkeypatch.setenv(IDLE_EXIT, "69")
    if done:
        metrics.count(done, "ingest")
    assert run(error)[0] == code


def test_a_text_of_its_own_is_for_people_only() -> None:
    app = typer.Typer()

    def shown() -> dict[str, object]:
        """Do it."""
        return Shown({"frames": 1234}, "a plot\nfadae serve")

    app.command()(reporting(shown))
    assert CliRunner().invoke(app, []).stdout == "a plot\nfadae serve\n"
    assert CliRunner().invoke(app, ["--json"]).stdout == '{"frames": 1234}\n'


def test_a_failed_stage_still_prints_its_summary() -> None:
    code, out, err = run(TransientError("3 failed\nso far", {"failed": 3}), "--json")
    assert (code, json.loads(out), err) == (75, {"failed": 3}, "fadae: 3 failed so far\n")


def test_control_characters_do_not_reach_the_terminal() -> None:
    _, out, _ = run(None, "--name", "a\x1b[2Jb")
    assert "\x1b" not in out


def test_an_unknown_log_format_is_a_usage_error() -> None:
    assert run(None, "--log-format", "xml")[0] == 2


def test_a_signal_after_the_end_is_the_systems() -> None:
    """A command that only waits for its threads ends by it, without a trace."""
    for error in (None, NoInputError("nothing")):
        run(error)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
