"""How every command ends: a summary on stdout, one line on stderr for an error, an exit code."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from fadae import logs, metrics, records
from fadae.cli.derive import command as derived
from fadae.config import SECTIONS
from fadae.errors import IDLE_EXIT, FadaeError, StoppedError, TransientError
from fadae.errors import Summary as Summary
from fadae.records import finite

log = logging.getLogger("fadae.cli")

_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON summary, the last line of stdout.")
]
_LogFormat = Annotated[
    str,
    typer.Option(
        envvar="FADAE_LOG_FORMAT", help="Format of the log on stderr: text, or json for batch jobs."
    ),
]


class Shown(dict[str, object]):
    """A summary with a text of its own: what a person reads instead of names and values."""

    def __init__(self, summary: Summary, text: str) -> None:
        """Take the summary, which --json prints, and the text, which it does not."""
        super().__init__(summary)
        self.text = text


def reporting(
    command: Callable[..., Summary | Iterator[Summary] | None],
) -> Callable[..., None]:
    """Return the command as typer runs it: with --json and --log-format, and its end handled.

    The command returns its summary, or None when it has printed its own result; one that watches
    yields summaries. A FadaeError becomes one line on stderr and its exit code; the summary it
    carries is printed all the same.
    """

    command = derived(command, SECTIONS)

    @functools.wraps(command)
    def run(*arguments: Any, json: bool = False, log_format: str = "text", **options: Any) -> None:
        if log_format not in ("text", "json"):
            raise typer.BadParameter(f"{log_format!r} is not text or json", param_hint="log-format")
        logs.set_up(log_format)
        signal.signal(signal.SIGTERM, _terminated)
        try:
            result = command(*arguments, **options)
            for summary in result if isinstance(result, Iterator) else (result,):
                _print_summary(summary, json)
        except FadaeError as error:
            _print_summary(error.summary, json)
            one_line = " ".join(str(error).split())
            print(f"fadae: {one_line}", file=sys.stderr)
            raise typer.Exit(_exit_code(error)) from None
        finally:
            # What is left waits for threads: a signal then ends the process, without a trace.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    _add_options(run, command)
    return run


def _add_options(run: Callable[..., None], command: Callable[..., Any]) -> None:
    """Give the wrapper the command's parameters and the two that every command has."""
    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [p.replace(kind=keyword) for p in signature.parameters.values()]
    added = [
        inspect.Parameter("json", keyword, default=False, annotation=_Json),
        inspect.Parameter("log_format", keyword, default="text", annotation=_LogFormat),
    ]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*own, *added]} | {"return": None}


def _terminated(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise StoppedError("interrupted; run the same command again to continue")


def _exit_code(error: FadaeError) -> int:
    """Return how a command ends, which is another code than 75 where FADAE_IDLE_EXIT asks."""
    passing = isinstance(error, TransientError) and not isinstance(error, StoppedError)
    idle = os.environ.get(IDLE_EXIT)
    return int(idle) if idle and passing and not metrics.anything_done() else error.exit_code


def _print_summary(summary: Summary | None, as_json: bool) -> None:
    if summary is None:
        return
    if as_json:
        print(json.dumps(finite(dict(summary)), allow_nan=False), flush=True)
    else:
        print(summary.text if isinstance(summary, Shown) else plain(summary), flush=True)


def plain(summary: Summary) -> str:
    """Return the summary for a person: a name and its value a line, nested stages indented."""
    return "\n".join(_lines(finite(dict(summary)), ""))


def _lines(summary: Mapping[str, object], indent: str) -> list[str]:
    lines = []
    for name, value in summary.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}")
            shown = (", ".join(f"{k} {printable(v)}" for k, v in row.items()) for row in value)
            lines += [f"{indent}  {row}" for row in shown]
        else:
            lines.append(f"{indent}{name:<20} {printable(value)}")
    return lines


def printable(value: Any) -> str:
    """Return a value as a person reads it, safe for a terminal."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 1 or not value else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(printable(inner) for inner in value) or "-"
    # Titles and file names come from outside: no control character reaches the terminal.
    return records.printable(str(value))
