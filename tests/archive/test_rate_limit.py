"""Back-off, pace and blocks, by their arithmetic."""

from __future__ import annotations

import threading

import pytest

from fadae.archive import rate_limit
from fadae.archive.rate_limit import DEFAULT_POLICY, CircuitBreaker, RateLimiter
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, rate_limit)


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)])
def test_backoff_is_full_jitter_capped_at_a_minute(failures: int, longest: float) -> None:
    waits = [DEFAULT_POLICY.retries.pause_seconds(failures) for _ in range(500)]
    assert 0 <= min(waits) < 0.1 * longest
    assert 0.9 * longest < max(waits) <= longest


def test_threads_share_one_pace(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = RateLimiter(2.0)
    monkeypatch.setattr(clock, "sleep", clock.naps.append)  # all ask at the same moment
    threads = [threading.Thread(target=pace.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(clock.naps) == [0, 2, 4, 6, 8]


def test_who_comes_late_waits_less_and_saves_nothing_up(clock: Clock) -> None:
    pace = RateLimiter(2.0)
    pace.wait()
    clock.now += 0.5
    pace.wait()
    clock.now += 100
    pace.wait()
    pace.wait()
    assert clock.naps == [0, 1.5, 0, 2]


def test_a_block_ends_and_one_more_refusal_prolongs_it(clock: Clock) -> None:
    block = CircuitBreaker(refusals=2, block_seconds=60)
    assert not block.refused()
    block.wait()
    assert block.refused()
    clock.now += 20
    block.wait()  # the rest of it
    block.wait()
    assert clock.naps == [0, 40, 0]
    assert block.refused()  # nobody was let in meanwhile
    clock.now += 59
    assert block.refused()
    block.wait()
    assert clock.naps[3:] == [60]


def test_only_refusals_in_a_row_are_a_block(clock: Clock) -> None:
    block = CircuitBreaker(refusals=2, block_seconds=60)
    for _ in range(3):
        assert not block.refused()
        block.accepted()
    block.wait()
    assert clock.naps == [0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0\x1d", 0.0),  # white space to Python's strip(), not to its float()
        (" 7 ", 7.0),
        ("9" * 400, float("inf")),
        ("Fri, 31 Dec 1999999999999999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 1999 23:59:59 +010000000000000000000000000000000", None),
        ("-1", None),
        ("\u0663", 3.0),
    ],
)
def test_any_retry_after_is_a_wait_or_none(header: str, seconds: float | None) -> None:
    assert rate_limit.retry_after_seconds(header) == seconds
