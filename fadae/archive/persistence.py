"""Trying again: which failures pass, how long to wait for that, and when to give up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from fadae.archive.manners import Manners
from fadae.errors import PermanentFailure, TransientFailure

log = logging.getLogger("fadae.archive")

T = TypeVar("T")


class ThrottledFailure(TransientFailure):
    """The host asks for fewer requests, perhaps saying how long to wait."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        """Take the wait that the host asked for, if it did."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class CorruptFailure(TransientFailure):
    """The bytes are not those the archive's metadata describes."""


class BlockedFailure(TransientFailure):
    """The host refuses connections again and again; asking more would only prolong it."""


def persist(attempt: Callable[[float], T], manners: Manners) -> T:
    """Return attempt(deadline), tried again while it raises TransientFailure.

    The deadline is a time.monotonic() that holds for all attempts and waits together. Waits are
    random up to an exponentially growing bound, and at least as long as a throttling host asks.
    Raises TransientFailure when attempts or time run out, PermanentFailure after
    `manners.corrupt_attempts` corrupt transfers, each with `attempts` set.
    """
    deadline = time.monotonic() + manners.deadline_seconds
    failures = corrupt = 0
    while True:
        try:
            return attempt(deadline)
        except PermanentFailure as error:
            error.attempts = failures + 1
            raise
        except TransientFailure as error:
            failures += 1
            error.attempts = failures
            corrupt += isinstance(error, CorruptFailure)
            if corrupt >= manners.corrupt_attempts:
                permanent = PermanentFailure(f"{error}, {corrupt} times")
                permanent.attempts = failures
                raise permanent from error
            if isinstance(error, BlockedFailure) or failures >= manners.attempts:
                raise
            wait = _wait_seconds(error, failures, manners)
            if time.monotonic() + wait >= deadline:
                raise
            log.info("trying again in %.1f s: %s", wait, error)
        time.sleep(wait)


def _wait_seconds(error: TransientFailure, failures: int, manners: Manners) -> float:
    asked = error.retry_after_seconds if isinstance(error, ThrottledFailure) else None
    return max(asked or 0.0, manners.backoff(failures))
