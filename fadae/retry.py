"""When to try again: one policy of attempts, time and pauses for whoever asks another machine."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on trying, and how long to pause before each new attempt.

    Pauses have full jitter: uniform between 0 and a bound that doubles with each failure, so that
    clients that were refused together do not come back together. Source: M. Brooker, Exponential
    Backoff and Jitter (AWS Architecture Blog, 2015).
    """

    total_seconds: float
    """All attempts and pauses together."""
    attempts: int | None = None
    """At most this many; None for as many as the time allows."""
    first_pause_seconds: float = 0.1
    """Longest pause before the second attempt; doubles with each further one."""
    longest_pause_seconds: float = 5.0

    def pause_seconds(self, failures: int) -> float:
        """Return seconds to pause after so many failures (1 after the first), drawn at random."""
        bound = self.first_pause_seconds * 2.0 ** min(failures - 1, 60)
        return random.uniform(0, min(self.longest_pause_seconds, bound))  # noqa: S311 - no secret

    def is_spent(self, failures: int, elapsed_seconds: float) -> bool:
        """Return whether there is to be no further attempt.

        >>> policy = RetryPolicy(total_seconds=60, attempts=3)
        >>> policy.is_spent(2, 10), policy.is_spent(3, 10), policy.is_spent(1, 61)
        (False, True, True)
        """
        too_often = self.attempts is not None and failures >= self.attempts
        return too_often or elapsed_seconds > self.total_seconds
