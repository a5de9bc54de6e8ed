"""The retry policy: full jitter, doubling to a cap."""

from __future__ import annotations

import random

from fadae.retry import RetryPolicy


def test_pauses_are_spread_from_0_to_a_bound_that_doubles_up_to_a_cap() -> None:
    random.seed(1)
    policy = RetryPolicy(total_seconds=60, first_pause_seconds=1.0, longest_pause_seconds=4.0)
    for failures, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (5000, 4.0)):
        pauses = [policy.pause_seconds(failures) for _ in range(1000)]
        assert 0 <= min(pauses) < 0.05 * bound
        assert 0.95 * bound < max(pauses) <= bound
