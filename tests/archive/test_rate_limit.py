"""Back-off, pace and blocks, by their arithmetic."""

from __future__ import annotations

import threading
import time

import pytest

from fadae.archive.rate_limit import DEFAULT_POLICY, CircuitBreaker, RateLimiter


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)])
def test_backoff_is_full_jitter_capped_at_a_minute(failures: int, longest: float) -> None:
    waits = [DEFAULT_POLICY.retries.pause_seconds(failures) for _ in range(500)]
    assert 0 <= min(waits) < 0.1 * longest
    assert 0.9 * longest < max(waits) <= longest


def test_threads_share_one_pace() -> None:
    pace, times = RateLimiter(0.05), []

    def ask() -> None:
        pace.wait()
        times.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) - min(times) >= 4 * 0.05 - 0.02


def test_a_block_ends_and_one_more_refusal_prolongs_it() -> None:
    block = CircuitBreaker(refusals=2, block_seconds=0.1)
    assert [block.refused(), block.refused(), block.refused()] == [False, True, True]
    began = time.monotonic()
    block.wait()
    assert time.monotonic() - began >= 0.05
    block.accepted()
    assert not block.refused()
