"""What can go wrong, each kind with the exit code a script can rely on."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

IDLE_EXIT = "FADAE_IDLE_EXIT"
"""Variable: the exit code instead of 75 where a command has got nothing done until then.

An orchestrator that runs 75 again for ever can so count the attempts that lead nowhere.
"""
_COMPARED = 20_000  # names; comparing a million takes a minute


class Summary(Protocol):
    """What a command had done, as a mapping of what `--json` prints: see `fadae.summaries`."""

    def keys(self) -> Iterable[str]:
        """Return the names of its values."""

    def __getitem__(self, key: str, /) -> Any:
        """Return a value by its name."""


class FadaeError(Exception):
    """An error with a message a user can act on; the command line prints it as one line.

    `summary` is what the stage had done until then: `--json` prints it on a failure too.
    """

    exit_code = 1

    def __init__(self, message: str, summary: Summary | None = None) -> None:
        """Take the one-line message and, where there is one, the stage's summary."""
        super().__init__(message)
        self.summary = summary


class UsageError(FadaeError):
    """Wrong usage or configuration: repeating the same command will fail again."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No run, recording or source has that name."""


class NoInputError(FadaeError):
    """Nothing usable to work on: no audio in the item, no features to train on."""

    exit_code = 65


class TooManyFailedError(FadaeError):
    """More recordings are quarantined than `--fail-over` allows: look at them, then go on."""

    exit_code = 66


class CodeError(NoInputError):
    """Stored codes that no frame encodes to: damaged, or made by another model."""


class TransientError(FadaeError):
    """Unfinished for a passing reason, preemption included: run the same command again."""

    exit_code = 75


class StoppedError(TransientError):
    """Asked to end, by SIGTERM: whoever asked knows."""


class StorageError(TransientError):
    """A folder or bucket failed at something it should do: full, away, throttled, timed out."""


class AccessError(UsageError):
    """A folder or bucket will never do this as asked: no credentials, forbidden, read-only."""


class RecordingFailure(FadaeError):  # noqa: N818 - raised about one recording, ends as a value
    """One recording cannot be had; ingest turns it into that recording's commit."""

    attempts = 1  # how often it was tried; set by whoever tried again


class TransientFailure(RecordingFailure):
    """The recording may be had later: refused, timed out, throttled, cut short."""


class PermanentFailure(RecordingFailure):
    """The recording will never be had: forbidden, missing, undecodable, empty."""


class OwnFaultError(Exception):
    """Something is wrong with fadae or its installation, not with a recording: exit 1 and a trace.

    No FadaeError: the command line prints those as one line, and here the trace is the message.
    """


OWN_FAULTS = (TypeError, AttributeError, NameError, ImportError, AssertionError)
"""What a program raises by its own fault: it ends a stage and never quarantines a recording."""


def unknown(kind: str, name: str, known: Sequence[str] | dict[str, int]) -> UnknownNameError:
    """Return the error about a name that is not there, with the names nearest to it.

    >>> print(unknown("run", "defualt", ["default", "other"]))
    no run 'defualt'; nearest: 'default'
    """
    some = list(itertools.islice(known, _COMPARED))
    near = difflib.get_close_matches(name, some, n=3, cutoff=0.5)
    if not near:  # a part of a name, or a name with its beginning forgotten
        folded = name.casefold()
        near = [one for one in known if folded and folded in one.casefold()][:3]
    if near:
        return UnknownNameError(f"no {kind} {name!r}; nearest: {', '.join(map(repr, near))}")
    few = ", ".join(map(repr, some[:3])) if known else "none"
    return UnknownNameError(
        f"no {kind} {name!r}; available: {few}{' ...' if len(known) > 3 else ''}"
    )
